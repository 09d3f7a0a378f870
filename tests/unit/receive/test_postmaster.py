"""Transcripts for the postmaster: which sessions give cause for one, what it says, and what keeps it from harm."""

import pytest

from postwarden.mail.envelope import Client
from postwarden.mail.reply import Reply
from postwarden.mail.transcript import Transcript, Trouble
from postwarden.testing.reception import Reception

MAIN_CF = """\
mydestination = mx.example.com
local_recipient_maps = inline:{mail=x,root=x,postmaster=x}
mynetworks = 10.0.0.0/8
smtpd_error_sleep_time = 0
alias_maps =
"""
ALL = "bounce, policy, protocol, resource, software, data"
HELLO = ("EHLO client.example",)
MAIL = (*HELLO, "MAIL FROM:<a@b.example>")
RCPT = (*MAIL, "RCPT TO:<mail@mx.example.com>")
DATA = (*RCPT, "DATA")
DATE = "Tue, 14 Nov 2023 22:13:20 +0000 (UTC)"
TEXT = ("Subject: x", "", "x", ".")
AGAIN = "RCPT TO:<mail@mx.example.com>"

# What Debian's smtpd 3.7 sent a transcript for, asked class by class.
CASES: list[tuple[str, str, tuple[str, ...]]] = [
    ("protocol", "", (*HELLO, "FOO")),
    ("protocol", "", (*HELLO, "MAIL FROM:<bad addr>")),
    ("protocol", "", (*HELLO, "MAIL foo")),
    ("protocol", "", (*MAIL, "RCPT TO:<bad addr>")),
    ("protocol", "", (*HELLO, "RCPT TO:<a@b.c>")),
    ("protocol", "", (*MAIL, "MAIL FROM:<x@y.z>")),
    ("protocol", "", ("EHLO",)),
    ("", "", (*MAIL, "DATA")),
    ("", "", (*RCPT, "DATA foo")),
    ("policy", "", (*MAIL, "RCPT TO:<x@far.example>")),
    ("bounce", "", (*MAIL, "RCPT TO:<nobody@mx.example.com>")),
    ("bounce", "unknown_local_recipient_reject_code = 450", (*MAIL, "RCPT TO:<nobody@mx.example.com>")),
    ("policy", "smtpd_sender_restrictions = check_sender_access inline:{b.example=REJECT}", RCPT),
    ("policy", "smtpd_sender_restrictions = check_sender_access inline:{b.example=DEFER}", RCPT),
    ("policy", "smtpd_sender_restrictions = check_sender_access inline:{{b.example=550 5.7.1 no}}", RCPT),
    ("policy", "smtpd_sender_restrictions = reject", RCPT),
    ("policy", "smtpd_sender_restrictions = reject_non_fqdn_sender", (*HELLO, "MAIL FROM:<foo>", AGAIN)),
    ("bounce", "smtpd_reject_unlisted_sender = yes", (*HELLO, "MAIL FROM:<nobody@mx.example.com>", AGAIN)),
    ("data", "local_recipient_maps = hash:/nonexistent/x", RCPT),
    ("policy", "", (*HELLO, "MAIL FROM:<a@b.example> SIZE=99999999")),
    ("bounce", "message_size_limit = 1000", (*DATA, "Subject: x", "", *["x" * 70] * 30, ".")),
    ("", "smtpd_recipient_limit = 2", (*RCPT, AGAIN, AGAIN, AGAIN)),
    ("policy", "smtpd_recipient_limit = 1\nsmtpd_recipient_overshoot_limit = 1", (*RCPT, AGAIN, AGAIN)),
    ("protocol", "smtpd_hard_error_limit = 1", (*HELLO, "FOO")),
    ("", "", RCPT),
    ("", "", (*DATA, "Subject: x")),
    ("", "", (*HELLO, "GET / HTTP/1.0")),
    ("policy", "disable_vrfy_command = yes", (*HELLO, "VRFY root")),
    ("bounce", "", (*HELLO, "VRFY nobody@mx.example.com")),
    ("protocol", "", (*HELLO, "VRFY")),
    ("", "", (*HELLO, "ETRN far.example")),
    ("policy", "smtpd_etrn_restrictions = reject", (*HELLO, "ETRN far.example")),
    ("protocol", "", (*HELLO, "ETRN a b")),
    ("", "", (*HELLO, "NOOP " + "x" * 3000)),
    ("bounce", "", (*DATA, *["Received: x"] * 60, *TEXT)),
    ("policy", "virtual_alias_maps = inline:{a@x=b@x,mail@mx.example.com=a@x,b@x=a@x}", (*DATA, *TEXT)),
    ("resource", "sender_bcc_maps = hash:/nonexistent/x", (*DATA, *TEXT)),
    ("protocol", "", (*HELLO, "STARTTLS")),
    ("protocol", "", (*HELLO, "AUTH PLAIN foo")),
    ("policy", "", (*HELLO, "XCLIENT NAME=x")),
    ("policy", "", (*HELLO, "XFORWARD NAME=x")),
    ("protocol", "smtpd_authorized_xforward_hosts = 127.0.0.1", (*HELLO, "XFORWARD FOO=x")),
    ("protocol", "smtpd_forbid_unauth_pipelining = yes", (*RCPT, "DATA\r\nfoo")),
    ("policy", "smtpd_client_message_rate_limit = 1", (*MAIL, "RSET", "MAIL FROM:<x@y.example>")),
    ("policy", "smtpd_client_recipient_rate_limit = 1", (*RCPT, AGAIN)),
    ("protocol", "", (*RCPT, "BDAT foo")),
    ("protocol", "", (*HELLO, "BDAT 0 LAST")),
    ("protocol", "", (*HELLO, "MAIL FROM:<a@b.example> FOO=bar")),
    ("protocol", "", (*MAIL, "RCPT TO:<mail@mx.example.com> FOO=bar")),
    ("protocol", "", (*HELLO, "MAIL FROM:<a@b.example> SIZE=foo")),
    ("policy", "smtpd_client_restrictions = reject\nsmtpd_delay_reject = no", ("QUIT",)),
    ("policy", "smtpd_data_restrictions = reject", DATA),
    ("policy", "smtpd_end_of_data_restrictions = reject", (*DATA, *TEXT)),
    ("", "smtpd_junk_command_limit = 1", (*HELLO, *["NOOP"] * 4)),
    ("protocol", "", (*HELLO, "RSET foo")),
    ("policy", "smtpd_helo_required = yes", ("MAIL FROM:<a@b.example>",)),
    # An error is forgiven once a message was taken.
    ("", "", (*HELLO, "FOO", *DATA[1:], *TEXT)),
    ("protocol", "", (*DATA, *TEXT, "FOO")),
]


