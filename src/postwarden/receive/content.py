"""Content as it comes in: cut into head and body, counted, and given to the spool. Never whole in memory.

The cut is where Postfix makes it. The head ends at the first empty line, or before the first line that is no header
(an empty line is put in then), or where the message ends. Lines `From …` and `>From …` at the very top, which mailbox
tools leave behind, become `X-Mailbox-Line:` headers.
"""

import re

from postwarden.receive.ports import Draft

HEAD_LIMIT = 1 << 20
"""Bytes of a head that are kept together. What is longer goes on as body: the message stays the same, byte for byte,
and headers that we add to the head stand in its midst."""

# What ends the head is looked for, not what belongs to it: an attacker's megabyte of almost-headers is looked at once,
# and takes no memory. Python up to 3.11.4 loses its place in a repeated group that is possessive.
_HEADER = re.compile(rb"[!-9;-~]++[ \t]*+:")
_HEADERS_END = re.compile(rb"\n(?![ \t]|[!-9;-~]++[ \t]*+:)")
_FROM_LINES_END = re.compile(rb"\n(?!>*+From )")
_FROM_LINE = re.compile(rb"^>*+From ", re.MULTILINE)


class Intake:
    __slots__ = ("_buffer", "_draft", "_searched", "body_size", "eight_bit", "head", "over", "size")

    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self._buffer: bytearray | None = bytearray()
        self._searched = 0
        self.head = b""
        """Complete once body bytes were given to the draft, or after `finish`."""
        self.size = 0
        """Bytes so far."""
        self.body_size = 0
        """Bytes given to the draft."""
        self.eight_bit = False
        """There are bytes above 127."""
        self.over = False
        """Too big: nothing is kept any more."""

    @property
    def kept(self) -> int:
        """Bytes of the head, or of what may be head, in memory."""
        return len(self.head) if self._buffer is None else len(self._buffer)

    def write(self, data: bytes) -> None:
        self.size += len(data)
        if self.over:
            return
        if not self.eight_bit and not data.isascii():
            self.eight_bit = True
        buffer = self._buffer
        if buffer is None:
            self.body_size += len(data)
            self._draft.write(data)
            return
        if not buffer:
            # The usual message: its head comes in one piece.
            end = data.find(b"\r\n\r\n")
            if end >= 0:
                self._cut(data)
                return
        buffer += data
        end = buffer.find(b"\r\n\r\n", self._searched)
        if end >= 0 or len(buffer) > HEAD_LIMIT or buffer.startswith(b"\r\n"):
            self._cut(bytes(buffer))
        else:
            self._searched = max(len(buffer) - 3, 0)

    def finish(self) -> None:
        """No more comes."""
        if self._buffer is not None and not self.over:
            self._cut(bytes(self._buffer))

    def give_up(self) -> None:
        """Too big: count on, keep nothing."""
        self.over = True
        self._buffer = None
        self.head = b""

    def _cut(self, data: bytes) -> None:
        self._buffer = None
        if data.startswith((b"From ", b">")):
            data = mark_from_lines(data)
        head, body = split_head(data)
        self.head = head
        if body:
            self.body_size += len(body)
            self._draft.write(body)


def split_head(data: bytes) -> tuple[bytes, bytes]:
    """The beginning of a message, or all of it -> head, with the empty line that ends it if there is one; and the rest.
    Raises nothing; a message without any header has an empty head but for that line."""
    end = 0
    if _HEADER.match(data):
        found = _HEADERS_END.search(data)
        end = found.end() if found else data.rfind(b"\n") + 1
    if data[end : end + 2] == b"\r\n":
        return data[: end + 2], data[end + 2 :]
    if end == len(data):
        return data, b""
    if end > HEAD_LIMIT // 2:
        return data[:end], data[end:]
    return data[:end] + b"\r\n", data[end:]


def mark_from_lines(data: bytes) -> bytes:
    """`From ` lines at the top as headers."""
    if not _FROM_LINE.match(data):
        return data
    # In one pass: a client may send a megabyte of them.
    found = _FROM_LINES_END.search(data)
    end = found.end() if found else len(data)
    return _FROM_LINE.sub(rb"X-Mailbox-Line: \g<0>", data[:end]) + data[end:]
