"""How a message of a local user is written down: on the submission socket, and in the maildrop directory while nobody
listens there. Both hold the same bytes, so that what was put into a file is later copied to the socket as it is.

    MAGIC, then frames of one byte for the kind, four for the length, and so many bytes:
    E  the envelope, msgpack of `Submission`: once, first
    D  content, lines ended by LF or CRLF: any number
    Z  the end: bytes of content (8) and their CRC-32 (4); nothing follows
    L  a line for the mail log, msgpack of `Line`, instead of an envelope: any number, and nothing else

The receiver greets with `GREETING` before it is sent anything, and at the end, or as soon as it knows better, says one
frame `A`, an `Answer`. A message without its end is no message.
"""

import re
from collections.abc import Iterable, Iterator
from zlib import crc32

import msgspec
from msgspec import Struct

from postwarden.mail.envelope import Recipient

MAGIC = b"postwarden submission 1\n"
GREETING = b"postwarden 1\n"
CHUNK = 64 << 10
"""Bytes of content in a frame, at most."""
ENVELOPE = 8 << 20
"""Bytes of an envelope, at most."""
ANSWER = 64 << 10
_XTEXT = re.compile(r"[!-~]*\Z")
_FRAME = 5
_LINE = 16 << 10
_LIMITS = {b"E": ENVELOPE, b"D": CHUNK, b"Z": 12, b"L": _LINE}
_FIRST, _CONTENT, _LINES = (b"E", b"L"), (b"D", b"Z"), (b"L",)
_LEVELS = ("info", "warning", "error", "fatal", "panic")

ACCEPTED, DENIED, REFUSED, LATER = "accepted", "denied", "refused", "later"


class Submission(Struct, frozen=True, array_like=True):
    """What the user says of a message. Addresses are in internal form, not completed."""

    sender: str
    recipients: tuple[Recipient, ...]
    full_name: str = ""
    remote: bool = False
    """It is relayed, so headers are not mended (sendmail -G)."""
    eight_bit: bool = False
    ret: str = ""
    envid: str = ""
    """xtext."""
    verp: str = ""
    trace: str = ""
    """As in `mail.envelope.Envelope`."""
    user: int = -1
    """Whose it is, said by somebody who may say so: root, or the mail system. -1: the peer's own."""
    written: float = 0.0
    """When it was put into the maildrop directory; 0: now."""


class Answer(Struct, frozen=True, array_like=True):
    """`verdict` is ACCEPTED (durable), DENIED (this user may not), REFUSED (never) or LATER (try again)."""

    verdict: str
    text: str = ""
    queue_id: str = ""


class Line(Struct, frozen=True, array_like=True):
    """`level` is one of Postfix's words, `text` begins with `program[pid]: `."""

    level: str
    text: str


class Malformed(Exception):
    """These bytes are no submission; the text says why."""


class End(Struct, frozen=True):
    """All of the content was seen, and it is what was sent."""


def opening(submission: Submission) -> bytes:
    """Magic and envelope. Raises Malformed for one that is too large."""
    payload = _encode(submission)
    if len(payload) > ENVELOPE:
        raise Malformed("too many recipients")
    return MAGIC + frame(b"E", payload)


