"""The server's end of SMTP without I/O: bytes in, events out, and the state after each reply.

How to drive it:

    machine = Machine(options)
    machine.answered(220)                    # the banner was sent
    machine.receive(data)                    # whenever bytes arrive
    while (event := machine.next()) is not None:
        ...                                  # judge, reply
        machine.answered(code)

Each event stands for one reply, except `Content` and `Chunk`, which have none. Whoever answers calls `answered` with
the code *before* the next call of `next`, since the code decides what the next bytes are: a command, content, or TLS.
The reply of `Refused`, `Unknown` and `BareLf` moves nothing, unless it is 421.

What arrived together with STARTTLS is dropped when STARTTLS is accepted: said in clear, it must not count as said under
TLS (CVE-2011-0411). `early` tells of it, as of everything that was sent where a reply had to be awaited.
"""

from collections.abc import Callable

from msgspec import Struct, structs

from postwarden.mail.reply import Reply
from postwarden.wire.data import ChunkReader, DotReader, LineEnds, strip_line_end
from postwarden.wire.smtp_commands import PARSERS, barred, parse
from postwarden.wire.smtp_events import (
    BareLf,
    Chunk,
    ChunkEnd,
    Content,
    ContentEnd,
    Event,
    Hello,
    Mail,
    Rcpt,
    Refused,
    Unknown,
)
from postwarden.wire.smtp_states import BANNER, END, LAST, STEPS, TLS, State, after

_NEED_STARTTLS = Reply(530, "5.7.0", "Must issue a STARTTLS command first")
_NEED_HELLO = Reply(503, "5.5.1", "Error: send HELO/EHLO first")
_NEED_MAIL = Reply(503, "5.5.1", "Error: need MAIL command")
_NEED_RCPT = Reply(503, "5.5.1", "Error: need RCPT command")
_NO_RCPT = Reply(554, "5.5.1", "Error: no valid recipients")
_NESTED_MAIL = Reply(503, "5.5.1", "Error: nested MAIL command")
_IN_PROGRESS = Reply(503, "5.5.1", "Error: MAIL transaction in progress")
_ETRN_IN_PROGRESS = Reply(503, "", "Error: MAIL transaction in progress")
_OUT_OF_ORDER = Reply(503, "5.5.1", "Error: command out of order")
_TLS_ACTIVE = Reply(554, "5.5.1", "Error: TLS already active")
_BAD_SYNTAX = Reply(500, "5.5.2", "Error: bad syntax")
_TOO_LONG = Reply(500, "5.5.2", "Error: command line too long")
_ENDLESS = Reply(421, "4.7.0", "Error: command line too long")
_NO_BDAT = Reply(521, "5.5.1", "Error: command not implemented")
_ENDLESS_CHUNK = Reply(521, "5.3.4", "Error: chunk too big")
_LINE_DISCARD = 64 << 10
"""Bytes of a line without end that are thrown away before the connection is given up."""
_PRE_TLS = frozenset(("EHLO", "HELO", "STARTTLS", "NOOP", "QUIT", "XCLIENT"))
_ENDS_GROUP = frozenset(("EHLO", "HELO", "DATA", "NOOP", "VRFY", "STARTTLS"))
"""Commands whose reply the client has to await (RFC 2920 3.1, RFC 3207 4)."""


class Options(Struct, frozen=True):
    line_limit: int = 2048
    line_ends: LineEnds = LineEnds.NORMALIZE
    helo_required: bool = False
    tls_required: bool = False
    absent: frozenset[str] = frozenset()
    """Verbs that this session does not know."""
    discard_limit: int = 64 << 20
    """Bytes of a chunk that are thrown away; who announces more is sent away."""
    strict_paths: bool = False
    """`MAIL FROM:a@b` without brackets is an error."""
    leading_minus: bool = False
    """An address may begin with `-`."""