def play(made: Reception, lines: tuple[str, ...]) -> None:
    peer = made.connect()
    for line in lines:
        peer.say(line)
    if not peer.closed:
        peer.stream.close()
        made.clock.run()
    assert not made.service.sessions


def notices(made: Reception) -> list[bytes]:
    return [head + body for _, head, body in made.store.messages if b"errors from" in head]


class Desk:
    trouble = Trouble.NONE

    def tell(self, client: Client, transcript: Transcript, trouble: Trouble, reason: str) -> None:
        self.trouble = trouble


@pytest.mark.parametrize(("name", "main_cf", "lines"), CASES, ids=lambda value: "/".join(value)[-40:] or "none")
def test_what_a_session_gives_cause_for(name: str, main_cf: str, lines: tuple[str, ...]) -> None:
    for asked in ALL.split(", "):
        made = Reception(f"{MAIN_CF}{main_cf}\nnotify_classes = {asked}\n")
        desk = Desk()
        made.service.postmaster.tell = desk.tell  # type: ignore[method-assign]
        play(made, lines)
        assert bool(desk.trouble & Trouble[asked.upper()]) is (asked == name), (asked, desk.trouble)


def test_the_message_is_postfixs() -> None:
    made = Reception(MAIN_CF, notify_classes="protocol", error_notice_recipient="mail")
    play(made, (*HELLO, "MAIL FROM:<c@d.example> FOO " + "x" * 60 + " " + "y" * 90 + " zzz"))
    envelope, head, body = made.store.messages[0]
    assert (envelope.sender, envelope.client) == ("double-bounce@mx.example.com", None)
    assert [recipient.address for recipient in envelope.recipients] == ["mail@mx.example.com"]
    assert (
        head
        == (
            f"Received: by mx.example.com (Postfix)\r\n\tid {envelope.queue_id}; {DATE}\r\n"
            f"Date: {DATE}\r\n"
            "From: Mail Delivery System <MAILER-DAEMON@mx.example.com>\r\n"
            "To: Postmaster <mail@mx.example.com>\r\n"
            "Subject: Postfix SMTP server: errors from localhost[127.0.0.1]\r\n"
            f"Message-Id: <20231114221320.{envelope.queue_id}@mx.example.com>\r\n\r\n"
        ).encode()
    )
    lines = body.decode().split("\r\n")
    assert lines[:4] == [
        "Transcript of session follows.", "", " Out: 220 mx.example.com ESMTP Postfix",
        " In:  EHLO client.example",
    ]  # fmt: skip
    assert lines[-10:] == [
        " In:  MAIL FROM:<c@d.example> FOO", f"     {'x' * 60}", f"     {'y' * 90}", "     zzz",
        " Out: 555 5.5.4 Unsupported option: FOO", "", "Session aborted, reason: lost connection", "",
        "For other details, see the local mail logfile", "",
    ]  # fmt: skip
    assert envelope.size == len(head) + len(body)
    assert (
        made.log[2] == f"cleanup: {envelope.queue_id}: message-id=<20231114221320.{envelope.queue_id}@mx.example.com>"
    )


