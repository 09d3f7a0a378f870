"""A message as it lies in a mailbox: line feeds, local header lines in front."""

import re
from collections.abc import Iterable, Iterator
from time import localtime

from postwarden.deliver.body import Body, FileBody
from postwarden.mail import address as address_form
from postwarden.mail.envelope import Recipient

_CHUNK = 256 << 10
_DELIVERED = re.compile(rb"^delivered-to:[ \t]*([^\r\n]*?)[ \t]*\r?$", re.IGNORECASE | re.MULTILINE)
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class Letter:
    """One message, for all deliveries of a job. A body in memory is converted once for each format."""

    def __init__(self, sender: str, head: bytes, body: Body) -> None:
        self.sender = sender
        self._head = head
        self._body = body
        self._whole: dict[bool, bytes] = {}
        self._delivered: frozenset[str] | None = None

    def delivered_to(self, address: str) -> bool:
        """Whether a Delivered-To header names `address`: it has been here before, and would come again for ever."""
        if self._delivered is None:
            found = _DELIVERED.findall(self._head)
            self._delivered = frozenset(name.decode("utf-8", "replace").lower() for name in found)
        return bool(self._delivered) and external(address).lower() in self._delivered

    def pieces(self, before: str, after: bytes, *, quote: bool) -> Iterator[bytes]:
        """`before`, head and body, `after`; with LF, `>` before each `From ` that begins a line if `quote`. What is in
        memory comes in one piece, so that it is written by one call."""
        body = self._body
        front = before.encode("utf-8", "surrogateescape")
        if isinstance(body, bytes):
            yield b"".join((front, self._converted_whole(body, quote), after))
            return
        yield front
        yield from _converted(_chunks(self._head, body), quote)
        yield after

    def _converted_whole(self, body: bytes, quote: bool) -> bytes:
        whole = self._whole.get(quote)
        if whole is None:
            whole = _convert(self._head + body, quote, at_start=True)
            if not whole.endswith(b"\n"):
                whole += b"\n"
            self._whole[quote] = whole
        return whole


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


def _convert(data: bytes, quote: bool, *, at_start: bool) -> bytes:
    """Whole lines, or a part of one: `at_start` says whether a line begins at its first byte."""
    data = data.replace(b"\r\n", b"\n")
    if quote:
        # A reader of mailboxes would take such a line for the beginning of the next message.
        data = data.replace(b"\nFrom ", b"\n>From ")
        if at_start and data.startswith(b"From "):
            data = b">" + data
    return data


def _chunks(head: bytes, body: FileBody) -> Iterator[bytes]:
    yield head
    at = 0
    while at < body.size:
        data = body.read(at, _CHUNK)
        at += len(data)
        yield data


def _converted(chunks: Iterable[bytes], quote: bool) -> Iterator[bytes]:
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
            yield _convert(data[:cut], quote, at_start=at_start)
            at_start = data.endswith(b"\n", 0, cut)
        rest = data[cut:]
    if rest:
        yield _convert(rest, quote, at_start=at_start)
    if rest or not at_start:
        yield b"\n"
