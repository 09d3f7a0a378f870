"""What `check` says, beside what Postfix does with the same configuration."""

import json
import os
import re
import smtplib
import subprocess
from pathlib import Path

import pytest
from tests.realpostfix import RealPostfix, needs_postfix
from tests.whole import MASTER_CF, PROGRAM, Gateway, Sink, running, until

READER = Path(__file__).parents[1] / "unit" / "cli" / "checking" / "reader-main.cf"

pytestmark = [pytest.mark.slow, pytest.mark.postfix, needs_postfix]


def submit(etc: Path, recipient: str) -> None:
    program = ["sendmail", "-C", str(etc)] if etc.name == "postfix" else [str(PROGRAM), "sendmail", "-C", str(etc)]
    text = "From: me@sink.example\nSubject: hello\n\nbody\n"
    subprocess.run([*program, "-f", "me@sink.example", recipient], input=text, text=True, timeout=30, check=True)


def reports(who: type[Gateway] | type[RealPostfix], base: Path) -> tuple[str, dict[str, str], str]:
    """The log's reason, the reports by recipient, and the configuration."""
    base.mkdir()
    sink = Sink()
    settings = {"default_transport": "error", "notify_classes": "bounce", "bounce_notice_recipient": "pm@sink.example"}
    server = who(base, sink.port, **settings)
    server.start()
    try:
        submit(server.etc, "someone@far.example")
        until(lambda: len(sink.messages) == 2 and "status=bounced" in server.log(), 30)
    finally:
        server.stop()
        sink.close()
    (reason,) = re.findall(r"to=<someone@far\.example>.* dsn=5\.0\.0, status=bounced \((.*)\)", server.log())
    found = {recipients[0]: " ".join(content.decode().split()) for _, recipients, content in sink.messages}
    return reason, found, (server.etc / "main.cf").read_text()


def test_a_bounce_by_a_bare_error_transport_names_the_setting(tmp_path: Path) -> None:
    assert reports(RealPostfix, tmp_path / "theirs")[0] == "far.example"
    reason, found, main_cf = reports(Gateway, tmp_path / "ours")
    assert reason == "far.example: no mail is sent there, by default_transport = error"
    assert f"<someone@far.example>: {reason} Why: mx.example.com decided this" in found["me@sink.example"]
    assert "main.cf" not in found["me@sink.example"]  # our files are no sender's business
    line = main_cf.splitlines().index("default_transport = error") + 1
    assert f"(default_transport at {tmp_path}/ours/etc/main.cf:{line})" in found["pm@sink.example"]


def readers(server: Gateway | RealPostfix) -> None:
    """Give it that configuration, with a level at which smtpd starts at all."""
    own = ("queue_directory", "data_directory", "maillog_file", "maillog_file_prefixes", "mail_owner")
    kept = [line for line in (server.etc / "main.cf").read_text().splitlines() if line.split(" = ")[0] in own]
    text = READER.read_text() + "compatibility_level = 2\nalias_maps =\n" + "\n".join(kept) + "\n"
    (server.etc / "main.cf").write_text(text)
    os.utime(server.etc / "main.cf", (0, 0))


@pytest.mark.parametrize("who", [RealPostfix, Gateway])
def test_both_start_with_what_keeps_its_owner_from_sending(
    tmp_path: Path, who: type[Gateway] | type[RealPostfix]
) -> None:
    """A client on this machine may not relay, and what sendmail submits is returned."""
    server = who(tmp_path)
    readers(server)
    server.start()
    try:
        with smtplib.SMTP("127.0.0.1", server.port, timeout=30) as client:
            client.ehlo("client.example")
            client.docmd("MAIL FROM:<a@client.example>")
            code, text = client.docmd("RCPT TO:<someone@far.example>")
            assert (code, text) == (454, b"4.7.1 <someone@far.example>: Relay access denied")
        submit(server.etc, "someone@far.example")
        until(lambda: "status=bounced (far.example" in server.log())
    finally:
        server.stop()


def test_check_names_each_of_its_lines(tmp_path: Path) -> None:
    server = Gateway(tmp_path, master_cf=MASTER_CF.replace("127.0.0.1:", ""))
    readers(server)
    checked = server.command("check", "-j", "-n", check=False)
    assert (checked.returncode, checked.stderr) == (1, ""), checked
    said = [json.loads(line) for line in checked.stdout.splitlines()]
    lines = {severity: {f["line"] for f in said if f["severity"] == severity} for severity in ("error", "note")}
    assert {8, 13, 18, 19} <= lines["error"] and 17 in lines["note"], checked.stdout


def test_nothing_is_wrong_with_a_gateway_that_runs(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    gateway, other = Gateway(tmp_path, 2525), Gateway(tmp_path / "other", 2525)
    with running(gateway):
        checked = gateway.command("check")
        assert [line for line in checked.stdout.splitlines() if ": note: " not in line] == []
        (other.etc / "master.cf").write_text((gateway.etc / "master.cf").read_text())
        refused = other.command("check", check=False)
        assert refused.returncode == 1 and f"port {gateway.port} of 127.0.0.1 is taken by" in refused.stdout
