import os
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from postwarden.bounce.opening import open_reports
from postwarden.bounce.report import Reports
from postwarden.bounce.text import external, fold, from_xtext
from postwarden.mail.envelope import Envelope, Notify, Recipient
from postwarden.mail.queue import Content
from postwarden.mail.round import Kind, Report
from postwarden.mail.status import Part, Status
from postwarden.testing.config import settings as config

NOW = 1795407160.0
REJECTED = Status(
    "5.1.1",
    "host 127.0.0.1[127.0.0.1] said: 550-5.1.1 <x> no such user 550 5.1.1 try elsewhere (in reply to RCPT TO command)",
    "127.0.0.1[127.0.0.1]:9825",
    "127.0.0.1",
    "550-5.1.1 <x> no such user\n550 5.1.1 try elsewhere",
)
NO_HOST = Status(
    "5.4.4", "Host or domain name not found. Name service error for name=loop.example type=A: Host not found"
)
HEAD = b"Subject: hi\r\nFrom: joe@ret.example\r\n\r\n"
POSTFIX = """\
Received: by mx.example.com (Postfix)
	id 289CB21681B; Mon, 23 Nov 2026 04:12:40 +0000 (UTC)
Date: Mon, 23 Nov 2026 04:12:40 +0000 (UTC)
From: Mail Delivery System <MAILER-DAEMON>
Subject: Undelivered Mail Returned to Sender
To: joe@ret.example
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status;
	boundary="2626A216819.1795407160/mx.example.com"
Content-Transfer-Encoding: 8bit
Message-Id: <20261123041240.289CB21681B@mx.example.com>

This is a MIME-encapsulated message.

--2626A216819.1795407160/mx.example.com
Content-Description: Notification
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: 8bit

This is the mail system at host mx.example.com.

I'm sorry to have to inform you that your message could not
be delivered to one or more recipients. It's attached below.

For further assistance, please send mail to postmaster.

If you do so, please include this problem report. You can
delete your own text from the attached returned message.

                   The mail system

<a@sink.example>: host 127.0.0.1[127.0.0.1] said: 550-5.1.1 <x> no such user
    550 5.1.1 try elsewhere (in reply to RCPT TO command)

<c@loop.example>: Host or domain name not found. Name service error for
    name=loop.example type=A: Host not found

--2626A216819.1795407160/mx.example.com
Content-Description: Delivery report
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example.com
X-Postfix-Queue-ID: 2626A216819
X-Postfix-Sender: rfc822; joe@ret.example
Arrival-Date: Mon, 23 Nov 2026 04:12:40 +0000 (UTC)

Final-Recipient: rfc822; a@sink.example
Original-Recipient: rfc822;a@sink.example
Action: failed
Status: 5.1.1
Remote-MTA: dns; 127.0.0.1
Diagnostic-Code: smtp; 550-5.1.1 <x> no such user 550 5.1.1 try elsewhere

Final-Recipient: rfc822; c@loop.example
Original-Recipient: rfc822;c@loop.example
Action: failed
Status: 5.4.4
Diagnostic-Code: X-Postfix; Host or domain name not found. Name service error
    for name=loop.example type=A: Host not found

--2626A216819.1795407160/mx.example.com
Content-Description: Undelivered Message
Content-Type: message/rfc822
Content-Transfer-Encoding: 8bit

Return-Path: <joe@ret.example>
Subject: hi
From: joe@ret.example

hello
.dot

--2626A216819.1795407160/mx.example.com--
"""


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()


def reports(**parameters: str) -> Reports:
    defaults = {"mail_name": "Postfix", "postwarden_bounce_reasons": "no"}
    return open_reports(config(**(defaults | parameters)), lambda: NOW, lambda text: None)


def envelope(*recipients: Recipient, sender: str = "joe@ret.example", size: int = 305, **more: object) -> Envelope:
    return Envelope("2626A216819", NOW, sender, recipients, size, **more)  # type: ignore[arg-type]


def report(
    message: Envelope,
    *statuses: Status,
    content: Content | None = None,
    kind: Kind = Kind.FAILURE,
    whole: bool = True,
    postmaster: bool = False,
    **parameters: str,
) -> str:
    wanted = Report(kind, message.sender, tuple(enumerate(statuses)), "", whole=whole, postmaster=postmaster)
    made = reports(**parameters).compose(wanted, message, content or Content(HEAD, b"hello\r\n.dot\r\n"), "289CB21681B")
    assert made.envelope.size == len(made.head) + len(made.body)
    assert made.head.endswith(b"\r\n\r\n")
    data = made.head + made.body
    assert b"\n" not in data.replace(b"\r\n", b"")
    return data.decode().replace("\r\n", "\n")


