"""A message as it lies in a mailbox: line feeds, local header lines in front."""

import re
from collections.abc import Iterable, Iterator
from time import localtime

from postwarden.deliver.body import Body, FileBody
from postwarden.mail import address as address_form
from postwarden.mail.envelope import Recipient

_CHUNK = 256 << 10
_FRONT = 4096
"""Bytes for the lines in front, and for what is quoted."""
_DELIVERED = re.compile(rb"^delivered-to:[ \t]*([^\r\n]*?)[ \t]*\r?$", re.IGNORECASE | re.MULTILINE)
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class Letter:
    """One message, for all deliveries of a job. A body in memory is converted once for each format."""

    def __init__(self, sender: str, head: bytes, body: Body) -> None:
        self.sender = sender
        self._head = head
        self._body = body
        self._whole: dict[tuple[bool, bool, bytes], bytes] = {}
        self._delivered: frozenset[str] | None = None

    @property
    def large(self) -> int:
        """About how long it is where it comes in many pieces; 0: it comes in one."""
        return 0 if isinstance(self._body, bytes) else len(self._head) + self._body.size + _FRONT

    def delivered_to(self, address: str) -> bool:
        """Whether a Delivered-To header names `address`: it has been here before, and would come again for ever."""
        if self._delivered is None:
            found = _DELIVERED.findall(self._head)
            self._delivered = frozenset(name.decode("utf-8", "replace").lower() for name in found)
        return bool(self._delivered) and external(address).lower() in self._delivered

    def pieces(
        self, before: str, after: bytes, *, quote: bool, dots: bool = False, eol: bytes = b"\n"
    ) -> Iterator[bytes]:
        """`before`, head and body, `after`; `eol` ends each line. With `quote` there is a `>` before each `From ` that
        begins a line, with `dots` a dot before each dot that does. What is in memory comes in one piece, so that it is
        written by one call."""
        body = self._body
        front = before.encode("utf-8", "surrogateescape")
        if eol != b"\n":
            front, after = front.replace(b"\n", eol), after.replace(b"\n", eol)
        marks = _marks(quote, dots)
        if isinstance(body, bytes):
            whole = self._whole.get((quote, dots, eol))
            if whole is None:
                whole = self._whole[quote, dots, eol] = _ended(self._head + body, marks, eol)
            yield b"".join((front, whole, after))
            return
        yield front
        for piece in _converted(_chunks(self._head, body), marks):
            yield piece if eol == b"\n" else piece.replace(b"\n", eol)
        yield after


def envelope_line(sender: str, now: float) -> str:
    """`From sender  Mon Nov 23 03:53:55 2026`, local time, in English whatever the locale."""
    t = localtime(now)
    when = f"{_DAYS[t.tm_wday]} {_MONTHS[t.tm_mon - 1]} {t.tm_mday:2d} {t.tm_hour:02d}:{t.tm_min:02d}:{t.tm_sec:02d}"
    return f"From {external(sender) or 'MAILER-DAEMON'}  {when} {t.tm_year}\n"


def local_headers(sender: str, recipient: Recipient, delivered: str, *, original: bool) -> str:
    """Return-Path, X-Original-To if `original`, Delivered-To unless `delivered` is empty."""
    lines = f"Return-Path: <{external(sender)}>\n"
    if original:
        lines += f"X-Original-To: {external(recipient.original or recipient.address)}\n"
    if delivered:
        lines += f"Delivered-To: {external(delivered)}\n"
    return lines


def external(address: str) -> str:
    """As a header shows `address`. Never more than one line: no address may forge the beginning of a message."""
    return address_form.external(address).replace("\r", " ").replace("\n", " ")


_Marks = tuple[tuple[bytes, bytes], ...]
"""What stands at the beginning of a line, and what is put before it."""


def _marks(quote: bool, dots: bool) -> _Marks:
    # A reader of mailboxes would take a `From ` line for the beginning of the next message, SMTP a dot for the end.
    return ((b"From ", b">"),) * quote + ((b".", b"."),) * dots


def _ended(data: bytes, marks: _Marks, eol: bytes) -> bytes:
    """All of a message, its last line with an end."""
    data = _convert(data, marks, at_start=True)
    if not data.endswith(b"\n"):
        data += b"\n"
    return data if eol == b"\n" else data.replace(b"\n", eol)


def _convert(data: bytes, marks: _Marks, *, at_start: bool) -> bytes:
    """Whole lines, or a part of one: `at_start` says whether a line begins at its first byte."""
    data = data.replace(b"\r\n", b"\n")
    for begin, mark in marks:
        data = data.replace(b"\n" + begin, b"\n" + mark + begin)
        if at_start and data.startswith(begin):
            data = mark + data
    return data


def _chunks(head: bytes, body: FileBody) -> Iterator[bytes]:
    yield head
    at = 0
    while at < body.size:
        data = body.read(at, _CHUNK)
        at += len(data)
        yield data


def _converted(chunks: Iterable[bytes], marks: _Marks) -> Iterator[bytes]:
    """As `_convert` of the whole, in pieces that end with a line where they can. A bare LF counts as its end here: one
    that falls between two pieces must not let a forged `From ` through."""
    rest, at_start = b"", True
    for chunk in chunks:
        data = rest + chunk
        cut = data.rfind(b"\n") + 1
        if not cut and len(data) > _CHUNK + 8:
            # Part of one long line. What is kept back may be the CR of its end.
            cut = len(data) - 1
        if cut:
            yield _convert(data[:cut], marks, at_start=at_start)
            at_start = data.endswith(b"\n", 0, cut)
        rest = data[cut:]
    if rest:
        yield _convert(rest, marks, at_start=at_start)
    if rest or not at_start:
        yield b"\n"
