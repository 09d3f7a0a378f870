"""check --replay, as somebody calls it: recorded sessions under another configuration."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from postwarden.addressing.resolve import open_resolver
from postwarden.cli import check, postmap
from postwarden.config.settings import load
from postwarden.mail.decision import BUILT_IN, UNDECIDED, Decision, Effect, Origin, Rule, Verdict
from postwarden.mail.envelope import Client
from postwarden.mail.reply import Reply
from postwarden.mail.session import SessionFacts
from postwarden.mail.verified import BOUNCE, IN_PROGRESS, OK, Verified
from postwarden.policy.judge import Judge
from postwarden.tables.opening import Tables
from postwarden.testing.clock import VirtualClock
from postwarden.testing.reception import ZONE, Reception
from postwarden.trace.recorder import Recorder
from postwarden.wire.dns import Kind, Record
from postwarden.wire.dns_answer import Answer, Outcome

MAIN_CF = """\
compatibility_level = 3.6
myhostname = mx.here.example
mydestination = here.example
local_recipient_maps =
alias_maps =
mynetworks = 127.0.0.0/8
queue_directory = {base}/queue
smtpd_recipient_restrictions = permit_mynetworks, reject_unauth_destination
    reject_non_fqdn_sender
"""
MASTER_CF = "smtp inet n - n - - smtpd\n"
DNS = object()


class Replay:
    def __init__(self, base: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.running, self.other, self._capsys = base / "etc", base / "new", capsys
        for directory in (self.running, self.other):
            directory.mkdir()
            (directory / "main.cf").write_text(MAIN_CF.format(base=base))
            (directory / "master.cf").write_text(MASTER_CF)
        self.recorder = Recorder(str(base / "queue/postwarden/trace"), "receiver0", VirtualClock(), print)
        (base / "queue/postwarden").mkdir(parents=True)

    def record(self, decision: Decision, stage: str = "RCPT", service: str = "smtp/inet", **facts: Any) -> str:
        name = self.recorder.session()
        recipient = facts.pop("to", "ann@here.example")
        known = facts.pop("known", {})
        session = facts_of(**facts)
        session.findings.known.update(known)
        self.recorder.judged((name, service), stage, session, decision, decision.reply, recipient=recipient)
        return name

    def change(self, old: str, new: str) -> int:
        """The line of the candidate's main.cf that changed."""
        text = (self.other / "main.cf").read_text()
        assert old in text
        (self.other / "main.cf").write_text(text.replace(old, new))
        return text[: text.index(old)].count("\n") + 1

    def run(self, *words: str, code: int) -> list[str]:
        self.recorder.flush()
        assert check.main("check", [str(self.running), "--replay", str(self.other), *words]) == code
        said = self._capsys.readouterr()
        assert said.err == ""
        return said.out.splitlines()

    def values(self, code: int) -> dict[str, list[dict[str, Any]]]:
        found: dict[str, list[dict[str, Any]]] = {"changed": [], "unjudged": [], "changed list": []}
        for line in self.run("-j", code=code):
            value = json.loads(line)
            found.setdefault(value["kind"], []).append(value)
        return found


def facts_of(
    address: str = "192.0.2.9", sender: str | None = "bob@far.example", helo: str = "pc.far.example", **rest: Any
) -> SessionFacts:
    return SessionFacts(Client("unknown", address, 4711, helo=helo, protocol="ESMTP"), sender=sender, **rest)


def rule(name: str, argument: str = "") -> Rule:
    return Rule(name, argument, BUILT_IN)


PASSED = Decision(Verdict.DUNNO, rule(UNDECIDED))
REFUSED = Decision(Verdict.REJECT, rule("reject_rbl_client", "list.example"), (), Reply(554, "5.7.1", "listed"))


