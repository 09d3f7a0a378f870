"""explain, as somebody calls it; without the network."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from postwarden.cli import explain
from postwarden.cli.explaining import session
from postwarden.cli.explaining.paint import Paint
from postwarden.mail.decision import Decision, Origin, Rule, Verdict
from postwarden.mail.envelope import Client, Envelope, Recipient
from postwarden.mail.reply import Reply
from postwarden.mail.session import SessionFacts
from postwarden.mail.status import Status
from postwarden.net.clock import LoopClock
from postwarden.net.names import Names
from postwarden.testing.clock import VirtualClock
from postwarden.testing.resolver import FakeResolver
from postwarden.trace import files
from postwarden.trace.recorder import Recorder

_PROGRAM = "import sys; from postwarden.cli.main import main; sys.exit(main())"
READER = Path(__file__).parent / "checking" / "reader-main.cf"
MASTER_CF = """\
smtp inet n - n - - smtpd
587 inet n - n - - smtpd
  -o smtpd_client_restrictions=permit_sasl_authenticated,reject
smtp unix - - n - - smtp
relay unix - - n - - smtp
local unix - n n - - local
virtual unix - n n - - virtual
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
"""


class Asker:
    def __init__(self, etc: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.etc = etc
        self._capsys = capsys
        (etc / "master.cf").write_text(MASTER_CF)

    def configure(self, text: str) -> None:
        (self.etc / "main.cf").write_text(text)

    def line(self, text: str) -> int:
        return (self.etc / "main.cf").read_text().splitlines().index(text) + 1

    def missing(self, *words: str) -> list[str]:
        """What is said where nothing is found: exit code 1, as grep has it, and no word on standard output."""
        assert explain.main("explain", [str(self.etc), "--offline", *words]) == 1
        said = self._capsys.readouterr()
        assert said.out == ""
        return said.err.splitlines()

    def ask(self, *words: str) -> tuple[int, list[str]]:
        code = explain.main("explain", [str(self.etc), "--offline", *words])
        said = self._capsys.readouterr()
        assert said.err == ""
        return code, said.out.splitlines()

    def values(self, *words: str) -> dict[str, Any]:
        _, out = self.ask("-j", *words)
        (line,) = out
        found: dict[str, Any] = json.loads(line)
        return found


@pytest.fixture
def asker(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Asker:
    asker = Asker(tmp_path, capsys)
    asker.configure("compatibility_level = 3.6\nmyhostname = mx.here.example\nmydestination = here.example\n"
                    "local_recipient_maps = inline:{ann=x}\nalias_maps =\nmynetworks = 127.0.0.0/8\n"
                    "relay_domains = relay.example\nrelayhost = [mx.provider.example]\n")  # fmt: skip
    return asker


def test_an_address_that_can_not_be_sent_to_names_the_setting_and_its_line(asker: Asker) -> None:
    asker.configure(READER.read_text())
    code, said = asker.ask("someone@gmail.com")
    assert code == 1
    at = f"{asker.etc}/main.cf:{asker.line('default_transport = error')}"
    assert said[0].startswith("someone@gmail.com: bounced: default_transport = error sends it back: 5.0.0")
    assert said[0].endswith(f"({at})")
    assert said[1] == "  to change it: change default_transport; its default is smtp"


def test_a_session_that_is_refused_names_what_would_have_let_it_in(asker: Asker) -> None:
    asker.configure(READER.read_text())
    code, said = asker.ask("--client", "127.0.0.1", "--name", "localhost", "--from", "me@localhost",
                           "--to", "someone@gmail.com")  # fmt: skip
    assert code == 1
    first = "\n".join(said[:5])
    networks = asker.line("mynetworks = [::ffff:]/104 [::1]/128,")
    assert "compatibility_level = 3.6" in first
    assert "454 4.7.1 <someone@gmail.com>: Relay access denied" in first
    assert f"add it to mynetworks ({asker.etc}/main.cf:{networks})" in first


def test_the_way_of_an_address(asker: Asker) -> None:
    found = asker.values("bob@far.example")
    assert found["delivered"]
    (route,) = found["routes"]
    assert (route["class"], route["transport"], route["nexthop"]) == ("default", "smtp", "[mx.provider.example]")
    assert route["tls"]["text"].startswith("none: in clear text")
    assert route["fate"]["word"] == "sent"


def test_a_way_that_depends_on_the_sender(asker: Asker) -> None:
    asker.configure((asker.etc / "main.cf").read_text()
                    + "sender_dependent_relayhost_maps = inline:{joe@here.example=[other.example]}\n")  # fmt: skip
    (route,) = asker.values("bob@far.example", "--from", "joe@here.example")["routes"]
    assert route["nexthop"] == "[other.example]"
    (route,) = asker.values("bob@far.example")["routes"]
    assert route["nexthop"] == "[mx.provider.example]"


def test_an_address_that_nobody_has(asker: Asker) -> None:
    asker.configure((asker.etc / "main.cf").read_text() + "virtual_alias_domains = v.example\n"
                    "virtual_alias_maps = inline:{a@v.example=b@far.example}\n")  # fmt: skip
    code, said = asker.ask("nobody@v.example")
    assert code == 1
    assert said[0].startswith("nobody@v.example: bounced: virtual_alias_maps does not have it")
    found = asker.values("a@v.example")
    assert [route["recipient"] for route in found["routes"]] == ["b@far.example"]
    assert found["tree"]["becomes"][0]["by"] == "virtual_alias_maps"


def test_a_transport_of_a_table_is_found_in_its_source(asker: Asker) -> None:
    table = asker.etc / "transport"
    table.write_text("# where to\nfar.example error:5.1.2 closed\n")
    asker.configure((asker.etc / "main.cf").read_text() + f"transport_maps = hash:{table}\n")
    _, said = asker.ask("bob@far.example")
    assert said[0].endswith(f"transport_maps sends it back: 5.1.2 (closed): hash:{table} has far.example ({table}:2)")


def test_a_transport_that_is_not_there(asker: Asker) -> None:
    asker.configure((asker.etc / "main.cf").read_text() + "default_transport = fax\n")
    code, said = asker.ask("bob@far.example")
    assert code == 1
    assert "no transport fax in master.cf: mail waits" in said[0]


def test_a_table_that_can_not_answer_is_part_of_the_answer(asker: Asker) -> None:
    asker.configure((asker.etc / "main.cf").read_text() + "transport_maps = fail:broken\n")
    code, said = asker.ask("bob@far.example")
    assert code == 1
    assert any("fail:broken" in line for line in said)


def test_a_session_of_its_own_listener(asker: Asker) -> None:
    who = ("--client", "192.0.2.9", "--name", "pc.example", "--from", "a@b.example", "--to", "ann@here.example")
    found = asker.values(*who)
    assert found["accepted"], found
    assert found["service"] == "smtp/inet"
    found = asker.values("--port", "587", *who)
    assert not found["accepted"]
    (refused,) = [e for e in found["exchanges"] if e["reply"].startswith("5")]
    (decided,) = [asked for asked in refused["asked"] if asked["decided"]]
    assert (decided["restriction"], decided["list"]) == ("reject", "smtpd_client_restrictions")
    assert decided["origin"] == f"{asker.etc}/master.cf:3"


def test_a_login_lets_in(asker: Asker) -> None:
    asker.configure((asker.etc / "main.cf").read_text() + "smtpd_sasl_auth_enable = yes\n")
    who = ("--client", "192.0.2.9", "--name", "pc.example", "--from", "a@b.example", "--to", "bob@far.example")
    assert not asker.values(*who)["accepted"]
    assert asker.values("--login", "ann", *who)["accepted"]


def test_a_message_shows_who_would_get_it(asker: Asker, tmp_path: Path) -> None:
    letter = tmp_path / "letter"
    letter.write_text("Subject: x\n\n.dot\n")
    asker.configure((asker.etc / "main.cf").read_text() + "virtual_alias_maps = inline:{ann@here.example=bob}\n")
    found = asker.values("--client", "192.0.2.9", "--name", "pc.example", "--from", "a@b.example",
                         "--to", "ann@here.example", "--message", str(letter))  # fmt: skip
    assert found["recipients"] == ["bob@mx.here.example"]
    assert found["exchanges"][-1]["reply"].startswith("250")


def test_a_table_that_decided_is_shown_with_its_line(asker: Asker) -> None:
    access = asker.etc / "access"
    access.write_text("# not these\n192.0.2.0/24 REJECT go away\n")
    asker.configure((asker.etc / "main.cf").read_text()
                    + f"smtpd_client_restrictions = check_client_access cidr:{access}\n")  # fmt: skip
    _, said = asker.ask("--client", "192.0.2.9", "--name", "pc.example", "--from", "a@b.example",
                        "--to", "ann@here.example")  # fmt: skip
    assert "go away" in said[0]
    assert any(f"cidr:{access} has 192.0.2.9: REJECT go away ({access}:2)" in line for line in said[:5])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "what is to be explained?"),
        (["a@b.example", "c@d.example"], "what is to be explained?"),
        (["--client", "1.2.3"], "1.2.3 is no IP address"),
        (["--client", "192.0.2.1"], "--from and --to are needed"),
        (["--client", "192.0.2.1", "--from", "", "--to", "x", "--port", "26"], "listens on port 26; some listen on 25"),
        (["--client"], "--client needs a value"),
        (["--frob"], "unknown option --frob"),
    ],
)
def test_a_bad_command_line(asker: Asker, capsys: pytest.CaptureFixture[str], words: list[str], said: str) -> None:
    assert explain.main("explain", [str(asker.etc), *words]) == 2
    assert said in capsys.readouterr().err


# What was recorded


@pytest.fixture
def recorder(asker: Asker, tmp_path: Path) -> Recorder:
    asker.configure((asker.etc / "main.cf").read_text() + f"queue_directory = {tmp_path}\n")
    (tmp_path / "postwarden").mkdir()
    path = files.directory(str(tmp_path / "postwarden"))
    recorder = Recorder(path, "courier", VirtualClock(), print)
    client = Client("mx.far.example", "192.0.2.7", 4711, "mx.far.example", "helo", "ESMTP")
    facts = SessionFacts(client, sender="joe@far.example")
    permit = Decision(Verdict.PERMIT, Rule("permit_auth_destination", "", Origin("/etc/postfix/main.cf", 9, "")))
    reply = Reply(554, "5.7.1", "<x@away.example>: Relay access denied")
    refuse = Decision(
        Verdict.REJECT, Rule("reject_unauth_destination", "", Origin("/etc/postfix/main.cf", 9, "")), reply=reply
    )
    recorder.judged(("s1", "smtp/inet"), "RCPT", facts, permit, None, recipient="ann@here.example")
    recorder.judged(("s2", "smtp/inet"), "RCPT", facts, refuse, reply, recipient="x@away.example")
    envelope = Envelope("4XyZbC1234z", 1.0, "joe@far.example", (Recipient("bob@far.example", "ann@here.example"),), 99,
                        message_id="<m@far.example>")  # fmt: skip
    recorder.stored(envelope, session="s1")
    (recipient,) = envelope.recipients
    late = Status("4.7.1", "host mx[192.0.2.1] said: 450 4.7.1 Greylisted, come back later", "mx[192.0.2.1]:25")
    recorder.attempted(envelope.queue_id, recipient, late, ("smtp", "far.example"))
    recorder.close()
    return recorder


@pytest.mark.parametrize("name", ["4XyZbC1234z", "<m@far.example>"])
@pytest.mark.usefixtures("recorder")
def test_a_message_is_explained_afterwards(asker: Asker, name: str) -> None:
    code, said = asker.ask(name)
    assert code == 0
    text = "\n".join(said)
    assert said[0].startswith("4XyZbC1234z: message <m@far.example>, 99 bytes")
    assert "bob@far.example: deferred: host mx[192.0.2.1] said: 450" in said[2]
    assert "what it means: the other server puts unknown senders off" in said[3]
    assert "by permit_auth_destination of smtp/inet at /etc/postfix/main.cf:9" in text
    assert "for bob@far.example, which was ann@here.example" in text
    assert "x@away.example" not in text


@pytest.mark.usefixtures("recorder")
def test_refused_sessions_are_found(asker: Asker) -> None:
    code, said = asker.ask("--refused")
    assert code == 0
    assert "mx.far.example[192.0.2.7] from <joe@far.example> to <x@away.example>" in said[0]
    assert "Relay access denied" in said[1]
    assert said[2] == "  by reject_unauth_destination of smtp/inet at /etc/postfix/main.cf:9"
    assert asker.ask("--refused", "--client", "192.0.2.7", "--to", "X@away.example")[0] == 0
    for words in (["--client", "192.0.2.8"], ["--from", "other@far.example"], ["--to", "ann@here.example"]):
        assert asker.missing("--refused", *words) == ["no refusal that fits is recorded (kept for 7d at most: "
                                                      "postwarden_trace_lifetime)"]  # fmt: skip
    (found,) = [json.loads(line) for line in asker.ask("-j", "--refused")[1]]
    assert (found["kind"], found["verdict"], found["because"]["line"]) == ("judged", "reject", 9)


@pytest.mark.usefixtures("recorder")
def test_a_queue_id_that_was_never_recorded_is_no_address(asker: Asker) -> None:
    for name in ("4XyZbC9999z", "89B681133C7FF"):
        for words in ((name,), ("-j", name)):
            (said,) = asker.missing(*words)
            assert said.startswith(
                f"no message {name} is recorded (kept for 7d at most: postwarden_trace_lifetime); of a"
            )
            assert "probe of address verification" in said and said.endswith(f"its domain: {name}@…")
    assert asker.values("4XyZbC9999z@far.example")["address"] == "4XyZbC9999z@far.example"


@pytest.mark.parametrize("name", ["AAA-BBB-C0C", "7k3-q9d-2mo", "111-222-333"])
def test_a_reference_that_was_mistyped_is_no_address(asker: Asker, name: str) -> None:
    (said,) = asker.missing(name)
    assert said == f"{name} is no reference: none has a 0, 1, O, I or L; and an address wants its domain: {name}@…"


@pytest.mark.parametrize("name", ["foo-bar-lol", "all-staff", "a-b-c"])
def test_a_list_of_words_is_no_reference(asker: Asker, name: str) -> None:
    assert asker.values(name)["address"] == name


def test_what_strangers_chose_does_not_command_the_terminal(asker: Asker, monkeypatch: pytest.MonkeyPatch) -> None:
    (spool := asker.etc / "spool" / "postwarden").mkdir(parents=True)
    asker.configure((asker.etc / "main.cf").read_text() + f"queue_directory = {asker.etc / 'spool'}\n")
    recorder = Recorder(files.directory(str(spool)), "receiver1", VirtualClock(), lambda text: None)
    client = Client("mx.far.example", "192.0.2.7", 1, "mx.far.example", "x", "ESMTP")
    sender = "\x9b2J\x1b]0;owned\x07\x1b[8mred@far.example"
    decision = Decision(Verdict.REJECT, Rule("reject", "", Origin("", 0, "")), (), Reply(554, "5.7.1", sender))
    recorder.judged(("s1", "smtp/inet"), "RCPT", SessionFacts(client, sender=sender), decision, decision.reply)
    recorder.stored(Envelope("4XyZbC1234z", 0.0, sender, (Recipient("a@b.example"),), 1, message_id=f"<{sender}>"))
    recorder.close()
    for coloured in (True, False):
        monkeypatch.setattr(Paint, "of_stdout", partial(Paint, coloured=coloured))
        for words in (("--refused",), ("4XyZbC1234z",)):
            _, said = asker.ask(*words)
            ours = re.findall("\x1b\\[[0-9]{1,2}m", "".join(said))
            shown = re.sub("\x1b\\[[0-9]{1,2}m", "", "".join(said))
            assert "?[8mred@far.example" in shown
            assert shown.isprintable()
            assert bool(ours) == coloured
            assert set(ours) <= {"\x1b[1m", "\x1b[31m", "\x1b[0m"}


# What cannot be found out, and what nobody named


def rejection(asker: Asker, *words: str) -> list[str]:
    who = ("--client", "192.0.2.9", "--name", "pc.example")
    code, said = asker.ask(*who, *words)
    assert code == 1
    return said


def test_dns_that_does_not_answer_is_named_with_the_restriction_that_asked(asker: Asker) -> None:
    asker.configure((asker.etc / "main.cf").read_text()
                    + "smtpd_recipient_restrictions = reject_unknown_sender_domain\n")  # fmt: skip
    said = rejection(asker, "--from", "a@b.example", "--to", "ann@here.example")
    assert said[0].startswith("RCPT TO:<ann@here.example> is refused: 450 4.1.8")
    at = asker.line("smtpd_recipient_restrictions = reject_unknown_sender_domain")
    assert said[1] == f"  by reject_unknown_sender_domain of smtpd_recipient_restrictions, {asker.etc}/main.cf:{at}"
    assert said[2].startswith("  it could not be found out")
    assert "  DNS MX b.example: not asked" in said


def test_a_recipient_whom_nobody_has_is_named_with_the_table(asker: Asker) -> None:
    said = rejection(asker, "--from", "a@b.example", "--to", "nobody@here.example")
    assert "User unknown in local recipient table" in said[0]
    at = asker.line("local_recipient_maps = inline:{ann=x}")
    assert said[1] == f"  by local_recipient_maps, {asker.etc}/main.cf:{at}"
    assert said[2].startswith("  to change it: add the user or an alias")


def test_each_recipient_has_an_advice_of_its_own(asker: Asker) -> None:
    said = rejection(asker, "--from", "a@b.example", "--to", "ann@here.example", "--to", "x@away.example")
    assert "add away.example to relay_domains" in "\n".join(said[:3])


def test_what_puts_a_refusal_off_is_named(asker: Asker) -> None:
    asker.configure((asker.etc / "main.cf").read_text() + "smtpd_relay_restrictions ="
                    " check_sender_access static:{DEFER_IF_REJECT later}, reject_unauth_destination\n")  # fmt: skip
    said = rejection(asker, "--from", "a@b.example", "--to", "x@away.example")
    assert " 450 " in said[0]
    assert said[1].startswith("  by check_sender_access static:{DEFER_IF_REJECT later} of smtpd_relay_restrictions")


def test_a_login_and_tls_that_could_not_happen_are_said(asker: Asker) -> None:
    words = ("--client", "192.0.2.9", "--name", "pc.example", "--from", "a@b.example", "--to", "ann@here.example")
    _, said = asker.ask(*words, "--login", "ann", "--tls")
    assert "  --login could not happen here: smtpd_sasl_auth_enable = no (its default)" in said
    assert "  --tls could not happen here: smtpd_tls_security_level = (its default)" in said


def test_what_the_server_refuses_by_itself_is_named(asker: Asker) -> None:
    before = (asker.etc / "main.cf").read_text()
    words = ("--client", "192.0.2.9", "--name", "pc.example", "--from", "a@b.example", "--to", "ann@here.example")
    asker.configure(f"{before}smtpd_tls_security_level = encrypt\nsmtpd_tls_cert_file = /nowhere.pem\n")
    code, said = asker.ask(*words)
    assert code == 1 and said[0] == "MAIL FROM:<a@b.example> is refused: 530 5.7.0 Must issue a STARTTLS command first"
    line = f"{asker.etc}/main.cf:{asker.line('smtpd_tls_cert_file = /nowhere.pem')}"
    assert said[1] == f"  by smtpd_tls_cert_file /nowhere.pem, {line}"
    assert said[2].startswith("  to change it: no client can use TLS here: ") and said[2].endswith(line)
    asker.configure(f"{before}smtpd_recipient_limit = 1\n")
    said = asker.ask(*words, "--to", "joe@here.example")[1]
    assert "  by smtpd_recipient_limit 1, " in "\n".join(said), said


def test_a_message_that_was_never_recorded_is_said_to_be_unknown(asker: Asker) -> None:
    (said,) = asker.missing("<bob@far.example>")
    assert said.startswith("no message <bob@far.example> is recorded (kept for 7d")
    assert said.endswith("; where mail to an address goes: explain bob@far.example")


def test_a_message_id_without_its_brackets(asker: Asker) -> None:
    (asker.etc / "spool" / "postwarden").mkdir(parents=True)
    asker.configure((asker.etc / "main.cf").read_text() + f"queue_directory = {asker.etc / 'spool'}\n")
    recorder = Recorder(
        files.directory(str(asker.etc / "spool" / "postwarden")), "receiver1", VirtualClock(), lambda text: None
    )
    name = "20261123145600.89B681133C7FF@mx.example"
    recorder.stored(Envelope("4XyZbC1234z", 0.0, "s@x.example", (Recipient("a@b.example"),), 1, message_id=f"<{name}>"))
    recorder.close()
    for given in (name, f"<{name}>"):
        code, said = asker.ask(given)
        assert code == 0 and said[0] == f"4XyZbC1234z: message <{name}>, 1 bytes"
    assert asker.ask("20261123145600.89B681133C700@mx.example")[1][0].endswith("sent: to [mx.provider.example]")


def test_a_restriction_that_waits_for_dns_is_shown_once(
    asker: Asker, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asker.configure((asker.etc / "main.cf").read_text() + "smtpd_recipient_restrictions ="
                    " reject_unknown_sender_domain, reject_rbl_client bl.example\n")  # fmt: skip

    def names(loop: asyncio.AbstractEventLoop, *rest: object) -> Names:
        fake = FakeResolver("", LoopClock(loop))
        return Names(fake, fake)

    monkeypatch.setattr(session, "open_names", names)
    words = ("--client", "192.0.2.9", "--name", "pc.example", "--from", "a@b.example", "--to", "ann@here.example")
    assert explain.main("explain", [str(asker.etc), "-j", *words]) == 1
    last = json.loads(capsys.readouterr().out)["exchanges"][-1]
    assert last["reply"].startswith("450 4.1.8")
    listed = [asked for asked in last["asked"] if asked["list"] == "smtpd_recipient_restrictions"]
    assert [(asked["restriction"], asked["decided"]) for asked in listed] == [("reject_unknown_sender_domain", True)]
    assert [fact for fact in listed[0]["facts"] if fact.startswith("DNS MX")] == ["DNS MX b.example: no such name"]


def test_a_reader_who_leaves_is_no_fault(asker: Asker, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*words: object) -> None:
        raise BrokenPipeError

    monkeypatch.setattr("builtins.print", gone)
    assert explain.main("explain", [str(asker.etc), "--offline", "ann@here.example"]) == 128 + signal.SIGPIPE


def test_an_answer_that_can_not_be_written_is_none(asker: Asker) -> None:
    words = (sys.executable, "-c", _PROGRAM, "-c", str(asker.etc), "explain", "--offline", "ann@here.example")
    with open("/dev/full", "w") as full:
        done = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (2, "postwarden: fatal: explain: [Errno 28] No space left on device\n")
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(words, stdout=writing, stderr=subprocess.PIPE, text=True, timeout=60)
    os.close(writing)
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, "")


def test_help_is_no_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    assert explain.main("explain", ["/nowhere", "--help"]) == 0
    assert capsys.readouterr().out.startswith("usage: ")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--since", "2"), "--since 2: a number with s, m, h, d or w is wanted"),
        (("--since", "-1h"), "--since -1h: a number with s, m, h, d or w is wanted"),
        (("--client", "127.0.0.0/8"), "--client 127.0.0.0/8: one address or name is looked for, no network"),
        (("--to", "here.example"), "--to here.example: a whole address is looked for, no domain"),
        (("--from", "<here.example>"), "--from here.example: a whole address is looked for, no domain"),
    ],
)
def test_a_question_that_nothing_can_fit_is_a_mistake(
    asker: Asker, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], says: str
) -> None:
    assert explain.main("explain", [str(asker.etc), "--refused", *words]) == 2
    assert capsys.readouterr().err == f"postwarden: explain: {says}\n"
