import pytest
from hypothesis import given
from hypothesis import strategies as st

from postwarden.mail.envelope import Client
from postwarden.mail.events import (
    Connected,
    Delivered,
    Disconnected,
    Event,
    Failure,
    Fatal,
    LostConnection,
    MessageIdSeen,
    Notice,
    Opened,
    Queued,
    Rejected,
    Removed,
    Warn,
    delay,
    printable,
)
from postwarden.mail.status import Status

CLIENT = Client("mail.example.org", "192.0.2.9")


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (Connected(CLIENT), "connect from mail.example.org[192.0.2.9]"),
        (
            Disconnected(CLIENT, (("ehlo", 1, 1), ("rcpt", 1, 3), ("quit", 1, 1))),
            "disconnect from mail.example.org[192.0.2.9] ehlo=1 rcpt=1/3 quit=1 commands=3/5",
        ),
        (Disconnected(CLIENT, ()), "disconnect from mail.example.org[192.0.2.9] commands=0/0"),
        (
            LostConnection("timeout", "DATA (17 bytes)", CLIENT),
            "timeout after DATA (17 bytes) from mail.example.org[192.0.2.9]",
        ),
        (Opened("4B1", CLIENT), "4B1: client=mail.example.org[192.0.2.9]"),
        (Opened("4B1", CLIENT, "ann"), "4B1: client=mail.example.org[192.0.2.9], sasl_username=ann"),
        (MessageIdSeen("4B1", "<x@y>"), "4B1: message-id=<x@y>"),
        (
            Rejected("", "RCPT", CLIENT, "554 5.7.1 <a@b>: Relay access denied", "c@d", "a@b", "ESMTP", "h"),
            "NOQUEUE: reject: RCPT from mail.example.org[192.0.2.9]: 554 5.7.1 <a@b>: Relay access denied; "
            "from=<c@d> to=<a@b> proto=ESMTP helo=<h>",
        ),
        (
            Rejected("4B1", "CONNECT", CLIENT, "held", action="hold"),
            "4B1: hold: CONNECT from mail.example.org[192.0.2.9]: held;",
        ),
        (Queued("4B1", "a@b", 551, 2), "4B1: from=<a@b>, size=551, nrcpt=2 (queue active)"),
        (Queued("4B1", "", 551, 1, "deferred"), "4B1: from=<>, size=551, nrcpt=1 (queue deferred)"),
        (
            Delivered("4B1", "a@b", "", Status("4.4.1", "connect to x", "none"), (10, 0.1, 0.5, 0), 3),
            "4B1: to=<a@b>, relay=none, conn_use=3, delay=11, delays=10/0.1/0.5/0, dsn=4.4.1, "
            "status=deferred (connect to x)",
        ),
        (
            Delivered("4B1", "a@b", "r@b", Status("5.1.1", "unknown user", "local"), (0, 0, 0, 0)),
            "4B1: to=<a@b>, orig_to=<r@b>, relay=local, delay=0, delays=0/0/0/0, dsn=5.1.1, "
            "status=bounced (unknown user)",
        ),
        (Removed("4B1"), "4B1: removed"),
        (Notice("daemon started"), "daemon started"),
    ],
)
def test_lines_are_postfixs(event: Event, line: str) -> None:
    assert str(event) == line


def test_levels_are_postfixs_words() -> None:
    assert [kind.level for kind in (Notice, Warn, Failure, Fatal)] == ["info", "warning", "error", "fatal"]
    assert {kind.level for kind in (Connected, Rejected, Delivered)} == {"info"}


@given(st.text(max_size=30))
def test_nothing_from_outside_forges_a_line(text: str) -> None:
    client = Client(text, text)
    for event in (
        Connected(client),
        LostConnection(text, text, client),
        Opened("Q", client, text),
        MessageIdSeen("Q", text),
        Rejected("", text, client, text, text, text, text, text),
        Queued("Q", text, 1, 1),
        Delivered("Q", text, text, Status("2.0.0", text, text), (0, 0, 0, 0)),
        Warn(text),
    ):
        assert not set(str(event)) & {*map(chr, range(32)), "\x7f"}


def test_what_can_be_printed_is_left_alone() -> None:
    assert printable("jörg@münchen.example") == "jörg@münchen.example"
    assert printable("a\tb\0c\x7fd\r\n") == "a?b?c?d??"


def test_no_terminal_is_commanded() -> None:
    """U+009B is ESC [ to a terminal; a byte that is no UTF-8 is one to another terminal."""
    assert printable("a\x9b31mb") == "a?31mb"
    assert printable(b"a\x9b31mb".decode("utf-8", "surrogateescape")) == "a?31mb"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0"),
        (0.004, "0"),
        (0.006, "0.01"),
        (0.25, "0.25"),
        (0.999, "1"),
        (1.26, "1.3"),
        (9.94, "9.9"),
        (86400, "86400"),
    ],
)
def test_delays_have_two_digits_that_matter(seconds: float, text: str) -> None:
    assert delay(seconds) == text