def test_it_is_what_postfix_writes() -> None:
    message = envelope(Recipient("a@sink.example"), Recipient("c@loop.example"))
    assert report(message, REJECTED, NO_HOST) == POSTFIX


def test_its_envelope() -> None:
    wanted = Report(Kind.FAILURE, "joe@ret.example", ((0, REJECTED),), "")
    made = reports().compose(wanted, envelope(Recipient("a@x")), Content(HEAD, b""), "289CB21681B")
    assert made.envelope.sender == ""
    assert made.envelope.recipients == (Recipient("joe@ret.example", notify=Notify.NEVER),)
    assert made.envelope.message_id == "<20261123041240.289CB21681B@mx.example.com>"


def test_dsn_parameters_come_back_decoded() -> None:
    recipient = Recipient("a@x", "alias@y", orcpt="rfc822;or+2Big@x.example")
    text = report(envelope(recipient, envid="foo+2Bbar", ret="HDRS"), REJECTED, whole=False)
    assert "Reporting-MTA: dns; mx.example.com\nOriginal-Envelope-Id: foo+bar\nX-Postfix-Queue-ID" in text
    assert "Original-Recipient: rfc822;or+ig@x.example\n" in text
    assert "<a@x> (expanded from <alias@y>): host" in text
    assert "Content-Description: Undelivered Message Headers\nContent-Type: text/rfc822-headers\n" in text
    assert "hello" not in text
    assert text.endswith("From: joe@ret.example\n\n--2626A216819.1795407160/mx.example.com--\n")


def test_a_large_message_comes_back_as_headers() -> None:
    text = report(envelope(Recipient("a@x"), size=50001), REJECTED)
    assert "text/rfc822-headers" in text
    assert "hello" not in text


def test_a_body_in_a_file_is_read_up_to_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "body"
    path.write_bytes(b"xxfrom the file")
    fd = os.open(path, os.O_RDONLY)
    content = Content(HEAD, None, fd, 2, 13)
    assert "\nfrom the file\n\n--" in report(envelope(Recipient("a@x")), REJECTED, content=content)
    assert "from the file" not in report(envelope(Recipient("a@x")), REJECTED, content=content, bounce_size_limit="10")
    os.close(fd)


def test_a_body_that_cant_be_read_is_left_out() -> None:
    text = report(envelope(Recipient("a@x")), REJECTED, content=Content(HEAD, None, -1, 0, 5))
    assert "Undelivered Message Headers" in text
    fd = os.open("/", os.O_RDONLY)  # each read of it fails
    text = report(envelope(Recipient("a@x")), REJECTED, content=Content(HEAD, None, fd, 0, 5))
    os.close(fd)
    assert "Undelivered Message Headers" in text


def test_a_copy_for_postmasters_has_no_text() -> None:
    text = report(envelope(Recipient("a@x")), REJECTED, postmaster=True, whole=False)
    assert "Subject: Postmaster Copy: Undelivered Mail\n" in text
    assert "Auto-Submitted: auto-generated\n" in text
    assert "sorry" not in text
    assert "\nContent-Transfer-Encoding: 8bit\n\n\n<a@x>: host" in text


def test_a_delay() -> None:
    later = Status("4.2.0", "host mx said: 450 later", "mx", "mx", "450 later")
    text = report(
        envelope(Recipient("a@x")), later, kind=Kind.DELAY, whole=False, delay_warning_time="4h", mydomain="example.com"
    )
    assert "Subject: Delayed Mail (still being retried)\n" in text
    assert "could not be delivered for more than 4 hour(s).\nIt will be retried until it is 5 day(s) old." in text
    assert "Action: delayed\nStatus: 4.2.0\n" in text
    assert "\nWill-Retry-Until: Sat, 28 Nov 2026 04:12:40 +0000 (UTC)\n" in text
    assert "Content-Description: Undelivered Message Headers\n" in text


