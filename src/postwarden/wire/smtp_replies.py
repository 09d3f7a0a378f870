"""Replies of a remote SMTP server: bytes in, values out (RFC 5321 4.2, RFC 2034).

What remote servers really send is forgiven as Postfix forgives it: a bare LF ends a line, a line that is no reply is
skipped (but remembered, since such a server can't be trusted with another message on this connection), a text that is
too long is cut. Nothing that is read here grows without bound.
"""

import re
from collections.abc import Callable

from msgspec import Struct

LINE_LIMIT = 2048
"""Bytes of one line, and of the text of a whole reply, that are kept; Postfix's line_length_limit."""
REPLY_LIMIT = 1 << 20
"""Bytes of one reply that are read at all. Postfix has no such limit, so that a server which never comes to the last
line holds a connection as long as it likes to."""
AHEAD_LIMIT = 64 << 10
"""Bytes that may wait for a command that they could answer: an early verdict is not longer, and each more that comes
while content is sent has all of them copied."""

_ENHANCED = re.compile(r" *([245]\.[0-9]{1,3}\.[0-9]{1,3})(?![^ ])")
_CLASSES = "245"


class RemoteReply(Struct, frozen=True):
    """`status` is the enhanced code that came along, `n.0.0` where none or one of another class did, and 5.5.0 where
    the reply's own class says nothing of success or failure. `text` has all lines with their codes, parted by "\\n".
    """

    code: int
    status: str
    text: str
    garbled: bool = False
    """Lines that are no reply came before it."""

    @property
    def line(self) -> str:
        """In one line, as it is logged and put into a DSN."""
        return self.text.replace("\n", " ") if "\n" in self.text else self.text


class EndlessReply(Exception):
    """More than REPLY_LIMIT bytes, and still no last line; or more than AHEAD_LIMIT that nobody has asked for."""


class ReplyReader:
    """Cuts what a server sends into replies. `feed`, then `next` until it gives None."""

    __slots__ = ("_at", "_buffer", "_garbled", "_kept", "_lines", "_seen", "_skipping", "filtered")

    def __init__(self) -> None:
        self._buffer = b""
        self._at = 0
        self._lines: list[str] = []
        self._kept = 0
        self._seen = 0
        self._garbled = False
        self._skipping = False
        self.filtered: Callable[[bytes], bytes] | None = None
        """What is read in the place of a line, which is without its LF; whatever it raises, `next` raises."""

    @property
    def empty(self) -> bool:
        """Nothing is left of what was fed."""
        return self._at == len(self._buffer) and not self._lines and not self._skipping

    @property
    def unfinished(self) -> list[str]:
        """Lines that are no reply, or not a whole one yet."""
        return self._lines

    @property
    def garbled(self) -> bool:
        """There are lines that are no reply, and none has come behind them."""
        return self._garbled

    def clear(self) -> None:
        """Forget what was read and not yet given out: what came in clear before TLS must not count under it."""
        filtered = self.filtered
        self.__init__()  # type: ignore[misc]
        self.filtered = filtered

    def feed(self, data: bytes) -> None:
        if len(self._buffer) - self._at > AHEAD_LIMIT:
            raise EndlessReply
        if self._skipping:
            end = data.find(b"\n")
            if end < 0:
                self._count(len(data))
                return
            self._count(end)
            self._skipping = False
            data = data[end:]
        self._buffer = self._buffer[self._at :] + data if self._at < len(self._buffer) else data
        self._at = 0

    def next(self) -> RemoteReply | None:
        """The next whole reply. Raises EndlessReply, as `feed` does."""
        buffer = self._buffer
        while True:
            end = buffer.find(b"\n", self._at)
            if end < 0:
                break
            line = buffer[self._at : end]
            self._at = end + 1
            reply = self._line(line)
            if reply is not None:
                return reply
            self._count(len(line))
        if len(buffer) - self._at > LINE_LIMIT:
            # The code is at the beginning; of the rest of such a line only the end matters.
            self._count(len(buffer) - self._at - LINE_LIMIT)
            self._buffer = buffer[self._at : self._at + LINE_LIMIT]
            self._at = 0
            self._skipping = True
        return None

    def _count(self, size: int) -> None:
        self._seen += size + 1
        if self._seen > REPLY_LIMIT:
            raise EndlessReply

    def _line(self, raw: bytes) -> RemoteReply | None:
        if self.filtered is not None:
            raw = self.filtered(raw[:LINE_LIMIT])  # in however many pieces it came
        line = _printable(raw)
        if raw[3:4] == b" " and not self._kept and raw[:3].isdigit():
            return self._reply(line, line)
        if self._kept < LINE_LIMIT and (line or self._lines):
            self._lines.append(line)
            self._kept += len(line) + 1
        if raw[:3].isdigit() and len(line) >= 3:
            mark = line[3:4]
            if mark == " " or not mark:
                text = "\n".join(self._lines)
                self._lines = []
                self._kept = 0
                return self._reply(line, text)
            if mark == "-":
                return None
        self._garbled = True
        return None

    def _reply(self, last: str, text: str) -> RemoteReply:
        garbled, self._garbled = self._garbled, False
        self._seen = 0
        digit = last[0]
        if digit not in _CLASSES:
            status = "5.5.0"
        else:
            match = _ENHANCED.match(last, 4)
            status = match[1] if match is not None and match[1][0] == digit else digit + ".0.0"
        return RemoteReply(int(last[:3]), status, text, garbled)


def _printable(line: bytes) -> str:
    """A line as text: without CR at its end and without what follows a NUL; what can't be printed becomes `?`."""
    if len(line) > LINE_LIMIT:
        line = line[:LINE_LIMIT]
    text = line.rstrip(b"\r").decode("utf-8", "replace")
    if text.isprintable() and "\ufffd" not in text:
        return text
    text = text.partition("\0")[0]
    return "".join([c if c.isprintable() and c != "\ufffd" else "?" for c in text])
