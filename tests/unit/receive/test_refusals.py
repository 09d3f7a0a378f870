"""Refusals are recorded, policy's and the server's own; with a reference where that is wanted."""

import re
from pathlib import Path

import pytest

from postwarden.mail.reply import Reply
from postwarden.receive.refusals import PROTOCOL, TROUBLE, deciding
from postwarden.testing.reception import Peer, Reception
from postwarden.trace.files import read
from postwarden.trace.recorder import Recorder
from postwarden.trace.records import Judged

MAIN_CF = """mynetworks = 127.0.0.0/8
relay_domains = rel.example
relay_recipient_maps =
smtpd_recipient_restrictions = check_recipient_access inline:{no@rel.example=REJECT}, reject_unauth_destination
"""
REFERENCES = "postwarden_refusal_reference = yes\n"
REF = r" \[ref ([2-9A-HJKMNP-Z]{3}-[2-9A-HJKMNP-Z]{3}-[2-9A-HJKMNP-Z]{3})\]"


class Kept:
    """A reception whose decisions are kept."""

    def __init__(self, base: Path, main_cf: str = "") -> None:
        self.made = Reception(MAIN_CF + main_cf)
        self._path = str(base / "trace")
        self._recorder = self.made.service.recorder = Recorder(self._path, "receiver0", self.made.clock, print)

    def greeted(self, *lines: str) -> Peer:
        peer = self.made.connect("192.0.2.10")
        peer.say("EHLO x", *lines)
        return peer

    def refused(self) -> list[Judged]:
        self._recorder.flush()
        records = [record for record in read(self._path) if isinstance(record, Judged)]
        return [record for record in records if record.reply]


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return Kept(tmp_path)


@pytest.fixture
def referring(tmp_path: Path) -> Kept:
    return Kept(tmp_path, REFERENCES)


FROM, TO = "MAIL FROM:<s@far.example>", "RCPT TO:<a@rel.example>"


@pytest.mark.parametrize("level", ["may", "encrypt"])
@pytest.mark.parametrize(
    ("main_cf", "decides"),
    [
        ("smtpd_tls_cert_file = /nowhere.pem\n", "smtpd_tls_cert_file /nowhere.pem"),
        ("smtpd_tls_chain_files = /nowhere.pem\n", "smtpd_tls_chain_files /nowhere.pem"),
        ("", "smtpd_tls_cert_file"),
    ],
)
def test_tls_that_can_not_be_had_is_the_certificates_doing(
    tmp_path: Path, level: str, main_cf: str, decides: str
) -> None:
    kept = Kept(tmp_path, f"{main_cf}smtpd_tls_security_level = {level}\n")
    kept.greeted("STARTTLS", FROM)
    refused = kept.refused()
    assert [one.reply[:3] for one in refused] == (["454", "530"] if level == "encrypt" else ["454"])
    for one in refused:
        assert f"{one.because.name} {one.because.argument}".rstrip() == decides
        assert one.because.line == (MAIN_CF.count("\n") + 1 if main_cf else 0)


