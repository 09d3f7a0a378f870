from collections.abc import Callable

import pytest

from postwarden.wire.lookups import (
    SOCKETMAP_LIMIT,
    TCP_LINE_LIMIT,
    Looked,
    Malformed,
    MemcacheReader,
    Reader,
    SocketmapReader,
    TcpReader,
    memcache_get,
    memcache_set,
    socketmap_request,
    tcp_request,
)


def memcache() -> Reader:
    return MemcacheReader(1024, 10240)


def whole(reader: Callable[[], Reader], data: bytes) -> Looked:
    """The same in one piece and byte by byte."""
    one = reader()
    found = one.feed(data)
    assert found is not None and not one.rest
    slow = reader()
    for at in range(len(data) - 1):
        assert slow.feed(data[at : at + 1]) is None
    assert slow.feed(data[-1:]) == found
    return found


@pytest.mark.parametrize(
    ("key", "request_"),
    [
        ("User@Example.COM", b"get User@Example.COM\n"),
        ("a b%c\t", b"get a%20b%25c%09\n"),
        ("ü", b"get %C3%BC\n"),
        ("~!\x7f", b"get ~!%7F\n"),
        ("\udcff", b"get %FF\n"),
    ],
)
def test_tcp_request(key: str, request_: bytes) -> None:
    assert tcp_request(key) == request_


@pytest.mark.parametrize(
    ("reply", "looked"),
    [
        (b"200 hello\n", Looked("hello")),
        (b"200 a%20b%25%0a\n", Looked("a b%\n")),
        (b"200  x  y \n", Looked(" x  y ")),
        (b"200\tx\n", Looked("x")),
        (b"200 x\r\n", Looked("x\r")),
        (b"200 \n", Looked("")),
        (b"500 none\n", Looked(None)),
        (b"400 later\n", Looked(None, "later")),
        (b"400 \n", Looked(None, "temporary error")),
        (b"200 \xff\n", Looked(None, "non-UTF-8 value")),
        (b"200 a%00b\n", Looked(None, "a NUL byte in the value")),
        (b"200 " + b"x" * (TCP_LINE_LIMIT - 5) + b"\n", Looked("x" * (TCP_LINE_LIMIT - 5))),
    ],
)
def test_tcp_reply(reply: bytes, looked: Looked) -> None:
    assert whole(TcpReader, reply) == looked


@pytest.mark.parametrize(
    "reply",
    [b"200hello\n", b"200\n", b"300 x\n", b"x\n", b"\n", b"200 %zz\n", b"200 a%\n", b"500\n", b"2000 x\n", b"500x\n",
     b"200 " + b"x" * (TCP_LINE_LIMIT - 4) + b"\n", b"x" * TCP_LINE_LIMIT],
)  # fmt: skip
def test_what_is_no_tcp_reply(reply: bytes) -> None:
    with pytest.raises(Malformed):
        TcpReader().feed(reply)


def test_what_nobody_asked_for_is_kept_apart() -> None:
    readers = (TcpReader(), SocketmapReader(), memcache())
    for reader, data in zip(readers, (b"200 a\nX", b"4:OK a,X", b"END\r\nX"), strict=True):
        assert reader.feed(data) is not None
        assert reader.rest == b"X"


def test_socketmap_request() -> None:
    assert socketmap_request("name", "Ä b") == b"9:name \xc3\x84 b,"


@pytest.mark.parametrize(
    ("frame", "looked"),
    [
        (b"OK hello", Looked("hello")),
        (b"OK  a b ", Looked(" a b ")),
        (b"OK ", Looked("")),
        (b"NOTFOUND ", Looked(None)),
        (b"NOTFOUND", Looked(None)),
        (b"TEMP later", Looked(None, "server temporary error: later")),
        (b"TIMEOUT ", Looked(None, "server timeout error")),
        (b"PERM no", Looked(None, "server permanent error: no")),
        (b"OKx", Looked(None, "server unknown error")),
        (b"OK", Looked(None, "server unknown error")),
        (b"ok x", Looked(None, "server unknown error: x")),
        (b"", Looked(None, "server unknown error")),
        (b"OK " + b"x" * 2000, Looked("x" * 2000)),
    ],
)
def test_socketmap_reply(frame: bytes, looked: Looked) -> None:
    assert whole(SocketmapReader, b"%d:%b," % (len(frame), frame)) == looked


def test_the_longest_frame() -> None:
    text = b"OK " + b"x" * (SOCKETMAP_LIMIT - 3)
    found = SocketmapReader().feed(b"%d:%b," % (len(text), text))
    assert found is not None and found.value is not None
    with pytest.raises(Malformed):
        SocketmapReader().feed(b"%d:" % (SOCKETMAP_LIMIT + 1))


@pytest.mark.parametrize(
    "data", [b"8:OK hello;", b":OK,", b"x:OK,", b"x", b"-1:,", b" 8:OK hello,", b"99999999999", b"8 :OK hello,"]
)
def test_what_is_no_netstring(data: bytes) -> None:
    with pytest.raises(Malformed):
        SocketmapReader().feed(data)


def test_memcache_requests() -> None:
    assert memcache_get("key") == b"get key\r\n"
    assert memcache_set("key", "ä", flags=7, ttl=5) == b"set key 7 5 2\r\n\xc3\xa4\r\n"


@pytest.mark.parametrize(
    ("reply", "looked"),
    [
        (b"VALUE k 0 5\r\nhello\r\nEND\r\n", Looked("hello")),
        (b"VALUE k 0 5 7\r\nhello\r\nEND\r\n", Looked("hello")),
        (b"VALUE k 0 4\r\n\r\n\r\n\r\nEND\r\n", Looked("\r\n\r\n")),
        (b"VALUE k 0 0\r\n\r\nEND\r\n", Looked("")),
        (b"END\r\n", Looked(None)),
        (b"END\n", Looked(None)),
        (b"STORED\r\n", Looked(None)),
    ],
)
def test_memcache_reply(reply: bytes, looked: Looked) -> None:
    assert whole(memcache, reply) == looked


@pytest.mark.parametrize(
    "reply",
    [b"ERROR\r\n", b"SERVER_ERROR out\r\n", b"\r\n", b"VALUE k 0 99999\r\n", b"VALUE k 0 -1\r\n", b"VALUE k 0\r\n",
     b"VALUE k 0 5\r\nhelloX\r\nEND\r\n", b"VALUE k 0 5\r\nhello\r\nVALUE k 0 5\r\n", b"x" * 1025],
)  # fmt: skip
def test_what_memcached_would_not_say(reply: bytes) -> None:
    with pytest.raises(Malformed):
        memcache().feed(reply)


def test_the_limits_of_memcache_are_the_definitions() -> None:
    reply = b"VALUE x 0 5\r\nhello\r\nEND\r\n"
    assert MemcacheReader(12, 5).feed(reply) == Looked("hello")
    for limits in ((11, 5), (12, 4)):
        with pytest.raises(Malformed):
            MemcacheReader(*limits).feed(reply)