def test_expiry_is_a_failure_with_the_last_status() -> None:
    later = Status("4.2.0", "host mx said: 450 later", "mx", "mx", "450 later")
    text = report(envelope(Recipient("a@x")), later, kind=Kind.EXPIRY)
    assert "Subject: Undelivered Mail Returned to Sender\n" in text
    assert "Action: failed\nStatus: 4.2.0\n" in text


@pytest.mark.parametrize(
    ("status", "action"),
    [
        (Status("2.0.0", "250 ok", "mx[1.2.3.4]:25", "mx", "250 ok", "relayed"), "relayed"),
        (Status("2.0.0", "250 ok", "mx[1.2.3.4]:25", "mx", "250 ok", "passed"), "relayed"),
        (Status("2.0.0", "alias expanded", "local", report="expanded"), "expanded"),
        (Status("2.0.0", "delivered to mailbox", "local"), "delivered"),
        (Status("4.2.0", "450 later", "mx[1.2.3.4]:25", "mx", "450 later"), "delayed"),
        (Status("5.2.0", "550 no", "mx[1.2.3.4]:25", "mx", "550 no"), "failed"),
    ],
)
def test_success(status: Status, action: str) -> None:
    text = report(envelope(Recipient("a@x")), status, kind=Kind.SUCCESS, whole=False)
    assert "Subject: Successful Mail Delivery Report\n" in text
    assert f"\n<a@x>: delivery via {status.relay}: {status.text}\n" in text
    assert f"\nAction: {action}\n" in text
    assert "Will-Retry-Until" not in text
    assert "Content-Description: Message Headers\n" in text


@pytest.mark.parametrize(
    ("code", "action"), [("2.0.0", "deliverable"), ("4.4.1", "undeliverable"), ("5.1.1", "undeliverable")]
)
def test_verification(code: str, action: str) -> None:
    text = report(
        envelope(Recipient("a@x"), trace="verify"), Status(code, "said", "mx").foretold(), kind=Kind.VERIFY, whole=False
    )
    assert "Subject: Mail Delivery Status Report\n" in text
    assert f"\nAction: {action}\n" in text


def test_an_alias_is_named_behind_the_recipients() -> None:
    message = envelope(Recipient("a@x"), expanded=(Recipient("alias@x", orcpt="rfc822;o@x"),))
    wanted = Report(Kind.SUCCESS, "joe@ret.example", ((1, Status("2.0.0", "alias expanded", report="expanded")),), "")
    body = reports().compose(wanted, message, Content(HEAD, b""), "289CB21681B").body.decode()
    assert "\r\n<alias@x>: alias expanded\r\n" in body
    assert "Final-Recipient: rfc822; alias@x\r\nOriginal-Recipient: rfc822;o@x\r\nAction: expanded\r\n" in body


@pytest.mark.parametrize(
    ("message_id", "fits"),
    [
        ("<a@b>", True),
        ("<a b>", True),
        ("junk <a@b>", False),
        ("<a@b> (c)", False),
        ("<a\r\nEvil: x>", False),
        ("", False),
    ],
)
def test_threads(message_id: str, fits: bool) -> None:
    text = report(envelope(Recipient("a@x"), message_id=message_id), REJECTED, enable_threaded_bounces="yes")
    assert (f"\nReferences: {message_id}\nIn-Reply-To: {message_id}\nAuto-Submitted" in text) is fits
    assert "\nEvil" not in text
    assert "References" not in report(envelope(Recipient("a@x"), message_id=message_id), REJECTED)


def test_without_smtputf8_all_is_ascii_unless_the_message_is_not() -> None:
    text = report(envelope(Recipient("a@x")), REJECTED, smtputf8_enable="no")
    assert "Content-Transfer-Encoding" not in text
    assert "charset=us-ascii\n" in text
    text = report(envelope(Recipient("a@x"), eight_bit=True), REJECTED, smtputf8_enable="no")
    assert text.count("Content-Transfer-Encoding: 8bit") == 3


