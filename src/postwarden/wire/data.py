"""Message content on its way in: where it ends, and what its line endings mean. No other file decides that.

Whatever a client sends, what comes out has CRLF line ends and no other CR or LF, and no dot-stuffing. So what is
stored can be sent on without a second look: no byte sequence in it can end a message or begin another one ("SMTP
smuggling": one server takes `<LF>.<LF>` for the end of a message, the next one does not, and what follows is mail with
a forged sender).

- `NORMALIZE`: only `<CR><LF>.<CR><LF>` ends DATA. A bare LF ends a line, as if it were CRLF. A line that is a dot but,
  by its neighbours, does not end the message is an empty line.
- `REJECT`: the same, and `bare_lf` is set; the session refuses the message.
- `LENIENT`, for clients that the operator exempts: `[<CR>]<LF>.[<CR>]<LF>` ends DATA too.
- In all three a CR that is not part of CRLF becomes a blank (cleanup_replace_stray_cr_lf).

Bodies are searched and replaced by the methods of `bytes`: 5 KB cost 8 µs. A look at each byte in Python would cost
fifty times that.
"""

import re
from enum import Enum


class LineEnds(Enum):
    NORMALIZE = "normalize"
    REJECT = "reject"
    LENIENT = "lenient"


_END = b"\r\n.\r\n"
_LENIENT_END = re.compile(rb"\n\.\r?\n")
# What may be the beginning of an end, and so waits for more; longest first.
_TAILS = (b"\r\n.\r", b"\r\n.", b"\n.\r", b"\r\n", b"\n.", b"\r", b"\n")


def clean(data: bytes) -> bool:
    """Whether each CR and LF of `data` is part of a CRLF."""
    # A line end is CRLF, CR or LF to splitlines: as many ends as CR and as many as LF means that all are CRLF. For
    # bytes, taking them out and comparing lengths is faster than count (1.0 against 1.4 µs for 5 KB).
    size = len(data)
    feeds = size - len(data.replace(b"\n", b""))
    if feeds != size - len(data.replace(b"\r", b"")):
        return False
    return len(data.splitlines()) - (data[-1:] not in b"\r\n") == feeds


def normalize(data: bytes) -> bytes:
    """`data` with each LF as CRLF and each other CR as a blank. A CR at the end counts as stray."""
    # CRLF gives way to LF first, so that what is left of CR is stray; then LF alone stands for each line's end.
    return data.replace(b"\r\n", b"\n").replace(b"\r", b" ").replace(b"\n", b"\r\n")


def bare_lf(data: bytes) -> bool:
    """Whether `data` has an LF without CR before it. `data` must not begin within a CRLF."""
    return data.count(b"\n") != data.count(b"\r\n")


def strip_line_end(line: bytes) -> tuple[bytes, bool]:
    """A command line up to and with its LF -> the line without its end, and whether the LF was bare."""
    if line.endswith(b"\r\n"):
        return line[:-2], False
    return line[:-1], True


class DotReader:
    """Content after DATA (RFC 5321 4.5.2). Give `feed` what arrives until `done`; `rest` is what follows the end."""

    __slots__ = ("_hold", "_line_ends", "_skip", "bare_lf", "done", "rest")

    def __init__(self, line_ends: LineEnds = LineEnds.NORMALIZE) -> None:
        self._line_ends = line_ends
        # The 354 stands for the line end before the first line; it is no part of the content.
        self._hold = b"\r\n"
        self._skip = 2
        self.bare_lf = False
        self.done = False
        self.rest = b""

    def feed(self, data: bytes) -> bytes:
        """Content that is certain by now: CRLF line ends, dots unstuffed. May be empty."""
        if self._hold:
            data = self._hold + data
        if self._line_ends is LineEnds.LENIENT:
            dots = True
            data = self._split_lenient(data)
        else:
            at = data.find(b"\r\n.")
            dots = at >= 0
            if dots and data[at : at + 5] != _END:
                at = data.find(_END, at)
            else:
                dots = False
            if at >= 0 and data[at : at + 5] == _END:
                self.rest = data[at + 5 :]
                data = data[: at + 2]
                self.done = True
                self._hold = b""
            else:
                data = self._keep_tail(data)
        if not clean(data):
            dots = True
            if bare_lf(data):
                self.bare_lf = True
            data = normalize(data)
        if dots:
            data = data.replace(b"\r\n.", b"\r\n")
        if self._skip and len(data) > 1:
            self._skip = 0
            return data[2:]
        return data

    def _split_lenient(self, data: bytes) -> bytes:
        end = _LENIENT_END.search(data)
        if end is None:
            return self._keep_tail(data)
        self.rest = data[end.end() :]
        self.done = True
        self._hold = b""
        return data[: end.start() + 1]

    def _keep_tail(self, data: bytes) -> bytes:
        for tail in _TAILS:
            if data.endswith(tail):
                self._hold = tail
                return data[: -len(tail)]
        self._hold = b""
        return data


class ChunkReader:
    """Content of one message after BDAT (RFC 3030): chunks of given size, no dots. Call `finish` after the last one."""

    __slots__ = ("_hold", "_last", "bare_lf")

    def __init__(self) -> None:
        self._hold = b""
        self._last = b"\r\n"
        self.bare_lf = False

    def feed(self, data: bytes) -> bytes:
        """Payload -> content with CRLF line ends. A CR at the end waits for what follows, in whichever chunk."""
        if self._hold:
            data = self._hold + data
            self._hold = b""
        if data.endswith(b"\r"):
            self._hold = b"\r"
            data = data[:-1]
        if not clean(data):
            if bare_lf(data):
                self.bare_lf = True
            data = normalize(data)
        if data:
            self._last = data[-2:]
        return data

    def finish(self) -> bytes:
        """What is left: a message ends with a line end, whether the client sent one or not."""
        rest = b" " if self._hold else b""
        self._hold = b""
        if rest or self._last[-1:] != b"\n":
            rest += b"\r\n"
        self._last = b"\r\n"
        return rest
