"""PROXY headers beside the real smtpd(8): who is let in as whom, and what the log says of who is not."""

import asyncio
import re
import socket
import struct
from collections.abc import Iterator

import pytest
from tests.proxied import behind, first_line
from tests.realpostfix import RealPostfix, needs_postfix
from tests.whole import until

pytestmark = [needs_postfix, pytest.mark.postfix, pytest.mark.slow]

SETTINGS = {
    "smtpd_upstream_proxy_protocol": "haproxy",
    "smtpd_client_port_logging": "yes",
    "smtpd_peername_lookup": "no",
    "inet_protocols": "ipv4",
}
BODY = socket.inet_aton("192.0.2.4") + socket.inet_aton("192.0.2.6") + struct.pack(">HH", 1234, 25)
SIX = socket.inet_pton(socket.AF_INET6, "::ffff:192.0.2.4") * 2 + struct.pack(">HH", 1234, 25)


def second(what: int, kind: int, body: bytes) -> bytes:
    return b"\r\n\r\n\x00\r\nQUIT\n" + bytes((what, kind)) + struct.pack(">H", len(body)) + body


HEADERS = (
    b"PROXY TCP4 192.0.2.4 192.0.2.6 1234 25\r\n",
    b"PROXY TCP4 192.0.2.4 192.0.2.6 1234 25\n",
    b"PROXY  TCP4  192.0.2.4 192.0.2.6 1234 25\r\n",
    b"PROXY TCP4 192.0.2.4 192.0.2.6 1234 25 more\r\n",
    b"PROXY TCP6 2001:db8::4 2001:db8::6 1234 25\r\n",
    b"PROXY UNKNOWN\r\n",
    b"PROXY TCP4 192.0.2.4 192.0.2.6 1234\r\n",
    b"PROXY TCP4 192.0.2.400 192.0.2.6 1234 25\r\n",
    b"PROXY TCP4 192.0.2.4 192.0.2.6 01234 25\r\n",
    b"PROXY TCP4 192.0.2.4 192.0.2.6 70000 25\r\n",
    b"PROXY TCP4 192.0.2.4 2001:db8::4 1234 25\r\n",
    b"EHLO foo\r\n",
    second(0x21, 0x11, BODY),
    second(0x21, 0x11, BODY + b"\x04\x00\x03abc"),
    second(0x20, 0x00, b""),
    second(0x20, 0x11, BODY),
    second(0x21, 0x00, b""),
    second(0x21, 0x12, BODY),
    second(0x21, 0x21, SIX),
    second(0x21, 0x31, b"x" * 216),
    second(0x21, 0x11, BODY[:8]),
    second(0x11, 0x11, BODY),
    second(0x22, 0x11, BODY),
)


@pytest.fixture(scope="module")
def postfix(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealPostfix]:
    postfix = RealPostfix(tmp_path_factory.mktemp("proxied"), **SETTINGS)
    postfix.start()
    yield postfix
    postfix.stop()


def lines(log: str, port: int) -> list[str]:
    """Of one session, without what differs: our own port, and the words for what is wrong with a header."""
    found = re.findall(r"smtpd(?:\[\d+\])?: (.*)", log)
    return [re.sub(r"(haproxy read: ).*", r"\1…", line.replace(f":{port}", ":PORT")) for line in found]


@pytest.mark.parametrize("header", HEADERS, ids=range(len(HEADERS)))
def test_as_postfix(header: bytes, postfix: RealPostfix) -> None:
    before = len(postfix.log())
    theirs, port = asyncio.run(first_line(postfix.port, header))
    until(lambda: "disconnect from" in postfix.log()[before:])

    async def play() -> tuple[str, list[str]]:
        async with behind(**SETTINGS) as gateway:
            heard, mine = await first_line(gateway.port, header)
            await gateway.until(lambda: "disconnect from" in "".join(gateway.log))
            return heard, lines("\n".join(gateway.log), mine)

    ours, logged = asyncio.run(play())
    assert ours == theirs
    assert logged == lines(postfix.log()[before:], port)
