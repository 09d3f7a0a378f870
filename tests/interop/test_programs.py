"""Programs that operators use, on either side of the gateway: swaks, smtp-source, smtplib, smtp-sink, Postfix."""

import re
import shutil
import smtplib
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.ports import free_port
from tests.realpostfix import RealPostfix, needs_postfix
from tests.whole import Gateway, Sink, running, until

needs_swaks = pytest.mark.skipif(shutil.which("swaks") is None, reason="needs swaks")
needs_pflogsumm = pytest.mark.skipif(shutil.which("pflogsumm") is None, reason="needs pflogsumm")
pytestmark = [pytest.mark.slow, pytest.mark.postfix, needs_postfix]


@pytest.fixture
def sink() -> Iterator[Sink]:
    made = Sink()
    yield made
    made.close()


def swaks(port: int, *words: str) -> subprocess.CompletedProcess[str]:
    command = ["swaks", "--server", "127.0.0.1", "--port", str(port), "--helo", "client.example", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def source(port: int, *words: str) -> None:
    done = subprocess.run(["smtp-source", *words, f"inet:127.0.0.1:{port}"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "fatal" not in done.stderr and "warning" not in done.stderr, done.stderr


@needs_swaks
def test_swaks(tmp_path: Path, sink: Sink) -> None:
    with running(Gateway(tmp_path, sink.port, smtpd_authorized_xclient_hosts="127.0.0.1")) as gateway:
        sent = swaks(gateway.port, "--from", "a@client.example", "--to", "r@sink.example", "--body", "from swaks")
        assert sent.returncode == 0, sent.stdout
        pipelined = swaks(
            gateway.port, "--pipeline", "--from", "a@client.example", "--to", "r@sink.example,s@sink.example"
        )
        assert pipelined.returncode == 0, pipelined.stdout
        until(lambda: sum(len(recipients) for _, recipients, _ in sink.messages) == 3)
        stranger = ("--xclient", "ADDR=192.0.2.9 NAME=stranger.example", "--from", "a@client.example")
        relay = swaks(gateway.port, *stranger, "--to", "r@else.example")
        assert "454 4.7.1 <r@else.example>: Relay access denied" in relay.stdout, relay.stdout
        assert "from stranger.example[192.0.2.9]: 454 4.7.1" in gateway.log()
    assert b"from swaks" in sink.messages[0][2]


@pytest.mark.parametrize("options", [("-d",), ("-m1", "-c"), ("-f", "a@b.example", "-A"), ("-r10", "-d"), ("-o",)])
def test_smtp_source_to_smtp_sink(tmp_path: Path, options: tuple[str, ...]) -> None:
    port = free_port()
    with subprocess.Popen(["smtp-sink", "-u", "nobody", f"inet:127.0.0.1:{port}", "100"]) as remote:
        try:
            with running(Gateway(tmp_path, port)) as gateway:
                source(gateway.port, "-s5", "-m100", "-l", "5000", "-t", "r@sink.example", *options)
                messages = 1 if "-m1" in options else 100
                until(lambda: gateway.log().count(": removed") >= messages, 30, gateway.log()[-2000:])
                assert gateway.log().count("status=sent") == messages * (10 if "-r10" in options else 1)
        finally:
            remote.terminate()


def test_smtplib_with_extensions(tmp_path: Path, sink: Sink) -> None:
    with running(Gateway(tmp_path, sink.port)) as gateway:
        with smtplib.SMTP("127.0.0.1", gateway.port, timeout=20) as client:
            client.ehlo()
            assert {"pipelining", "size", "8bitmime", "dsn", "smtputf8", "chunking", "vrfy"} <= set(
                client.esmtp_features
            )
            refused = client.sendmail(
                "ä@client.example",
                [f"r{n}@sink.example" for n in range(10)],
                "Subject: grüße\r\n\r\nbody ü\r\n".encode(),
                mail_options=["SMTPUTF8", "BODY=8BITMIME", "RET=HDRS", "ENVID=x+2By"],
                rcpt_options=["NOTIFY=FAILURE,DELAY"],
            )
            assert refused == {}
        until(lambda: sum(len(recipients) for _, recipients, _ in sink.messages) == 10)
    sender, recipients, content = sink.messages[0]
    assert sender.startswith("ä@client.example") and len(recipients) == 10
    assert "body ü".encode() in content


def test_postfix_sends_through_us_and_we_send_to_postfix(tmp_path: Path, sink: Sink) -> None:
    """Postfix -> gateway -> Postfix -> sink, 8-bit and with ten recipients."""
    for name in ("before", "us", "after"):
        (tmp_path / name).mkdir()
    after = RealPostfix(tmp_path / "after", sink.port, myhostname="after.example.com")
    gateway = Gateway(tmp_path / "us", after.port)
    before = RealPostfix(
        tmp_path / "before", gateway.port, myhostname="before.example.com", relayhost=f"[127.0.0.1]:{gateway.port}"
    )
    after.start()
    before.start()
    try:
        with running(gateway):
            with smtplib.SMTP("127.0.0.1", before.port, timeout=20) as client:
                for n in range(5):
                    recipients = [f"r{m}@sink.example" for m in range(10)]
                    content = f"Subject: {n}\r\n\r\n.dot\r\n{'y' * 1500}\r\nä\r\n".encode()
                    client.sendmail("a@client.example", recipients, content, mail_options=["BODY=8BITMIME"])
            until(lambda: sum(len(recipients) for _, recipients, _ in sink.messages) == 50, 30, gateway.log()[-2000:])
        assert "status=sent (250 2.0.0 Ok: queued as" in gateway.log()
    finally:
        before.stop()
        after.stop()
    for _, _, content in sink.messages:
        head, _, body = content.partition(b"\r\n\r\n")
        assert [name for name in (b"before", b"mx", b"after") if b"by %s.example.com" % name in head] == [
            b"before",
            b"mx",
            b"after",
        ]
        # 1500 octets in one line: Postfix's client breaks it at 998, ours as well.
        assert body.endswith("ä\r\n".encode()) and body.startswith(b".dot\r\n")


def answers(port: int, *commands: str) -> list[str]:
    """The last line of each reply."""
    with socket.create_connection(("127.0.0.1", port), 30) as sock, sock.makefile("rwb") as stream:

        def reply() -> str:
            while (line := stream.readline())[3:4] == b"-":
                pass
            return line.decode().rstrip()

        found = [reply()]
        for command in commands:
            stream.write(command.encode() + b"\r\n")
            stream.flush()
            found.append(reply())
        return found


STRANGER = "XCLIENT ADDR=192.0.2.9 NAME=[UNAVAILABLE]"


def test_replies_to_strangers_are_those_of_postfix(tmp_path: Path) -> None:
    """Relaying, unknown recipients of each class, VRFY, XCLIENT."""
    settings = {
        "smtpd_authorized_xclient_hosts": "127.0.0.1",
        "local_recipient_maps": "inline:{known=x}",
        "relay_recipient_maps": "inline:{known@sink.example=x}",
        "virtual_alias_domains": "virtual.example",
        "virtual_alias_maps": "inline:{known@virtual.example=known@mx.example.com}",
        "virtual_mailbox_domains": "mailbox.example",
        "virtual_mailbox_maps": "inline:{known@mailbox.example=x}",
        "smtpd_error_sleep_time": "0",
        "smtpd_hard_error_limit": "100",
    }
    domains = ("mx.example.com", "sink.example", "virtual.example", "mailbox.example", "else.example", "[127.0.0.1]")
    commands = [STRANGER, "EHLO stranger.example", "MAIL FROM:<a@stranger.example>"]
    commands += [f"RCPT TO:<{user}@{domain}>" for user in ("known", "unknown") for domain in domains]
    commands += ["RCPT TO:<known>", "RCPT TO:<unknown>", "RCPT TO:<@sink.example:known@else.example>"]
    commands += ["RCPT TO:<known%else.example@sink.example>", "RCPT TO:<else.example!known@sink.example>", "RSET"]
    commands += [f"VRFY {user}@{domain}" for user in ("known", "unknown") for domain in domains]
    commands += ["VRFY known", "VRFY <known@sink.example>", "VRFY", "VRFY a b", "EXPN x", "ETRN else.example", "QUIT"]
    (tmp_path / "us").mkdir()
    postfix = RealPostfix(tmp_path, 9, **settings)
    postfix.start()
    try:
        with running(Gateway(tmp_path / "us", 9, **settings)) as gateway:
            ours, theirs = answers(gateway.port, *commands), answers(postfix.port, *commands)
    finally:
        postfix.stop()
    for command, our, their in zip(["", *commands], ours, theirs, strict=True):
        assert our == their, command
    assert "454 4.7.1 <known@else.example>: Relay access denied" in theirs
    rejects = [re.findall(r"NOQUEUE: .*", log()) for log in (gateway.log, postfix.log)]
    assert rejects[0] == rejects[1]


def test_bdat(tmp_path: Path, sink: Sink) -> None:
    """In pieces, pipelined, empty last piece, and with what would end DATA inside."""
    parts = [b"Subject: bdat\r\n", b"\r\n.\r\n", b"MAIL FROM:<x@y>\r\n", b"x" * 900 + b"\r\n.."]
    with running(Gateway(tmp_path, sink.port)) as gateway:
        with socket.create_connection(("127.0.0.1", gateway.port), 20) as sock, sock.makefile("rwb") as stream:
            stream.write(b"EHLO client.example\r\n")
            stream.flush()
            while stream.readline()[:4] != b"250 ":
                pass
            stream.write(b"MAIL FROM:<a@client.example>\r\nRCPT TO:<r@sink.example>\r\n")
            stream.write(b"".join(b"BDAT %d\r\n%b" % (len(part), part) for part in parts) + b"BDAT 0 LAST\r\nQUIT\r\n")
            stream.flush()
            replies = stream.read().split(b"\r\n")
        assert [line[:3] for line in replies] == [b"250"] * 7 + [b"221", b""], replies
        until(lambda: len(sink.messages) == 1)
    assert sink.messages[0][2].endswith(b"".join(parts[1:]) + b"\r\n")


@needs_pflogsumm
def test_pflogsumm_reads_our_log(tmp_path: Path) -> None:
    """What pflogsumm counts is what was done, and there is nothing that it can't make sense of."""

    def refuse(line: str) -> str | None:
        if line.startswith("RCPT") and "bounce" in line:
            return "550 5.1.1 no such user"
        return "450 4.2.1 come back" if line.startswith("RCPT") and "later" in line else None

    sink = Sink(refuse=refuse)
    with running(Gateway(tmp_path, sink.port, local_recipient_maps="inline:{ada=x}")) as gateway:
        with smtplib.SMTP("127.0.0.1", gateway.port, timeout=20) as client:
            for user in ("good", "good2", "bounce", "later"):
                client.sendmail("a@sink.example", [f"{user}@sink.example"], "Subject: x\r\n\r\nbody\r\n")
            for refused in ("r@mx.example.com", "nobody@mx.example.com"):
                with pytest.raises(smtplib.SMTPRecipientsRefused):
                    client.sendmail("a@sink.example", [refused], "Subject: x\r\n\r\nbody\r\n")
        until(lambda: gateway.log().count(": removed") >= 4, said=gateway.log())
        log = gateway.log()
    sink.close()
    summary = tmp_path / "for-pflogsumm"
    summary.write_text(log)
    done = subprocess.run(["pflogsumm", summary], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    words = "received|delivered|deferred|bounced|rejected|senders|recipients"
    counted = {word: int(number) for number, word in re.findall(rf"(?m)^ +(\d+)   ({words})\b", done.stdout)}
    # The third delivery is the report to a@sink.example.
    assert counted == dict(zip(words.split("|"), (4, 3, 1, 1, 2, 1, 3), strict=True)), done.stdout
    assert "1   4.2.1 come back" in done.stdout and "1   5.1.1 no such user" in done.stdout
    assert "User unknown in local recipient table (total: 2)" in done.stdout
    for nothing in ("Warnings: none", "Fatal Errors: none", "Panics: none", "smtp delivery failures: none"):
        assert nothing in done.stdout
    assert pflogsumm_ignores(log) == []


def pflogsumm_ignores(log: str) -> list[str]:
    """Lines that are not of the form on which pflogsumm works: time, host, postfix/program[pid]: text."""
    form = re.compile(r"\w{3} [ \d]\d [\d:]{8} [\w.-]+ postfix/[\w/-]+\[\d+\]: \S")
    return [line for line in log.splitlines() if not form.match(line)]
