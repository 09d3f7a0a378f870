"""Table servers that may answer anything: an answer, an error, or nothing yet, however the bytes are cut."""

import contextlib
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fuzz.rounds import rounds

from postwarden.wire.lookups import (
    Looked,
    Malformed,
    MemcacheReader,
    Reader,
    SocketmapReader,
    TcpReader,
    memcache_set,
    socketmap_request,
    tcp_request,
)

READERS: dict[str, Callable[[], Reader]] = {
    "tcp": TcpReader,
    "socketmap": SocketmapReader,
    "memcache": lambda: MemcacheReader(64, 64),
}
PIECES = (
    b"200 ", b"400 ", b"500", b"\n", b"%", b"%4", b"%41", b"%00", b":", b",", b"3:", b"0:", b"5:OK x,", b"OK ",
    b"NOTFOUND ", b"TEMP", b"PERM ", b"VALUE k 0 ", b"VALUE k 0 3\r\n", b"abc\r\n", b"END\r\n", b"STORED\r\n", b"\r\n",
    b"1", b"99999999999", b"-1", b"\0", b"\xff", b"x" * 70, b" ",
)  # fmt: skip
replies = st.lists(st.one_of(st.sampled_from(PIECES), st.binary(max_size=8)), max_size=12).map(b"".join)


def outcome(reader: Reader, pieces: list[bytes]) -> Looked | str | None:
    """The answer, `malformed`, or None: more would be needed."""
    try:
        for piece in pieces:
            found = reader.feed(piece)
            if found is not None:
                return found
    except Malformed as error:
        assert str(error).isprintable()
        return "malformed"
    return None


@pytest.mark.parametrize("kind", READERS)
@given(data=replies)
@settings(max_examples=rounds(300), deadline=None)
def test_a_reply_means_the_same_however_it_is_cut(kind: str, data: bytes) -> None:
    whole = outcome(READERS[kind](), [data])
    cut = outcome(READERS[kind](), [data[at : at + 1] for at in range(len(data))])
    # A reader that is fed byte by byte may see that something is wrong before a complete reply hides what follows.
    assert whole == cut
    if isinstance(whole, Looked):
        assert whole.value is None or (not whole.error and "\0" not in whole.value)
        assert whole.error.isprintable()


@given(key=st.text(), value=st.text())
@settings(max_examples=rounds(200), deadline=None)
def test_a_key_is_one_question(key: str, value: str) -> None:
    """Whatever a sender writes into an address, it ends no question and begins no other."""
    with contextlib.suppress(UnicodeEncodeError):
        assert tcp_request(key).count(b"\n") == 1
        frame = socketmap_request("name", key)
        length, _, rest = frame.partition(b":")
        assert len(rest) == int(length) + 1
        stored = memcache_set("key", value, flags=0, ttl=0)
        assert stored.endswith(b"\r\n") and stored.startswith(b"set key 0 0 ")