class Machine:
    __slots__ = (
        "_beginning", "_buffer", "_chunk", "_discarded", "_dots", "_event", "_left", "_lines", "_options", "_order",
        "_pos", "early", "line", "rewrite", "secure", "state",
    )  # fmt: skip

    def __init__(self, options: Options, *, secure: bool = False) -> None:
        self._options = options
        self._buffer = b""
        self._pos = 0
        self._event = BANNER
        self._dots: DotReader | None = None
        self._lines: ChunkReader | None = None
        self._chunk: Chunk | None = None
        self._order: Reply | None = None
        self._left = 0
        self._discarded = 0
        self._beginning = b""
        self.state = State.CONNECTED
        self.secure = secure
        """Under TLS."""
        self.line = b""
        """The last command, or its beginning. Whoever has used it may clear it."""
        self.rewrite: Callable[[bytes], bytes] | None = None
        """Gives what is to be read in the place of a command line. Where it raises, `next` does, and may be called
        again: the line is still there."""
        self.early: tuple[str, bytes] | None = None
        """After which command the client sent what, though it should have waited for the reply. CONNECT: before the
        banner."""

    @property
    def buffered(self) -> int:
        return len(self._buffer) - self._pos

    @property
    def receiving(self) -> str:
        """DATA or BDAT while its content is coming in; else empty."""
        return "DATA" if self._dots is not None else "BDAT" if self._chunk is not None else ""

    def receive(self, data: bytes) -> None:
        if self.state is State.CONNECTED and self.early is None:
            self.early = "CONNECT", data
        elif self.state is State.HANDSHAKE:
            # In clear, after STARTTLS was accepted: never to be read as if it were said under TLS.
            self.early = "STARTTLS", data
            return
        self._buffer = data if self._pos == len(self._buffer) else self._buffer[self._pos :] + data
        self._pos = 0

    def next(self) -> Event | None:
        """The next event, or None: more bytes, the banner or a handshake must come first."""
        if self._dots is not None:
            return self._content(self._dots)
        if self._chunk is not None:
            return self._payload(self._chunk)
        state = self.state
        if state is State.CONNECTED or state is State.HANDSHAKE or state is State.CLOSED:
            return None
        buffer, pos = self._buffer, self._pos
        if pos == len(buffer):
            return None
        end = buffer.find(b"\n", pos) + 1
        if not end:
            return self._unfinished()
        if self._discarded or end - pos > self._options.line_limit + 1:  # Postfix does not count the LF
            self._pos = end
            return self._cut(self._too_long(buffer[pos:end]))
        line, bare = strip_line_end(buffer[pos:end])
        command = line if self.rewrite is None else self.rewrite(line)
        self._pos = end
        self.line = line
        if bare and self._options.line_ends is LineEnds.REJECT:
            self._event = ""
            return BareLf()
        return self._command(command)

    def answered(self, code: int) -> None:
        """The event that `next` gave last was answered with `code`, or (at first) the banner was sent."""
        event = self._event
        self._event = ""
        if not event and code != 421:
            return
        self.state = state = after(self.state, event, code)
        if state is State.DATA:
            self._dots = DotReader(self._options.line_ends)
        elif state is State.HANDSHAKE:
            self._buffer = b""
            self._pos = 0

    def secured(self) -> None:
        """The TLS handshake that followed STARTTLS is over."""
        self._event = TLS
        self.secure = True
        self.answered(220)

    def close(self) -> None:
        """No more events, whatever is buffered."""
        self.state = State.CLOSED
        self._dots = self._chunk = None

    def set_options(self, options: Options) -> None:
        """Go on by other rules from the next command."""
        self._options = options

    def _command(self, line: bytes) -> Event | None:
        words = line.split(None, 1)
        if not words:
            self._event = ""
            return Refused("", _BAD_SYNTAX)
        known = PARSERS.get(words[0]) or PARSERS.get(words[0].upper())
        if known is None or known[0] in self._options.absent:
            self._event = ""
            if known is not None and known[0] == "BDAT":
                # Its content follows all the same, and must not be read as commands.
                return Refused("BDAT", _NO_BDAT, close=True)
            return Unknown(line.decode("utf-8", "replace"))
        verb, parser = known
        if verb in _ENDS_GROUP and self._pos < len(self._buffer):
            self.early = verb, self._buffer[self._pos :]
        refused = self._out_of_order(verb)
        if refused is not None and verb != "BDAT":
            self._event = ""
            return Refused(verb, refused)
        if line[0] in b" \t":
            line = line.lstrip(b" \t")
        event = parse(line, parser, verb)
        if event.__class__ is Mail or event.__class__ is Rcpt:
            options = self._options
            event = barred(event, line, strict=options.strict_paths, minus=options.leading_minus) or event
        self._event = "" if event.__class__ is Refused else verb
        return self._begin_chunk(event, refused) if isinstance(event, Chunk) else event

    def _out_of_order(self, verb: str) -> Reply | None:
        state = self.state
        if self._options.tls_required and not self.secure and verb not in _PRE_TLS:
            return _NEED_STARTTLS
        if verb == "MAIL" and state is State.GREETED and self._options.helo_required:
            return _NEED_HELLO
        if verb == "STARTTLS" and self.secure:
            return _TLS_ACTIVE
        return None if verb in STEPS[state] else order_reply(state, verb)

    # BDAT

    def _begin_chunk(self, chunk: Chunk, refused: Reply | None) -> Event | None:
        if (refused or self.state is State.SPOILED) and chunk.size > self._options.discard_limit:
            self._event = ""
            return Refused("BDAT", _ENDLESS_CHUNK, ("BDAT from ", f": {chunk.size} bytes, out of order"), close=True)
        if self.state is State.SPOILED:
            refused = Reply(551, "5.0.0", f"Discarded {chunk.size} bytes after earlier error")
        self._chunk = chunk
        self._order = refused
        self._left = chunk.size
        if refused is not None:
            return self._payload(chunk)
        if self.state is State.RCPT:
            self._lines = ChunkReader()
        return chunk

    def _payload(self, chunk: Chunk) -> Event | None:
        refused, lines = self._order, self._lines
        if self._left:
            take = min(self._left, self.buffered)
            if not take:
                return None
            data = self._buffer[self._pos : self._pos + take]
            self._pos += take
            self._left -= take
            if refused is None and lines is not None:
                return Content(lines.feed(data))
            if self._left:
                return None
        if refused is None and chunk.last and lines is not None:
            rest = lines.finish()
            if rest:
                # Comes back here: there is nothing left to finish then.
                return Content(rest)
        self._chunk = None
        if refused is not None:
            # A spoiled sequence ends with LAST; what is out of order changes nothing.
            self._event = (LAST if chunk.last else "BDAT") if self.state is State.SPOILED else ""
            return Refused("BDAT", refused)
        self._event = LAST if chunk.last else "BDAT"
        return ChunkEnd(chunk.size, chunk.last, lines is not None and lines.bare_lf)

    # DATA

    def _content(self, dots: DotReader) -> Event | None:
        if not dots.done and self._pos < len(self._buffer):
            content = dots.feed(self._buffer[self._pos :] if self._pos else self._buffer)
            self._buffer = dots.rest
            self._pos = 0
            if content:
                return Content(content)
        return self._content_end(dots)

    def _content_end(self, dots: DotReader) -> Event | None:
        if not dots.done:
            return None
        self._dots = None
        self._event = END
        return ContentEnd(dots.bare_lf)

    def _unfinished(self) -> Event | None:
        """No line end yet. A line over the limit is thrown away as it comes, and not for ever."""
        size = self.buffered
        if size <= self._options.line_limit:
            return None
        warning = self._too_long(self._buffer[self._pos :])
        self._discarded += size
        self._buffer = b""
        self._pos = 0
        if self._discarded <= _LINE_DISCARD:
            return None
        self._event = ""
        return Refused("", _ENDLESS, warning, close=True)

    def _cut(self, warning: tuple[str, str]) -> Event:
        """The end of a line that was too long. A name in EHLO is for the log and the Received header, where its
        beginning will do, as it does for Postfix; no other command is obeyed in part."""
        line, self._beginning = self._beginning, b""
        self.line = line
        if line[:5].upper() in (b"EHLO ", b"HELO "):
            event = self._command(line)
            if isinstance(event, Hello):
                return structs.replace(event, warning=warning)
        self._event = ""
        return Refused("", _TOO_LONG, warning)

    def _too_long(self, piece: bytes) -> tuple[str, str]:
        """`piece` is the next one of a line that is thrown away."""
        if not self._discarded:
            self._beginning = piece[: self._options.line_limit]
        if piece.endswith(b"\n"):
            self._discarded = 0
        text = self._beginning[:30].decode("utf-8", "replace")
        return "", f": request longer than {self._options.line_limit}: {text}..."


def order_reply(state: State, verb: str) -> Reply:
    """What Postfix says to `verb` in a state where it is out of order."""
    if verb == "MAIL":
        return Reply(503, "5.5.1", "Error: MAIL after BDAT") if state is State.SPOILED else _NESTED_MAIL
    if verb == "RCPT":
        return Reply(503, "5.5.1", "Error: RCPT after BDAT") if state is State.CHUNKS else _NEED_MAIL
    if verb in ("DATA", "BDAT"):
        if state in (State.CHUNKS, State.SPOILED):
            return Reply(503, "5.5.1", "Error: DATA after BDAT")
        return _NO_RCPT if state is State.MAIL else _NEED_RCPT
    if verb == "ETRN":
        return _ETRN_IN_PROGRESS
    return _IN_PROGRESS if verb in ("STARTTLS", "AUTH", "XCLIENT", "XFORWARD") else _OUT_OF_ORDER
