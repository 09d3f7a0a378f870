import ipaddress
import socket
import struct

import pytest

from postwarden.wire.proxy import BadHeader, Header, read_header

BOTH = frozenset(("ipv4", "ipv6"))
SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
FOUR = socket.inet_aton("192.0.2.4") + socket.inet_aton("192.0.2.6") + struct.pack(">HH", 1234, 25)


def six(client: str, server: str) -> bytes:
    packed = b"".join(ipaddress.IPv6Address(text).packed for text in (client, server))
    return packed + struct.pack(">HH", 1234, 25)


def second(what: int, kind: int, body: bytes, length: int | None = None) -> bytes:
    return SIGNATURE + bytes((what, kind)) + struct.pack(">H", len(body) if length is None else length) + body


GOOD = [
    (b"PROXY TCP4 192.0.2.4 192.0.2.6 1234 25\r\n", ("192.0.2.4", 1234), ("192.0.2.6", 25)),
    (b"PROXY TCP4 192.0.2.4 192.0.2.6 0 0\n", ("192.0.2.4", 0), ("192.0.2.6", 0)),
    (b"PROXY TCP6 2001:DB8:0::4 2001:db8::6 1234 25\r\n", ("2001:db8::4", 1234), ("2001:db8::6", 25)),
    (b"PROXY TCP6 ::ffff:192.0.2.4 ::1 1 25\r\n", ("192.0.2.4", 1), ("::1", 25)),
    (second(0x21, 0x11, FOUR), ("192.0.2.4", 1234), ("192.0.2.6", 25)),
    (second(0x21, 0x11, FOUR + b"\x04\x00\x03abc"), ("192.0.2.4", 1234), ("192.0.2.6", 25)),
    (second(0x21, 0x21, six("2001:db8::4", "2001:db8::6")), ("2001:db8::4", 1234), ("2001:db8::6", 25)),
    (second(0x21, 0x21, six("::ffff:192.0.2.4", "::1")), ("192.0.2.4", 1234), ("::1", 25)),
    (second(0x20, 0x00, b""), None, None),
    (second(0x20, 0x11, FOUR), None, None),
]


@pytest.mark.parametrize(("data", "client", "server"), GOOD)
def test_a_header_ends_where_the_client_begins(
    data: bytes, client: tuple[str, int] | None, server: tuple[str, int] | None
) -> None:
    for size in range(1, len(data)):
        assert read_header(data[:size], BOTH) is None
    assert read_header(data, BOTH) == Header(len(data), client, server)
    assert read_header(data + b"EHLO x\r\n", BOTH) == Header(len(data), client, server)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"PROXY UNKNOWN\r\n", "bad or missing protocol type"),
        (b"PROXY\r\n", "bad or missing protocol type"),
        (b"PROXY TCP4 192.0.2.4 192.0.2.6 1234\r\n", "bad or missing server port"),
        (b"PROXY TCP4 192.0.2.400 192.0.2.6 1234 25\r\n", "bad or missing client address"),
        (b"PROXY TCP4 192.0.2.4 2001:db8::4 1234 25\r\n", "bad or missing server address"),
        (b"PROXY TCP4 192.0.2.4 192.0.2.6 01234 25\r\n", "bad or missing client port"),
        (b"PROXY TCP4 192.0.2.4 192.0.2.6 70000 25\r\n", "bad or missing client port"),
        ("PROXY TCP4 192.0.2.4 192.0.2.6 ١ 25\r\n".encode(), "bad or missing client port"),
        (b"PROXY TCP6 fe80::1%lo ::1 1 25\r\n", "bad or missing client address"),
        (b"EHLO x\r\n", "unexpected protocol header"),
        (b"EHLO", "missing protocol header terminator"),
        (b"PROXY TCP4 192.0.2.4 192.0.2.6 1234 25" + b" x" * 300, "missing protocol header terminator"),
        (b"\r\nPROXY", "unexpected protocol header"),
        (second(0x11, 0x11, FOUR), "unrecognized protocol version"),
        (second(0x22, 0x11, FOUR), "bad command in proxy header"),
        (second(0x21, 0x00, b""), "unsupported network protocol"),
        (second(0x21, 0x12, FOUR), "unsupported network protocol"),
        (second(0x21, 0x31, b"x" * 216), "unsupported network protocol"),
        (second(0x21, 0x11, FOUR[:8]), "short address field"),
        (second(0x21, 0x11, b"", 65535), "protocol header too long"),
    ],
)
def test_what_is_no_header_is_refused(data: bytes, why: str) -> None:
    with pytest.raises(BadHeader, match=why):
        read_header(data, BOTH)


def test_only_families_that_are_wanted() -> None:
    with pytest.raises(BadHeader, match="bad or missing protocol type"):
        read_header(GOOD[2][0], {"ipv4"})
    with pytest.raises(BadHeader, match="IPv6 support is disabled"):
        read_header(GOOD[6][0], {"ipv4"})
    assert read_header(GOOD[0][0], {"ipv4"}) is not None