def log_lines(lines: Iterable[Line]) -> bytes:
    """Lines for the mail log; a long one is cut."""
    cut = (Line(line.level, line.text[: _LINE // 8]) for line in lines)
    return MAGIC + b"".join(frame(b"L", _encode(line)) for line in cut)


def frame(kind: bytes, payload: bytes) -> bytes:
    return kind + len(payload).to_bytes(4) + payload


def answer(said: Answer) -> bytes:
    return frame(b"A", _encode(said))


def parse_answer(data: bytes) -> Answer | None:
    """None: not all of it is here. Raises Malformed."""
    if len(data) < _FRAME:
        return None
    length = int.from_bytes(data[1:_FRAME])
    if data[:1] != b"A" or length > ANSWER:
        raise Malformed("no answer")
    if len(data) < _FRAME + length:
        return None
    try:
        return msgspec.msgpack.decode(data[_FRAME : _FRAME + length], type=Answer)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Malformed(f"answer: {error}") from None


class ContentWriter:
    """Frames for content, and their end."""

    def __init__(self) -> None:
        self._crc = 0
        self._size = 0

    def frames(self, data: bytes) -> Iterator[bytes]:
        self._crc = crc32(data, self._crc)
        self._size += len(data)
        for start in range(0, len(data), CHUNK):
            yield frame(b"D", data[start : start + CHUNK])

    def end(self) -> bytes:
        return frame(b"Z", self._size.to_bytes(8) + self._crc.to_bytes(4))


def whole(submission: Submission, content: Iterable[bytes]) -> Iterator[bytes]:
    """All that is to be written. Raises Malformed, and what reading `content` raises."""
    yield opening(submission)
    writer = ContentWriter()
    for data in content:
        yield from writer.frames(data)
    yield writer.end()


class Reader:
    """Bytes in, `Submission`, content and `End` out, or `Line`s. Raises Malformed; then nothing of it may be used."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._crc = 0
        self._size = 0
        self._state = "magic"

    @property
    def ended(self) -> bool:
        return self._state == "ended"

    def feed(self, data: bytes) -> Iterator[Submission | bytes | End | Line]:
        """Each event once it is complete. At most an envelope, or a chunk, is kept."""
        self._buffer += data
        if self._state == "magic":
            got = bytes(self._buffer[: len(MAGIC)])
            if not MAGIC.startswith(got):
                raise Malformed("not a submission")
            if len(got) < len(MAGIC):
                return
            del self._buffer[: len(MAGIC)]
            self._state = "envelope"
        while (found := self._frame()) is not None:
            yield self._event(*found)
        if self.ended and self._buffer:
            raise Malformed("more follows the end")

    def _frame(self) -> tuple[bytes, bytes] | None:
        buffer = self._buffer
        if self.ended or len(buffer) < _FRAME:
            return None
        kind, length = bytes(buffer[:1]), int.from_bytes(buffer[1:_FRAME])
        wanted = _FIRST if self._state == "envelope" else _LINES if self._state == "lines" else _CONTENT
        if kind not in wanted:
            raise Malformed(f"unexpected frame {kind!r}")
        # Without content, a frame would cost us time and its sender nothing: no limit of sizes would end it.
        if length > _LIMITS[kind] or not length:
            raise Malformed(f"frame of {length} bytes")
        if len(buffer) < _FRAME + length:
            return None
        payload = bytes(buffer[_FRAME : _FRAME + length])
        del buffer[: _FRAME + length]
        return kind, payload

    def _event(self, kind: bytes, payload: bytes) -> Submission | bytes | End | Line:
        if kind == b"E":
            self._state = "content"
            return _submission(payload)
        if kind == b"L":
            self._state = "lines"
            return _line(payload)
        if kind == b"D":
            self._crc = crc32(payload, self._crc)
            self._size += len(payload)
            return payload
        if payload != self._size.to_bytes(8) + self._crc.to_bytes(4):
            raise Malformed("content is not what was sent")
        self._state = "ended"
        return End()


def _submission(payload: bytes) -> Submission:
    try:
        found = msgspec.msgpack.decode(payload, type=Submission)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(f"envelope: {error}") from None
    texts = [found.sender, found.full_name, found.ret, found.envid, found.verp, found.trace]
    for recipient in found.recipients:
        texts += (recipient.address, recipient.original, recipient.orcpt)
    # One of these would forge a header, a log line or an SMTP command.
    if any("\n" in text or "\r" in text or "\0" in text for text in texts):
        raise Malformed("envelope: line break or NUL")
    if found.ret not in ("", "FULL", "HDRS") or found.trace not in ("", "verify", "record"):
        raise Malformed("envelope: no such value")
    # A blank in one of these would be the next parameter of an SMTP command.
    if not all(_XTEXT.match(text) for text in (found.envid, *(recipient.orcpt for recipient in found.recipients))):
        raise Malformed("envelope: no xtext")
    if len(found.verp) not in (0, 2) or any(not 0 <= recipient.notify <= 15 for recipient in found.recipients):
        raise Malformed("envelope: no such value")
    return found


def _line(payload: bytes) -> Line:
    try:
        found = msgspec.msgpack.decode(payload, type=Line)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise Malformed(f"line: {error}") from None
    if found.level not in _LEVELS:
        raise Malformed("line: no such level")
    return found


_encode = msgspec.msgpack.encode