def test_who_decided_is_said_in_a_sentence() -> None:
    def why(status: Status, kind: Kind = Kind.FAILURE, age: float = 0.0) -> str:
        text = report(
            replace(envelope(Recipient("a@x")), arrival=NOW - age),
            status,
            kind=kind,
            postwarden_bounce_reasons="yes",
            delay_warning_time="90m",
        )
        part = text.split("--2626A216819.1795407160/mx.example.com\n")[1]
        assert "Why" not in text.replace(part, "")
        return " ".join(part.partition("    Why")[2].split())

    assert why(REJECTED) == ": the mail server 127.0.0.1 decided this; the reply above is its own."
    assert why(NO_HOST) == ": the DNS of the recipient's domain says so."
    assert why(Status("5.1.1", "x", cause="relocated_maps")) == ": mx.example.com decided this by relocated_maps."
    ended = ": mx.example.com gave it to a program, and the program ended like this."
    assert why(Status("5.1.1", "x", program_said="user unknown")) == ended
    assert why(NO_HOST, Kind.EXPIRY, 432000) == ": it was given up after 5 days (maximal_queue_lifetime)."
    assert why(NO_HOST, Kind.EXPIRY, 431999) == ": the postmaster of mx.example.com had it returned before its time."
    assert "90 minutes (delay_warning_time); it is tried until it is 5 days old" in why(REJECTED, Kind.DELAY)
    assert why(Status("5.0.0", "x")) == ""


def test_postmasters_alone_hear_where_it_is_written() -> None:
    status = Status("5.1.6", "moved", cause="relocated_maps", origin="hash:/etc/moved joe@x at /etc/moved:7")
    for postmaster in (False, True):
        text = report(envelope(Recipient("a@x")), status, postmaster=postmaster, postwarden_bounce_reasons="yes")
        assert ("/etc/moved:7" in text) is postmaster
        assert "decided this by relocated_maps" in text


def test_smtputf8() -> None:
    text = report(envelope(Recipient("ü@x"), sender="joé@ret.example", smtputf8=True), REJECTED)
    assert "To: joé@ret.example\n" in text
    assert "Content-Type: message/global-delivery-status\nContent-Transfer-Encoding: 8bit\n" in text
    assert "Content-Type: message/global\n" in text
    assert "Final-Recipient: utf-8; ü@x\n" in text


def test_addresses_are_quoted_where_they_must_be() -> None:
    assert external("a b@x.example") == '"a b"@x.example'
    assert external('a"\\@x') == '"a\\"\\\\"@x'
    assert external("plain.name+ext@x") == "plain.name+ext@x"
    assert external("a..b@x") == '"a..b"@x'
    assert external("postmaster") == "postmaster"


def test_a_remote_server_cant_make_header_lines() -> None:
    evil = Status("5.0.0", "550 x\r\nBcc: victim@x", "mx", "mx", "550 x\r\n\r\n--boundary\nInjected: yes")
    text = report(
        envelope(Recipient("a@x\r\nX-Evil: 1", orcpt="rfc822;a+0D+0AX-Evil: 2"), envid="+0D+0AX-Evil: 3"), evil
    )
    for line in text.splitlines():
        assert not line.startswith(("Bcc:", "Injected:", "X-Evil", "--boundary"))


@settings(max_examples=100)
@given(st.text(max_size=400))
def test_fold_keeps_the_words(text: str) -> None:
    data = fold(text)
    lines = data.decode("utf-8", "surrogateescape").split("\r\n")
    assert lines.pop() == ""
    assert all(len(line) <= 79 or " " not in line.strip(" ") for line in lines)
    assert all(line.startswith("    ") for line in lines[1:])
    assert "\r" not in "".join(lines)
    assert "\n" not in "".join(lines)


@settings(max_examples=100)
@given(st.text(max_size=100))
def test_xtext_never_makes_a_line(text: str) -> None:
    assert not set(from_xtext(text + "+0D+0A+00")) & set("\r\n\0")


def test_each_part_of_an_alias_is_named() -> None:
    parts = (Part("joe@x", "a@x", "2.0.0", "delivers to mailbox"), Part("far@y", "", "4.4.1", "no way"))
    status = Status("4.4.1", "no way", "local", parts=parts).foretold()
    message = envelope(Recipient("a@x", orcpt="rfc822;o@x"), trace="verify")
    text = report(message, status, kind=Kind.VERIFY, whole=False)
    assert "\n<joe@x> (expanded from <a@x>): delivery via local: delivers to mailbox\n" in text
    assert (
        "\nFinal-Recipient: rfc822; joe@x\nOriginal-Recipient: rfc822;o@x\nAction: deliverable\nStatus: 2.0.0\n" in text
    )
    assert "\n<far@y>: delivery via local: no way\n" in text
    assert "\nFinal-Recipient: rfc822; far@y\nAction: undeliverable\nStatus: 4.4.1\n" in text
