"""Whatever a stranger sends in the place of a PROXY header: a header, a wish for more, or BadHeader."""

import ipaddress

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fuzz.rounds import rounds

from postwarden.wire.proxy import BadHeader, Header, read_header

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
WORDS = st.sampled_from(["TCP4", "TCP6", "UNKNOWN", "192.0.2.1", "::1", "::ffff:1.2.3.4", "25", "0", "65536", "-1", ""])
FIRST = st.lists(WORDS, max_size=7).map(lambda words: " ".join(("PROXY", *words)).encode())
SECOND = st.tuples(st.sampled_from([0x20, 0x21, 0x22, 0x11]), st.sampled_from([0, 0x11, 0x21, 0x31]), st.binary()).map(
    lambda x: SIGNATURE + bytes(x[:2]) + len(x[2]).to_bytes(2, "big") + x[2]
)
HEADERS = st.tuples(st.one_of(FIRST, SECOND, st.binary()), st.sampled_from([b"", b"\n", b"\r\n", b"\r\nEHLO x\r\n"]))


@settings(max_examples=rounds(300), deadline=None)
@given(HEADERS, st.sampled_from([("ipv4",), ("ipv6",), ("ipv4", "ipv6")]))
def test_any_bytes(parts: tuple[bytes, bytes], families: tuple[str, ...]) -> None:
    data = b"".join(parts)
    try:
        header = read_header(data, families)
    except BadHeader:
        return
    if header is None:
        assert len(data) < 4096
        return
    assert 0 < header.size <= len(data)
    for end in (header.client, header.server):
        if end is not None:
            assert str(ipaddress.ip_address(end[0])) == end[0]
            assert 0 <= end[1] < 65536


@settings(max_examples=rounds(100), deadline=None)
@given(HEADERS, st.integers(1, 40))
def test_pieces_say_what_the_whole_says(parts: tuple[bytes, bytes], size: int) -> None:
    data = b"".join(parts)
    assert last(data, size) == last(data, max(len(data), 1))


def last(data: bytes, size: int) -> Header | str | None:
    """What is said of the first pieces that are enough."""
    found: Header | None = None
    for end in range(size, len(data) + size, size):
        try:
            found = read_header(data[:end], ("ipv4", "ipv6"))
        except BadHeader:
            return "bad"
        if found is not None:
            return found
    return found
