"""Transcripts of troubled sessions beside those of the real smtpd(8): the same message, dates and ids aside."""

import re
import socket
from collections.abc import Iterator

import pytest
from tests.realpostfix import RealPostfix, needs_postfix
from tests.whole import until

from postwarden.testing.reception import ZONE, Reception

pytestmark = [needs_postfix, pytest.mark.postfix, pytest.mark.slow]

SETTINGS = {
    "notify_classes": "bounce, policy, protocol, resource, software, data",
    "error_notice_recipient": "mail@mx.example.com",
    "bounce_notice_recipient": "mail",
    "mynetworks": "10.0.0.0/8",
    "local_recipient_maps": "inline:{mail=x}",
    "smtpd_error_sleep_time": "0",
    "smtpd_hard_error_limit": "4",
    "smtpd_history_flush_threshold": "20",
    "alias_maps": "",
}
SESSIONS = {
    "unknown": ["EHLO client.example", "FOO bar", "NOOP " + "x" * 50 + "  " + "y" * 90 + " z", "QUIT"],
    "refused": ["EHLO client.example", "MAIL FROM:<a@b.example>", "RCPT TO:<nobody@mx.example.com>", "RSET"],
    "errors": ["EHLO client.example", "FOO", "FOO \x01\u00e9", "RCPT TO:<x@y.example>", "MAIL FROM: <", "FOO"],
    "relay": ["HELO client.example", "MAIL FROM:<a@b.example>", "RCPT TO:<x@far.example>", "DATA", "QUIT"],
}


LONG = (
    ["EHLO client.example", "FOO", *["NOOP"] * 9, "RSET", "NOOP", *["NOOP"] * 20, "RSET", "FOO", "QUIT"],
    ["HELO client.example", "FOO", *["NOOP"] * 7, "EHLO client.example", "FOO", "RSET", "QUIT"],
    ["HELO client.example", "FOO", *["NOOP"] * 6, "RSET", "NOOP", "FOO", "RSET", "QUIT"],
    ["HELO client.example", "FOO", *["NOOP"] * 8, "EHLO client.example", "FOO", "RSET", "QUIT"],
    ["HELO client.example", "FOO", *["NOOP"] * 8, "RSET", "FOO", "QUIT"],
    ["HELO client.example", "FOO", *["NOOP"] * 8, "MAIL FROM:<>", "RCPT TO:<mail@mx.example.com>", "BAR", "QUIT"],
    ["EHLO client.example", "FOO", *["NOOP"] * 5, "HELO client.example", "RSET", "FOO", "FOO", "QUIT"],
)
"""A transcript of more than 20 lines is told at HELO and RSET."""


@pytest.fixture(scope="module")
def postfix(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealPostfix]:
    base = tmp_path_factory.mktemp("transcripts")
    (base / "mail").mkdir()
    (base / "mail").chmod(0o1777)
    postfix = RealPostfix(base, 0, **SETTINGS)
    postfix.start()
    yield postfix
    postfix.stop()


def theirs(postfix: RealPostfix, lines: list[str], count: int = 1) -> list[str]:
    """The messages as their local(8) wrote them, from the Received header on."""
    box = postfix.etc.parent / "mail" / "mail"
    before = box.stat().st_size if box.exists() else 0
    with socket.create_connection(("127.0.0.1", postfix.port), 20) as sock, sock.makefile("rb") as replies:
        for line in ["", *lines]:
            if line:
                sock.sendall(f"{line}\r\n".encode())
            while (reply := replies.readline()) and reply[3:4] == b"-":
                pass

    def come() -> list[str]:
        text = box.read_bytes()[before:].decode() if box.exists() else ""
        return [plain(one.partition("Received: ")[2]) for one in re.split(r"^From .*\n", text, flags=re.M)[1:]]

    until(lambda: len(come()) >= count, said=postfix.log)
    return sorted(come())


def ours(lines: list[str]) -> list[str]:
    made = Reception("mydestination = mx.example.com\n", config=None, zone=ZONE, **SETTINGS)
    peer = made.connect()
    for line in lines:
        peer.say(line)
    if not peer.closed:
        peer.stream.close()
        made.clock.run()
    texts = [(head + body).decode().replace("\r\n", "\n") for _, head, body in made.store.messages]
    return sorted(plain(text.partition("Received: ")[2]) for text in texts)


def plain(text: str) -> str:
    text = re.sub(r"\w{3}, [ \d]\d \w{3} \d{4} [\d:]+ \+0000 \(UTC\)", "DATE", text)
    return re.sub(r"(id |<\d{14}\.)[0-9A-F]+", r"\1ID", re.sub(r"<\d{14}\.", "<10000000000000.", text)).rstrip("\n")


@pytest.mark.parametrize("name", SESSIONS)
def test_as_postfix(postfix: RealPostfix, name: str) -> None:
    assert ours(SESSIONS[name]) == theirs(postfix, SESSIONS[name])


@pytest.mark.parametrize("lines", LONG, ids=range(len(LONG)))
def test_long_sessions_as_postfix(postfix: RealPostfix, lines: list[str]) -> None:
    expected = ours(lines)
    assert expected
    assert expected == theirs(postfix, lines, len(expected))