def test_a_refused_recipient_goes_to_whom_bounces_go() -> None:
    made = Reception(MAIN_CF, notify_classes="protocol", bounce_notice_recipient="root")
    play(made, (*MAIL, "RCPT TO:<nobody@mx.example.com>", "FOO"))
    assert made.store.messages[0][0].recipients[0].address == "root@mx.example.com"


def test_no_class_no_transcript() -> None:
    made = Reception(MAIN_CF)
    play(made, (*HELLO, "FOO", "RCPT TO:<nobody@mx.example.com>"))
    assert not made.store.messages
    made = Reception(MAIN_CF, notify_classes="bounce, 2bounce, delay, nonsense")
    assert Reception(MAIN_CF, notify_classes="").service.postmaster.transcript() is None
    assert made.service.postmaster.transcript() is not None


def test_a_full_disk_is_told_once_there_is_room() -> None:
    made = Reception(MAIN_CF)
    peer = made.connect()
    made.store.full = Reply(452, "4.3.1", "Insufficient system storage")
    peer.say(*MAIL)
    made.store.full = None
    peer.say("QUIT")
    assert b"452 4.3.1 Insufficient system storage" in notices(made)[0]


def test_a_notice_that_cannot_be_stored_harms_nobody() -> None:
    for break_it in ("full", "fault"):
        made = Reception(MAIN_CF, notify_classes="protocol")
        setattr(made.store, break_it, Reply(452, "4.3.1", "Insufficient system storage"))
        play(made, (*HELLO, "FOO"))
        assert "smtpd: warning: postmaster notify: 452 4.3.1 Insufficient system storage" in made.log
        assert made.log[-1 if break_it == "full" else -2].startswith("smtpd: disconnect from")


def test_a_flood_of_trouble_is_told_a_hundred_times_a_minute() -> None:
    made = Reception(MAIN_CF, notify_classes="protocol", smtpd_client_connection_rate_limit="0")
    for _ in range(110):
        play(made, ("FOO",))
    assert len(notices(made)) == 100
    assert sum("those that follow are left out" in line for line in made.log) == 1
    made.clock.advance(60)
    play(made, ("FOO",))
    assert len(notices(made)) == 101


def test_a_long_session_keeps_its_beginning_and_its_end() -> None:
    made = Reception(MAIN_CF, notify_classes="protocol", smtpd_junk_command_limit="10000")
    peer = made.connect()
    for number in range(1000):
        peer.say(f"NOOP {number} " + "x" * 1500)
        assert len(peer.session.transcript.entries) <= 65  # type: ignore[union-attr]
    peer.say("AUTH PLAIN c2VjcmV0", "QUIT")
    text = notices(made)[0]
    assert b"\r\n In:  NOOP 3\r\n" in text and b"\r\n In:  NOOP 999\r\n" in text and b"NOOP 500" not in text
    assert b"commands are left out here" in text
    assert b"c2VjcmV0" not in text and b" In:  AUTH PLAIN (not shown)" in text
    assert len(text) < 60_000


def test_what_a_client_says_forges_no_line() -> None:
    made = Reception(MAIN_CF, notify_classes="protocol")
    play(made, ("FOO a\rSubject: forged\x00\x1b[31m \u00e9",))
    assert " In:  FOO a?Subject: forged??[31m \u00e9\r\n".encode() in notices(made)[0]


def test_the_end_of_a_message_ends_a_long_transcript() -> None:
    made = Reception(
        notify_classes="protocol", relay_domains="relay.example", smtpd_error_sleep_time="0",
        smtpd_history_flush_threshold="5", local_recipient_maps="",
    )  # fmt: skip
    peer = made.connect()
    peer.say("HELO x", "FOO", "MAIL FROM:<a@b.example>", "RCPT TO:<x@relay.example>")
    peer.say("DATA")
    peer.say("a: b", ".")
    told = [body.decode() for _, head, body in made.store.messages if b"Transcript" in body]
    assert len(told) == 1 and "queued as" in told[0].splitlines()[-4]
    peer.say("NOOP", "QUIT")
    assert sum(b"Transcript" in body for _, _, body in made.store.messages) == 1