@pytest.fixture
def replay(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Replay:
    return Replay(tmp_path, capsys)


def test_of_ten_thousand_sessions_exactly_those_that_differ(replay: Replay) -> None:
    settings = load(str(replay.running))
    tables = Tables.of(settings)
    judge = Judge(settings, "smtp/inet", tables, open_resolver(settings, tables))
    expected = {}
    for number in range(10_000):
        net, known_sender, ours = number % 100, number % 11 != 0, number % 7 != 0
        facts = {
            "address": f"198.51.{net}.{number % 251}",
            "sender": "bob@far.example" if known_sender else "bob@far",
            "helo": f"host{number}.far.example",
        }
        to = "ann@here.example" if ours else "eve@else.example"
        name = replay.record(judge.recipient(facts_of(**facts), to), to=to, **facts)
        if ours and (net == 42 or not known_sender):
            then = "let in" if known_sender else "504 5.5.2"
            expected[name] = then, "554 5.7.1" if net == 42 else "let in"
    clients = replay.other / "clients"
    clients.write_text("# who is not wanted\n198.51.42.0/24 REJECT no mail from there\n")
    replay.change("reject_non_fqdn_sender", f"check_client_access cidr:{clients}")
    began = time.process_time()  # whatever else the machine does
    found = replay.values(1)
    assert time.process_time() - began < 60
    (summary,) = found["summary"]
    assert (summary["decisions"], summary["sessions"], found["unjudged"]) == (10_000, 10_000, [])
    assert {one["session"]: (one["then"], one["now"]) for one in found["changed"]} == expected
    assert len(expected) > 800
    refused = [one for one in found["changed"] if one["now"] == "554 5.7.1"]
    assert {one["by"]["origin"] for one in refused} == {f"{clients}:2"}
    said = replay.run(code=1)
    (head,) = [line for line in said if line.startswith(f"{clients}:2: check_client_access ")]
    assert head.endswith(f": {len(refused)}")
    assert len(said) < 40


def test_nothing_differs(replay: Replay) -> None:
    replay.record(PASSED)
    said = replay.run(code=0)
    assert said[0].startswith("1 decisions in 1 sessions, ")
    assert said[1:] == ["nobody would be treated differently"]


def test_what_no_restriction_decided_is_not_judged_again(replay: Replay) -> None:
    """Restrictions would let it in: it broke off, was too big, or spoke no SMTP."""
    rule = Rule("message_size_limit", "1000", Origin("/etc/postfix/main.cf", 3, ""))
    reply = Reply(552, "5.3.4", "Error: message file too big")
    decision = Decision(Verdict.REJECT, rule, (), reply)
    replay.record(Decision(Verdict.PERMIT, rule))
    replay.recorder.judged(("s", "smtp/inet"), "END-OF-MESSAGE", facts_of(), decision, reply, policy=False)
    assert "1 " in replay.run(code=0)[0]


def test_other_words_of_a_refusal_are_no_difference(replay: Replay) -> None:
    denied = Decision(Verdict.REJECT, rule("x"), (), Reply(454, "4.7.1", "<eve@else.example>: go away"))
    replay.record(denied, to="eve@else.example")
    replay.run(code=0)
    replay.change("compatibility_level", "smtpd_relay_restrictions = reject_unauth_destination\ncompatibility_level")
    replay.run(code=1)


# What others answered


def listed(name: str, *records: str) -> dict[tuple[object, str, Kind], Answer]:
    found = tuple(Record(name, Kind.A, 60, text) for text in records)
    return {(DNS, name, Kind.A): Answer(Outcome.FOUND if found else Outcome.NXDOMAIN, name, Kind.A, found)}


def test_what_name_servers_said_is_taken_from_the_record(replay: Replay) -> None:
    query = "9.2.0.192.list.example"
    replay.record(PASSED, known=listed(query))
    at_one = replay.record(PASSED, known=listed(query, "127.0.0.4"), sender="ann@far.example")
    replay.change("reject_non_fqdn_sender", "permit_dnswl_client none.example=1.1.1.1, reject_rbl_client "
                  "list.example=127.0.0.[3..5]")  # fmt: skip
    found = replay.values(0)
    assert {one["key"] for one in found["unjudged"]} == {"9.2.0.192.none.example"}
    replay.change("permit_dnswl_client none.example=1.1.1.1, ", "")
    (one,) = replay.values(1)["changed"]
    assert (one["session"], one["now"]) == (at_one, "554 5.7.1")


def test_an_unlisted_client_stays_in_and_a_listed_one_is_refused(replay: Replay) -> None:
    query = "9.2.0.192.list.example"
    text = {(DNS, query, Kind.TXT): Answer(Outcome.FOUND, query, Kind.TXT, (Record(query, Kind.TXT, 1, b"bad\nhost"),))}
    replay.record(PASSED, known=listed(query))
    replay.record(PASSED, known=listed(query, "127.0.0.2") | text, sender="ann@far.example")
    replay.change("reject_non_fqdn_sender", "reject_rbl_client list.example")
    (one,) = replay.values(1)["changed"]
    assert (one["sender"], one["now"]) == ("ann@far.example", "554 5.7.1")
    assert one["reply"].endswith("blocked using list.example; bad host")


def test_what_a_policy_server_said_is_taken_from_the_record(replay: Replay) -> None:
    policy = "check_policy_service inet:127.0.0.1:9"
    replay.change("reject_non_fqdn_sender", policy)
    replay.record(PASSED, known={("policy", "inet:127.0.0.1:9", "RCPT", 1): "DUNNO"})
    replay.record(PASSED, known={("policy", "inet:127.0.0.1:9", "RCPT", 1): "PREPEND X-Grey: yes"},
                  sender="ann@far.example")  # fmt: skip
    replay.record(PASSED, known={("policy", "inet:127.0.0.1:9", "RCPT", 1): None}, sender="eve@far.example")
    replay.record(PASSED, sender="new@far.example")
    found = replay.values(1)
    assert [(one["sender"], one["now"]) for one in found["changed"]] == [
        ("ann@far.example", "let in, prepend X-Grey: yes"),
        ("eve@far.example", "451 4.3.5"),
    ]
    assert [(one["sender"], one["fact"]) for one in found["unjudged"]] == [("new@far.example", "policy server")]
    said = replay.run(code=1)
    at = f"{replay.other}/main.cf:8"
    assert f"  1 × {policy} ({at}) needs the answer of a policy server" in said, "\n".join(said)


def test_what_was_known_of_an_address_is_taken_from_the_record(replay: Replay) -> None:
    for sender, known in (
        ("ann@far.example", Verified(BOUNCE, "host x said: 550 no such user")),
        ("bob@far.example", Verified(OK, "250 Ok")),
        ("eve@far.example", IN_PROGRESS),
    ):
        replay.record(PASSED, known={("address", sender): known}, sender=sender)
    replay.record(PASSED, sender="new@far.example")
    replay.change("reject_non_fqdn_sender", "reject_unverified_sender")
    replay.change("alias_maps =", "unverified_sender_reject_code = 550\nalias_maps =")
    found = replay.values(1)
    assert [(one["sender"], one["now"]) for one in found["changed"]] == [
        ("ann@far.example", "550 5.1.7"),
        ("eve@far.example", "450 4.1.7"),
    ]
    assert [(one["sender"], one["fact"]) for one in found["unjudged"]] == [("new@far.example", "address verification")]
    assert any("reject_unverified_sender" in line and "takes mail" in line for line in replay.run(code=1))


def test_a_table_that_would_be_asked_for_is_not(replay: Replay) -> None:
    replay.record(PASSED)
    replay.change("reject_non_fqdn_sender", "check_client_access tcp:127.0.0.1:9")
    assert [one["fact"] for one in replay.values(0)["unjudged"]] == ["table"]


def test_a_list_that_only_warns_needs_no_answer(replay: Replay) -> None:
    replay.record(PASSED)
    replay.change("reject_non_fqdn_sender", "warn_if_reject reject_rbl_client list.example")
    assert replay.run(code=0)[1:] == ["nobody would be treated differently"]


def test_a_damaged_record_is_one_that_can_not_be_judged(replay: Replay) -> None:
    replay.change("reject_non_fqdn_sender", "reject_rbl_client list.example")
    fault = Answer(Outcome.FOUND, "x", Kind.A)
    name = "9.2.0.192.list.example"
    replay.record(PASSED, known={(DNS, name, Kind.A): replace(fault, records=(Record("x", Kind.A, 1, "1", "x"),))})  # type: ignore[arg-type]
    replay.record(REFUSED, "STAGE\x1b[31m")
    found = replay.values(0)
    assert [one["fact"] for one in found["unjudged"]] == ["DNS A", "stage"]
    assert not any("\x1b" in line for line in replay.run(code=0))


@pytest.mark.parametrize("listed", [False, True])
def test_a_session_and_its_record(replay: Replay, listed: bool) -> None:
    """What a session was answered is what its record is answered, whatever DNS says later."""
    for directory in (replay.running, replay.other):
        text = (directory / "main.cf").read_text()
        lists = "reject_unknown_sender_domain, check_sender_mx_access inline:{192.0.2.77=REJECT}\n"
        lists += "    reject_rbl_client x.example"
        (directory / "main.cf").write_text(text.replace("reject_non_fqdn_sender", lists))
    zone = ZONE + "far.example MX 10 mx.far.example\nmx.far.example A 192.0.2.77\n"
    zone += "near.example A 192.0.2.1\n" + ("10.2.0.192.x.example A 127.0.0.2\n" if listed else "")
    reception = Reception(config=load(str(replay.running)), zone=zone)
    reception.service.recorder = replay.recorder
    peer = reception.connect("192.0.2.10")
    peer.hear()
    peer.say("EHLO pc.far.example")
    for sender, code in (
        ("a@far.example", "554"),
        ("a@near.example", "554" if listed else "250"),
        ("a@no.example", "450"),
    ):
        peer.say(f"MAIL FROM:<{sender}>")
        assert peer.say("RCPT TO:<ann@here.example>")[:3] == code
        peer.say("RSET")
    assert replay.run(code=0)[1:] == ["nobody would be treated differently"]
    replay.change("192.0.2.77=REJECT", "192.0.2.77=OK")
    assert [(one["sender"], one["now"]) for one in replay.values(1)["changed"]] == [("a@far.example", "451 4.3.5")]


# Stages


def test_a_service_that_is_gone(replay: Replay) -> None:
    replay.record(PASSED, service="587/inet")
    said = replay.run(code=0)
    assert f"  1 × {replay.other}/master.cf has no smtpd service 587/inet" in said


def test_lists_that_are_obeyed_at_once_are_asked_in_their_order(replay: Replay) -> None:
    replay.record(PASSED)
    lists = "reject_invalid_helo_hostname, check_helo_access inline:{{pc.far.example=450 not now}}"
    replay.change(
        "compatibility_level", f"smtpd_delay_reject = no\nsmtpd_helo_restrictions = {lists}\ncompatibility_level"
    )
    (one,) = replay.values(1)["changed"]
    assert (one["now"], one["by"]["restriction"]) == ("450 4.7.1", "check_helo_access")


def test_who_was_refused_early_is_judged_as_far_as_he_came(replay: Replay) -> None:
    replay.record(REFUSED, "CONNECT", sender=None, helo="", to="")
    (one,) = replay.values(0)["unjudged"]
    assert one["fact"] == "recipient"
    replay.change("compatibility_level", "smtpd_delay_reject = no\ncompatibility_level")
    (one,) = replay.values(1)["changed"]
    assert (one["then"], one["now"]) == ("554 5.7.1", "let go on")


def test_what_is_to_be_done_with_a_message_counts(replay: Replay) -> None:
    held = Effect("hold", "", "x", rule("check_sender_access"))
    warned = Effect("warn", "", "x", rule("check_sender_access"))
    replay.record(Decision(Verdict.DUNNO, rule("x"), effects=(held, warned)))
    replay.record(Decision(Verdict.DUNNO, rule("x"), effects=(warned,)), sender="ann@far.example")
    replay.record(Decision(Verdict.PERMIT, rule("the message is discarded")), sender="eve@far.example")
    (one, other) = replay.values(1)["changed"]
    assert (one["then"], one["now"]) == ("let in, hold", "let in")
    assert (other["then"], other["now"]) == ("let in, discard", "let in")
    replay.change(
        "reject_non_fqdn_sender", "check_sender_access inline:{bob@far.example=HOLD, {eve@far.example=DISCARD}}"
    )
    replay.run(code=0)


def test_a_list_that_is_asked_after_the_recipients_is_named_where_it_has_changed(replay: Replay) -> None:
    replay.record(PASSED)
    replay.change("compatibility_level", "smtpd_data_restrictions = reject_unauth_pipelining\ncompatibility_level")
    assert replay.run(code=0)[-1].startswith(f"  smtpd_data_restrictions ({replay.other}/main.cf:1) has changed")
    assert replay.values(0)["changed list"][0]["parameter"] == "smtpd_data_restrictions"


def test_the_line_of_an_indexed_table_is_found_in_its_source(replay: Replay) -> None:
    replay.record(PASSED)
    senders = replay.other / "senders"
    senders.write_text("# who\nann@far.example OK\nbob@far.example REJECT\n")
    assert postmap.main("postmap", ["-c", str(replay.other), f"hash:{senders}"]) == 0
    replay.change("reject_non_fqdn_sender", f"check_sender_access hash:{senders}")
    (one,) = replay.values(1)["changed"]
    assert one["by"]["origin"] == f"{senders}:3"
    assert f"{senders}:3: check_sender_access hash:{senders} bob@far.example: 1" in replay.run(code=1)


# Faults


@pytest.mark.parametrize("words", [["--replay"], ["--replay", "x", "-q"], ["--replay=", "-j"]])
def test_a_command_line_that_makes_no_sense(
    replay: Replay, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    assert check.main("check", [str(replay.running), *words]) == 2
    assert "usage: " in capsys.readouterr().err


@pytest.mark.parametrize("fault", ["no store", "no record", "no candidate", "bad candidate"])
def test_what_can_not_be_told_is_an_error(replay: Replay, capsys: pytest.CaptureFixture[str], fault: str) -> None:
    if fault in ("no record", "no candidate", "bad candidate"):
        replay.recorder.ended("X")
    if fault == "bad candidate":
        replay.change("reject_non_fqdn_sender", "reject_everything")
    replay.recorder.flush()
    other = f"{replay.other}{'x' if fault == 'no candidate' else ''}"
    assert check.main("check", [str(replay.running), "--replay", other]) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.startswith("postwarden: fatal: check: ")
    if fault == "bad candidate":
        assert f"{other}/main.cf:8" in said.err and "reject_everything" in said.err
    else:
        assert "[Errno" not in said.err
    if fault == "no candidate":
        assert said.err.startswith(f"postwarden: fatal: check: {other}: no such directory")


def test_a_store_of_somebody_else_says_whose_it_is(
    replay: Replay, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def closed(path: str) -> list[str]:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr("os.listdir", closed)
    assert check.main("check", [str(replay.running), "--replay", str(replay.other)]) == 2
    said = capsys.readouterr().err
    assert "/postwarden/trace: Permission denied: what was recorded is for root and mail_owner" in said


@pytest.mark.parametrize(("change", "code"), [(True, 1), (False, 0)])
@pytest.mark.parametrize("words", [[], ["-j"]])
def test_who_reads_only_the_beginning_gets_the_same_exit_code(
    replay: Replay, words: list[str], change: bool, code: int
) -> None:
    replay.record(PASSED)
    replay.recorder.flush()
    if change:
        replay.change("reject_non_fqdn_sender", "reject")
    program = "import sys; from postwarden.cli.main import main; sys.exit(main())"
    command = [sys.executable, "-c", program, "-c", str(replay.running), "check", *words]
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "wb") as nobody:
        ended = subprocess.run(
            [*command, "--replay", str(replay.other)], stdout=nobody, stderr=subprocess.PIPE, timeout=60, check=False
        )
    assert (ended.returncode, ended.stderr) == (code, b"")


def test_examples_are_in_the_order_of_time(replay: Replay) -> None:
    """Though each receiver has a file of its own."""
    clock, path = VirtualClock(), str(replay.running.parent / "queue/postwarden/trace")
    recorders = [Recorder(path, name, clock, print) for name in ("receiver0", "receiver1")]
    for number, recorder in enumerate((*recorders, *recorders)):
        replay.recorder = recorder
        replay.record(PASSED, to=f"{number}@here.example")
        recorder.flush()
        clock.advance(5.0)
    replay.change("reject_non_fqdn_sender", "reject")
    assert [one["recipient"][0] for one in replay.values(1)["changed"]] == ["0", "1", "2", "3"]
