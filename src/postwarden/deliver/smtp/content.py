"""Content as it goes over the wire: dots doubled (RFC 5321 4.5.2), over-long lines folded, CRLF at its end.

Whole messages in memory take one pass of `find`; what comes in pieces goes through `Encoder`, which holds back the
line that has not ended. Neither looks at single bytes.
"""

CRLF = b"\r\n"


def encode(content: bytes, limit: int) -> bytes:
    """All of `content`, ready for the final dot. Lines over `limit` bytes are broken with CRLF and a blank, as Postfix
    does (smtp_line_length_limit; 0: never)."""
    if limit and too_long(content, limit):
        content = fold(content, limit)
    if content[:1] == b".":
        content = b"." + content
    if content.find(b"\r\n.") >= 0:
        content = content.replace(b"\r\n.", b"\r\n..")
    if content[-2:] != CRLF and content:
        content += CRLF
    return content


def too_long(content: bytes, limit: int) -> bool:
    """Whether a line has more than `limit` bytes. Jumps from line end to line end, as far as the limit reaches: about
    one `rfind` for each `limit` bytes."""
    at, size = 0, len(content)
    while size - at > limit:
        end = content.rfind(CRLF, at, at + limit + 2)
        if end < 0:
            return True
        at = end + 2
    return False


def fold(content: bytes, limit: int) -> bytes:
    """Break lines over `limit`: the first piece has `limit` bytes, each further one a blank and `limit` - 1."""
    lines = content.split(CRLF)
    return CRLF.join([line if len(line) <= limit else _pieces(line, limit) for line in lines])


def _pieces(line: bytes, limit: int) -> bytes:
    step = max(limit - 1, 1)
    rest = [line[at : at + step] for at in range(limit, len(line), step)]
    return b"\r\n ".join([line[:limit], *rest])


class Encoder:
    """`encode` for content that comes in pieces. A line without end is not kept: from `limit` bytes on it is folded as
    it comes, and without a limit only the doubling of dots matters, which is decided by the last two bytes."""

    __slots__ = ("_begun", "_limit", "_line", "_room")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._line = b""
        """The last line, as far as it has not been given out."""
        self._begun = False
        """The line's beginning has been given out already."""
        self._room = limit
        """Bytes that the line may still have."""

    def feed(self, piece: bytes) -> bytes:
        data = self._line + piece
        cut = data.rfind(CRLF)
        if cut < 0:
            return self._unended(data)
        self._line = b""
        whole, rest = data[: cut + 2], data[cut + 2 :]
        out = self._whole(whole)
        self._begun = False
        self._room = self._limit
        return out + self._unended(rest)

    def finish(self) -> bytes:
        """What was held back, and the CRLF that the content lacked, if it did."""
        out = b""
        if self._line or self._begun:
            out = self._whole(self._line + CRLF)
        self._line = b""
        self._begun = False
        return out

    def _whole(self, lines: bytes) -> bytes:
        if not self._begun:
            return encode(lines, self._limit)
        # The first of them continues a line whose beginning is out: no dot to double, and less room.
        end = lines.index(CRLF) + 2
        first = self._continued(lines[: end - 2]) + CRLF
        return first + encode(lines[end:], self._limit)

    def _unended(self, data: bytes) -> bytes:
        """Keep a line that has not ended, or give out what can be, when it is too much to keep."""
        keep = max(2 * self._limit, 1 << 16)
        if len(data) <= keep:
            self._line = data
            return b""
        # A CR at the end may be half of a line end.
        cut = len(data) - 1
        self._line = data[cut:]
        out = b""
        if not self._begun:
            self._begun = True
            self._room = self._limit
            if data[:1] == b".":
                out = b"."
        return out + self._continued(data[:cut])

    def _continued(self, data: bytes) -> bytes:
        if not self._limit:
            return data
        parts = []
        while len(data) > self._room:
            parts.append(data[: self._room])
            data = data[self._room :]
            self._room = max(self._limit - 1, 1)
        self._room -= len(data)
        parts.append(data)
        return b"\r\n ".join(parts)