@pytest.mark.parametrize(
    ("main_cf", "lines", "reply", "decides"),
    [
        ("message_size_limit = 1000\n", ["MAIL FROM:<s@far.example> SIZE=2000"], "552 5.3.4 Message size",
         "message_size_limit 1000"),
        ("message_size_limit = 1000\n", [FROM, TO, "DATA", "x" * 2000, "."], "552 5.3.4 Error: message file too big",
         "message_size_limit 1000"),
        ("smtpd_recipient_limit = 1\n", [FROM, TO, TO, TO], "452 4.5.3 Error: too many recipients",
         "smtpd_recipient_limit 1"),
        ("smtpd_client_message_rate_limit = 1\n", [FROM, "RSET", FROM], "450 4.7.1 Error: too much mail from 192.0.2.1",
         "smtpd_client_message_rate_limit 1"),
        ("smtpd_client_recipient_rate_limit = 1\n", [FROM, TO, TO], "450 4.7.1 Error: too many recipients from 192",
         "smtpd_client_recipient_rate_limit 1"),
        ("smtpd_forbid_bare_newline = reject\n", [FROM, TO, "DATA", "a\nb", "."], "550 5.5.2 ",
         "smtpd_forbid_bare_newline reject"),
        ("hopcount_limit = 1\n", [FROM, TO, "DATA", "Received: a", "Received: b", "", "."], "554 5.4.0 Error: too many",
         "hopcount_limit 1"),
        ("smtpd_hard_error_limit = 1\nsmtpd_soft_error_limit = 10\n", ["BLURB"], "421 4.7.0 ",
         "smtpd_hard_error_limit 1"),
        ("disable_vrfy_command = yes\n", ["VRFY ann"], "502 5.5.1 VRFY command is disabled",
         "disable_vrfy_command yes"),
        ("", ["MAIL TO:<s@far.example>"], "501 5.5.4 Syntax: MAIL FROM:<address>", "the rules of SMTP"),
        ("", ["BLURB"], "500 5.5.2 Error: command not recognized", "the rules of SMTP"),
        ("smtpd_forbid_unauth_pipelining = yes\nsmtpd_discard_ehlo_keywords = pipelining\n", [FROM + "\r\nRSET"],
         "554 5.5.0 Error: SMTP protocol", "smtpd_forbid_unauth_pipelining yes"),
    ],
)  # fmt: skip
def test_what_the_server_refuses_by_itself(
    tmp_path: Path, main_cf: str, lines: list[str], reply: str, decides: str
) -> None:
    kept = Kept(tmp_path, main_cf)
    kept.greeted(*lines)
    last = kept.refused()[-1]
    assert last.reply.startswith(reply)
    assert f"{last.because.name} {last.because.argument}".strip() == decides
    assert (last.policy, last.reference, last.facts.client.address) == (False, "", "192.0.2.10")
    assert last.verdict == ("defer" if reply[0] == "4" else "reject")


def test_each_refusal_is_recorded_once(kept: Kept) -> None:
    kept.greeted(FROM, "RCPT TO:<no@rel.example>", "RCPT TO:<x@away.example>", "BLURB", "BLURB", "DATA")
    refused = kept.refused()
    assert [(one.stage, one.recipient, one.policy) for one in refused] == [
        ("RCPT", "no@rel.example", True), ("RCPT", "x@away.example", True), ("UNKNOWN", "", False),
        ("UNKNOWN", "", False),
    ]  # fmt: skip
    assert len({one.session for one in refused}) == 1


def test_a_message_that_is_refused_as_a_whole_has_its_recipients(tmp_path: Path) -> None:
    kept = Kept(tmp_path, "message_size_limit = 1000\n")
    kept.greeted(FROM, TO, "RCPT TO:<b@rel.example>", "DATA", "x" * 2000, ".")
    (refused,) = kept.refused()
    assert (refused.recipients, refused.facts.sender) == (("a@rel.example", "b@rel.example"), "s@far.example")
    assert refused.queue_id


def test_of_too_many_recipients_one_is_recorded(tmp_path: Path) -> None:
    kept = Kept(tmp_path, "smtpd_recipient_limit = 1\n" + REFERENCES)
    peer = kept.greeted(FROM, TO)
    said = peer.say(*[f"RCPT TO:<r{n}@rel.example>" for n in range(5)]).splitlines()
    assert re.fullmatch("452 4.5.3 Error: too many recipients" + REF, said[0])
    assert said[1:] == ["452 4.5.3 Error: too many recipients"] * 4
    (refused,) = kept.refused()
    assert refused.recipient == "r0@rel.example"


def test_who_is_idle_is_not_refused_but_who_breaks_off_within_a_message_is(kept: Kept) -> None:
    kept.greeted()
    kept.made.clock.advance(400)
    assert kept.refused() == []
    kept.greeted(FROM, TO)
    kept.made.clock.advance(400)
    (refused,) = kept.refused()
    assert (refused.because.name, refused.recipients) == ("smtpd_timeout", ("a@rel.example",))


