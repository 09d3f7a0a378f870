"""8-bit content for a server without 8BITMIME: parts become quoted-printable (RFC 6152 3, RFC 2045 6.7), in the same
way as Postfix does it, so that both write the same bytes.

What calls itself 7bit, quoted-printable or base64 is passed as it is, even if it lies: only what says 8bit or binary is
converted. A part that is multipart or message says 7bit afterwards; all others say quoted-printable, binary ones too,
since the line ends of what came by SMTP are already those of text.
"""

import re
from enum import Enum

from msgspec import Struct

_LINE_KEPT = 1 << 16
"""Bytes of a line that are looked at together; a longer one is converted in pieces."""
_HEADER_KEPT = 102400
"""Bytes of a header field that are kept; the rest is dropped, as header_size_limit does it by default."""
_UNSAFE = re.compile(rb"[^\t -<>-~]")
_HEADER = re.compile(rb"([!-9;-~]+)[ \t]*:")
_COMMENT = re.compile(rb"\([^()]*\)")
_TYPE = re.compile(rb"\s*([^\s/;]+)(?:\s*/\s*([^\s;]+))?")
_BOUNDARY = re.compile(rb';\s*boundary\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;"]+))', re.I)
_WORD = re.compile(rb"\s*([^\s;]+)")
_EIGHT_BIT = frozenset((b"8bit", b"binary"))
_KNOWN = frozenset((b"7bit", b"quoted-printable", b"base64")) | _EIGHT_BIT


class NestingError(ValueError):
    """More multiparts in each other than mime_nesting_limit."""


class _In(Enum):
    HEADER = 1
    BODY = 2


class _Part(Struct):
    """The entity that is being read."""

    kind: bytes = b"text"
    subtype: bytes = b"plain"
    eight_bit: bool = False


class _Level(Struct, frozen=True):
    boundary: bytes
    digest: bool


def needs_downgrade(head: bytes) -> bool:
    """Whether MIME headers could say that something is 8-bit. Without any, content is passed as it is."""
    return b"content-t" in head.lower()


