"""What little table servers are asked and answer: tcp_table(5), socketmap_table(5) and memcached's text protocol.

Each question has one reply. A reader takes bytes as they come and gives the `Looked` when it is complete; `rest` is
what came beyond it, which nobody asked for.
"""

import re
from types import MappingProxyType
from typing import Protocol

from msgspec import Struct

TCP_LINE_LIMIT = 4096
"""Bytes of a reply, its line end included."""
SOCKETMAP_LIMIT = 100_000
"""Bytes of a reply without its frame."""
_ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})?")
_TCP_REPLY = re.compile(rb"([0-9]{3})[ \t](.*)", re.DOTALL)
_LENGTH = re.compile(rb"[0-9]{1,10}")
_VALUE = re.compile(rb"VALUE [^ ]+ [^ ]+ ([0-9]{1,10})(?: .*)?")
_ERRORS = MappingProxyType({b"TEMP": "temporary", b"TIMEOUT": "timeout", b"PERM": "permanent"})


class Malformed(Exception):
    """The server does not speak the protocol; nothing that it says on this connection is to be believed."""


class Looked(Struct, frozen=True):
    """The answer. `value` is None where there is nothing under the key, or where `error` says why that is not known."""

    value: str | None
    error: str = ""


class Reader(Protocol):
    """Of one reply."""

    rest: bytes

    def feed(self, data: bytes) -> Looked | None:
        """None: more is needed. Raises Malformed."""


def encoded(key: str) -> bytes:
    return key.encode("utf-8", "surrogateescape")


def tcp_request(key: str) -> bytes:
    """`get key`, with `%XX` for what is not printable, for white space and for `%` itself."""
    return b"get " + b"".join([_escaped(byte) for byte in encoded(key)]) + b"\n"


def _escaped(byte: int) -> bytes:
    return bytes((byte,)) if 0x20 < byte < 0x7F and byte != 0x25 else b"%%%02X" % byte


class TcpReader:
    def __init__(self) -> None:
        self.rest = b""

    def feed(self, data: bytes) -> Looked | None:
        self.rest += data
        end = self.rest.find(b"\n", 0, TCP_LINE_LIMIT)
        if end < 0:
            if len(self.rest) >= TCP_LINE_LIMIT:
                raise Malformed(f"text longer than {TCP_LINE_LIMIT}")
            return None
        line, self.rest = self.rest[:end], self.rest[end + 1 :]
        match = _TCP_REPLY.fullmatch(line)
        if match is None:
            raise Malformed(f"malformed reply: {_shown(line)}")
        text = _unescaped(match[2], line)
        if match[1] == b"200":
            return _found(text)
        if match[1] == b"500":
            return Looked(None)
        if match[1] == b"400":
            return Looked(None, _shown(text) or "temporary error")
        raise Malformed(f"bad status code: {_shown(line)}")


def _unescaped(text: bytes, line: bytes) -> bytes:
    def byte(escape: re.Match[bytes]) -> bytes:
        if escape[1] is None:
            raise Malformed(f"malformed reply: {_shown(line)}")
        return bytes((int(escape[1], 16),))

    return _ESCAPE.sub(byte, text)


def socketmap_request(name: str, key: str) -> bytes:
    text = encoded(f"{name} {key}")
    return b"%d:%b," % (len(text), text)


class SocketmapReader:
    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._missing = -1
        """Bytes until the end of the frame; negative: its length is not known yet."""
        self.rest = b""

    def feed(self, data: bytes) -> Looked | None:
        if self._missing < 0:
            data = self.rest + data
            length, colon, data = data.partition(b":")
            if _LENGTH.fullmatch(length) is None and (colon or length):
                raise Malformed("input format error")
            if not colon:
                self.rest = length
                return None
            if int(length) > SOCKETMAP_LIMIT:
                raise Malformed("input exceeds size limit")
            self._missing, self.rest = int(length) + 1, b""
        piece, self.rest = data[: self._missing], data[self._missing :]
        self._pieces.append(piece)
        self._missing -= len(piece)
        return None if self._missing else _socketmap(b"".join(self._pieces))


def _socketmap(frame: bytes) -> Looked:
    if frame[-1:] != b",":
        raise Malformed("input format error")
    status, space, text = frame[:-1].partition(b" ")
    if status == b"OK" and space:
        return _found(text)
    if status == b"NOTFOUND":
        return Looked(None)
    error = f"server {_ERRORS.get(status, 'unknown')} error"
    return Looked(None, f"{error}: {_shown(text)}" if text else error)


def memcache_get(key: str) -> bytes:
    """`key` has neither white space nor control characters: that is the caller's part."""
    return b"get " + encoded(key) + b"\r\n"


def memcache_set(key: str, value: str, *, flags: int, ttl: int) -> bytes:
    data = encoded(value)
    return b"set %b %d %d %d\r\n%b\r\n" % (encoded(key), flags, ttl, len(data), data)


class MemcacheReader:
    """Of the reply to `get`; to `set`, too: STORED has no value."""

    def __init__(self, line_limit: int, data_limit: int) -> None:
        self._line_limit, self._data_limit = line_limit, data_limit
        self._value: bytes | None = None
        self._size = -1
        self.rest = b""

    def feed(self, data: bytes) -> Looked | None:
        self.rest += data
        while True:
            if self._size >= 0 and self._value is None:
                if len(self.rest) < self._size + 2:
                    return None
                self._value = self.rest[: self._size]
                if self.rest[self._size : self._size + 2] != b"\r\n":
                    raise Malformed("EOF receiving memcache server reply")
                self.rest = self.rest[self._size + 2 :]
            line = self._line()
            if line is None:
                return None
            if self._value is not None or line in (b"END", b"STORED"):
                if self._value is not None and line != b"END":
                    raise Malformed(f"unexpected memcache server reply: {_shown(line)}")
                return Looked(None) if self._value is None else _found(self._value)
            match = _VALUE.fullmatch(line)
            if match is None or int(match[1]) > self._data_limit:
                raise Malformed(f"unexpected memcache server reply: {_shown(line)}")
            self._size = int(match[1])

    def _line(self) -> bytes | None:
        end = self.rest.find(b"\n", 0, self._line_limit + 1)
        if end < 0:
            if len(self.rest) > self._line_limit:
                raise Malformed(f"a reply line longer than {self._line_limit}")
            return None
        line, self.rest = self.rest[:end], self.rest[end + 1 :]
        return line.removesuffix(b"\r")


def _found(value: bytes) -> Looked:
    """What is no text, or ends in the middle where others read it, is no answer."""
    if b"\0" in value:
        return Looked(None, "a NUL byte in the value")
    try:
        return Looked(value.decode())
    except UnicodeDecodeError:
        return Looked(None, "non-UTF-8 value")


def _shown(text: bytes) -> str:
    shown = text[:200].decode("utf-8", "replace")
    return "".join([char if char.isprintable() else "?" for char in shown])