def test_too_many_connections(tmp_path: Path) -> None:
    kept = Kept(tmp_path, "smtpd_client_connection_count_limit = 1\n" + REFERENCES)
    kept.greeted()
    said = kept.made.connect("192.0.2.10").hear()
    (refused,) = kept.refused()
    assert re.fullmatch(r"421 4\.7\.0 \S+ Error: too many connections from 192\.0\.2\.10" + REF + "\r\n", said)
    assert refused.reference in said
    assert (refused.because.name, refused.stage) == ("smtpd_client_connection_count_limit", "CONNECT")


def test_no_free_place_is_recorded_once_a_second(kept: Kept) -> None:
    kept.made.service.limit = 1
    kept.greeted()
    for _ in range(3):
        assert kept.made.connect("192.0.2.11").hear().endswith("Error: all server ports are busy\r\n")
    kept.made.clock.advance(2)
    kept.made.connect("192.0.2.12")
    first, second = kept.refused()
    assert (first.facts.client.name, first.facts.client.address) == ("unknown", "192.0.2.11")
    assert second.facts.client.address == "192.0.2.12"


# References


def test_without_the_parameter_not_a_byte_is_different(kept: Kept) -> None:
    peer = kept.greeted(FROM)
    assert (
        peer.say("RCPT TO:<no@rel.example>")
        == "554 5.7.1 <no@rel.example>: Recipient address rejected: Access denied\r\n"
    )
    assert peer.say("BLURB") == "500 5.5.2 Error: command not recognized\r\n"
    assert "[ref" not in "".join(kept.made.log)
    assert {one.reference for one in kept.refused()} == {""}


def test_a_reference_is_in_the_reply_the_log_and_the_record(referring: Kept) -> None:
    said = referring.greeted(FROM).say("RCPT TO:<no@rel.example>")
    found = re.fullmatch("554 5.7.1 <no@rel.example>: Recipient address rejected: Access denied" + REF + "\r\n", said)
    assert found is not None
    assert f": Access denied [ref {found[1]}]; from=<s@far.example> to=<no@rel.example> " in referring.made.log[-1]
    (refused,) = referring.refused()
    assert refused.reference == found[1] and refused.reply.endswith(f"[ref {found[1]}]")


def test_own_refusals_have_one_too_and_no_two_are_alike(referring: Kept) -> None:
    said = referring.greeted().say("BLURB", "BLURB", "MAIL FROM:<x")
    found = re.findall(REF, said)
    assert len(set(found)) == 3 == said.count("\r\n")
    assert [one.reference for one in referring.refused()] == found


def test_without_a_store_there_is_none(referring: Kept) -> None:
    referring.made.service.recorder = None
    assert "[ref" not in referring.greeted(FROM).say("RCPT TO:<no@rel.example>", "BLURB")


@pytest.mark.parametrize("verb", ["DATA", "BDAT"])
def test_what_is_refused_at_the_end_of_a_message(tmp_path: Path, verb: str) -> None:
    kept = Kept(tmp_path, REFERENCES + "smtpd_data_restrictions = check_sender_access inline:{s@far.example=REJECT}\n")
    peer = kept.greeted(FROM, TO)
    said = peer.say("DATA") if verb == "DATA" else peer.say("BDAT 3 LAST", b"a\r\n")
    (refused,) = kept.refused()
    assert said.endswith(f"Access denied [ref {refused.reference}]\r\n")
    assert (refused.stage, refused.recipients) == ("DATA", ("a@rel.example",))