class Downgrade:
    """`feed` pieces of a message, its header first; then `finish`. Raises NestingError."""

    def __init__(self, nesting_limit: int, boundary_limit: int = 2048) -> None:
        """`boundary_limit`: bytes by which boundaries are told from each other."""
        self._limit, self._boundary_limit = nesting_limit, boundary_limit
        self._rest = b""
        self._in = _In.HEADER
        self._part = _Part()
        self._header: list[bytes] = []
        """Lines of the header field that has not ended."""
        self._held = 0
        self._primary = True
        """It is the message's own header."""
        self._levels: list[_Level] = []
        self._out: list[bytes] = []
        self._continued = False
        """The line's beginning has been dealt with."""
        self._soft = b""
        """Quoted-printable of the line, since its last soft break."""

    def feed(self, piece: bytes) -> bytes:
        lines = (self._rest + piece).split(b"\r\n")
        self._rest = lines.pop()
        for line in lines:
            self._line(line, ended=True)
        if len(self._rest) > _LINE_KEPT:
            # A CR at the end may be half of a line end.
            long, self._rest = self._rest[:-1], self._rest[-1:]
            self._line(long, ended=False)
        return self._taken()

    def finish(self) -> bytes:
        if self._rest or self._continued:
            self._line(self._rest, ended=True)
            self._rest = b""
        if self._in is _In.HEADER:
            self._field_ends()
        return self._taken()

    def _taken(self) -> bytes:
        out = b"".join(self._out)
        self._out.clear()
        return out

    def _line(self, line: bytes, *, ended: bool) -> None:
        if self._in is _In.HEADER:
            if self._continued:
                if self._header and self._hold(line):
                    self._header[-1] += line
            elif self._header_line(line):
                self._body_line(line, ended=ended)
        else:
            self._body_line(line, ended=ended)
        self._continued = not ended

    # header

    def _header_line(self, line: bytes) -> bool:
        """True when the line does not belong to the header: it is empty, or the body begins without an empty line."""
        if self._header and line[:1] in (b" ", b"\t"):
            if self._hold(line):
                self._header.append(line)
            return False
        self._field_ends()
        match = _HEADER.match(line)
        if match is not None:
            self._header.append(match[1] + line[match.end() - 1 :])
            return False
        self._header_ends(line)
        return True

    def _hold(self, line: bytes) -> bool:
        self._held += len(line)
        return self._held <= _HEADER_KEPT

    def _field_ends(self) -> None:
        lines, self._header = self._header, []
        self._held = 0
        if not lines:
            return
        name, _, value = b" ".join(lines).partition(b":")
        name = name.lower()
        if name == b"content-type":
            self._content_type(_COMMENT.sub(b" ", value))
        elif name == b"content-transfer-encoding":
            match = _WORD.match(_COMMENT.sub(b" ", value))
            encoding = match[1].lower() if match is not None else b""
            if encoding in _KNOWN:
                self._part.eight_bit = encoding in _EIGHT_BIT
            if self._part.eight_bit:
                return  # what it is now is said at the end of the header
        self._out += [line + b"\r\n" for line in lines]

    def _content_type(self, value: bytes) -> None:
        match = _TYPE.match(value)
        if match is None:
            return
        part = self._part
        part.kind = match[1].lower()
        part.subtype = (match[2] or b"").lower()
        if part.kind != b"multipart":
            return
        for quoted, bare in _BOUNDARY.findall(value):
            if len(self._levels) > self._limit:
                raise NestingError("MIME nesting exceeds safety limit")
            boundary = re.sub(rb"\\(.)", rb"\1", quoted) if quoted else bare
            self._levels.append(_Level(boundary[: self._boundary_limit], part.subtype == b"digest"))

    def _header_ends(self, line: bytes) -> None:
        part = self._part
        if part.eight_bit:
            now = b"7bit" if part.kind in (b"message", b"multipart") else b"quoted-printable"
            self._out.append(b"Content-Transfer-Encoding: " + now + b"\r\n")
        self._in = _In.BODY
        primary, self._primary = self._primary, False
        if line:
            # Not in a part: a signature may stand on its bytes.
            self._out += (b"\r\n",) if primary else ()
        elif part.kind == b"message" and part.subtype == b"rfc822":
            self._part = _Part()
            self._in = _In.HEADER
            self._out.append(b"\r\n")
        elif part.kind == b"multipart":
            self._part = _Part(b"other", b"")

    # body

    def _body_line(self, line: bytes, *, ended: bool) -> None:
        if self._in is _In.HEADER:
            return  # the empty line before the header of a nested message is out already
        if not self._continued and line[:2] == b"--" and self._levels:
            self._perhaps_boundary(line)
        if self._part.eight_bit:
            self._quoted_printable(line, ended=ended)
        else:
            self._out.append(line + b"\r\n" if ended else line)

    def _perhaps_boundary(self, line: bytes) -> None:
        """What follows the boundary on its line is overlooked, as Postfix does."""
        levels = self._levels
        for at in range(len(levels) - 1, -1, -1):
            level = levels[at]
            if line.startswith(level.boundary, 2):
                del levels[at + 1 :]
                if line.startswith(b"--", 2 + len(level.boundary)):
                    levels.pop()
                    self._part = _Part(b"other", b"")
                else:
                    self._part = _Part(b"message", b"rfc822") if level.digest else _Part()
                    self._in = _In.HEADER
                return

    def _quoted_printable(self, line: bytes, *, ended: bool) -> None:
        """Soft breaks come after 73 to 75 bytes, so that no line is over 76."""
        text = self._soft + _UNSAFE.sub(lambda m: b"=%02X" % m[0][0], line)
        at = 0
        while len(text) - at > 73:
            end = at + 73
            if text[end - 1 : end] == b"=":
                end += 2
            elif text[end - 2 : end - 1] == b"=":
                end += 1
            if end >= len(text):
                break
            self._out.append(text[at:end] + b"=\r\n")
            at = end
        text = text[at:]
        if not ended:
            self._soft = text
            return
        self._soft = b""
        if text[-1:] in (b" ", b"\t"):
            text = text[:-1] + b"=%02X" % text[-1]
        self._out.append(text + b"\r\n")