def test_a_footer_comes_after_it_and_its_table_does_not_see_it(tmp_path: Path) -> None:
    (tmp_path / "footers").write_text("/Access denied$/ Call us\n/recognized$/ \\c call 555\n")
    kept = Kept(tmp_path, REFERENCES + f"smtpd_reject_footer_maps = regexp:{tmp_path}/footers\n")
    first, second = kept.greeted(FROM).say("RCPT TO:<no@rel.example>").splitlines()
    assert re.fullmatch("554-5.7.1 .*Access denied" + REF, first)
    assert second == "554 5.7.1 Call us"
    assert re.fullmatch("500 5.5.2 .*not recognized" + REF + " call 555\r\n", kept.greeted().say("BLURB"))


def test_soft_bounce_keeps_it(tmp_path: Path) -> None:
    kept = Kept(tmp_path, REFERENCES + "soft_bounce = yes\n")
    assert re.fullmatch("454 4.7.1 .*" + REF + "\r\n", kept.greeted(FROM).say("RCPT TO:<no@rel.example>"))


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("no", ["554 5.7.1 no [ref 7K3-Q9D-2MX]"]),
        ("x" * 500, [f"554-5.7.1 {'x' * 500}", "554 5.7.1 [ref 7K3-Q9D-2MX]"]),
        ("ä" * 242, [f"554-5.7.1 {'ä' * 242}", "554 5.7.1 [ref 7K3-Q9D-2MX]"]),
        ("ä" * 241, [f"554 5.7.1 {'ä' * 241} [ref 7K3-Q9D-2MX]"]),
        ("a\nb", ["554-5.7.1 a", "554 5.7.1 b [ref 7K3-Q9D-2MX]"]),
        ("y" * 600 + "\nb", [f"554-5.7.1 {'y' * 600}", "554 5.7.1 b [ref 7K3-Q9D-2MX]"]),
        ("\udce4", ["554 5.7.1 \udce4 [ref 7K3-Q9D-2MX]"]),
        ("", ["554 5.7.1  [ref 7K3-Q9D-2MX]"]),
    ],
)
def test_lines_stay_within_512_octets(text: str, lines: list[str]) -> None:
    reply = Reply(554, "5.7.1", text, "7K3-Q9D-2MX")
    sent = reply.marked().encode()
    assert sent.decode("utf-8", "surrogateescape").splitlines() == lines
    for before, after in zip(text.split("\n"), sent.split(b"\r\n"), strict=False):
        assert len(after) + 2 <= 512 or len(before.encode()) > 480
    assert reply.encode() == Reply(554, "5.7.1", text).encode()


@pytest.mark.parametrize(
    ("reply", "name"),
    [
        (Reply(451, "4.3.0", "Error: queue file write error"), TROUBLE),
        (Reply(503, "5.5.1", "Error: need MAIL command"), PROTOCOL),
        (Reply(555, "5.5.4", "Unsupported option: too many recipients"), PROTOCOL),
        (Reply(452, "4.3.1", "Insufficient system storage"), "queue_minfree"),
        (Reply(459, "", "<x.example>: service unavailable"), "fast_flush_domains"),
        (Reply(503, "5.5.1", "Error: send HELO/EHLO first"), "smtpd_helo_required"),
        (Reply(421, "4.7.0", "Error: too many connections from 192.0.2.1"), "smtpd_client_connection_count_limit"),
    ],
)
def test_what_decides(reply: Reply, name: str) -> None:
    assert deciding(reply) == name


def test_a_table_that_can_not_answer_is_logged_each_time(tmp_path: Path) -> None:
    table = f"hash:{tmp_path}/nosuch"
    kept = Kept(tmp_path, f"smtpd_sender_restrictions = check_sender_access {table}\n")
    for times in (1, 2):
        assert kept.greeted(FROM).say(TO).startswith("451 4.3.5 ")
        said = [line for line in kept.made.log if "nosuch" in line or "reject: " in line]
        assert len(said) == 3 * times
        unavailable, lookup, refusal = said[-3:]
        assert unavailable.startswith(f"smtpd: warning: {table} is unavailable. {tmp_path}/nosuch: can")
        assert lookup == f'smtpd: warning: {table} lookup error for "s@far.example"'
        assert "reject: RCPT from " in refusal
