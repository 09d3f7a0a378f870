"""What a queue file of Postfix says of its message, as our envelope, head and body.

Postfix decodes ENVID and ORCPT (RFC 3461 4) and gives every recipient an ORCPT, we keep what the client said: both are
undone. A redirected message has one recipient, whatever its recipient records say (qmgr(8) delivers it so).
"""

import re
from typing import BinaryIO

from msgspec import Struct

from postwarden.mail.address import external
from postwarden.mail.envelope import Client, Envelope, Recipient
from postwarden.mail.xtext import to_orcpt, to_xtext
from postwarden.spool.postfix_records import BadRecord, Record, RecordReader, shown

_RET = {b"1": "FULL", b"2": "HDRS"}
_TRACE = {512: "verify", 1024: "record"}
_UTF8 = 15
"""What asks for SMTPUTF8: the client, or a header or address above ASCII. Newer releases have further bits there."""
_PROBE = 256
"""Address verification (verify(8)): nobody waits for it."""
_NOTIFY = range(1, 15)
_MESSAGE_ID = re.compile(rb"(?im)^message-id[ \t]*:[ \t]*((?:[^\r]|\r\n[ \t])*)\r\n")
_HEADER = re.compile(rb"[!-9;-~]+[ \t]*:")
_USER = re.compile(rb"Received: by [^\r\n]* \([^\r\n]*, from userid (\d{1,10})\)\r\n")
"""What pickup(8) puts before the mail of a local user."""
_LINE = 998


class Unusable(Exception):
    """The file can't be taken over; the text says why."""


class PostfixMessage(Struct, frozen=True):
    """A message of another queue."""

    envelope: Envelope
    """Its recipients are those still to be delivered, and those that `read` was asked for."""
    head: bytes
    body: bytes
    offsets: tuple[int, ...]
    """Of each recipient's record: under it the logs speak of him."""
    closed: tuple[bool, ...]
    """Which recipients are marked as done with."""
    delivered: int
    """Recipients who have it, or were taken off."""
    warned: bool
    """The sender knows that it is late."""
    filter: str = ""
    """`transport:nexthop` of a content filter that has not seen it."""
    probe: bool = False


def read(file: BinaryIO, queue_id: str, closed: frozenset[int] = frozenset()) -> PostfixMessage:
    """`closed`: offsets of delivered recipients that are wanted nevertheless. Raises Unusable, OSError."""
    reading = _Reading(queue_id, closed)
    try:
        ended = False
        reader = RecordReader(file)
        for record in reader:
            reading.take(record)
            ended = record.kind == "E"
            while reading.content and (lines := reader.lines()):
                reading.take_lines(lines)
    except BadRecord as error:
        raise Unusable(str(error)) from None
    except UnicodeDecodeError as error:
        raise Unusable(f"not UTF-8: {shown(error.object)}") from None
    if not ended:
        raise Unusable("missing end record")
    return reading.message()


class _Reading:
    """A file as far as it was read."""

    def __init__(self, queue_id: str, closed: frozenset[int]) -> None:
        self._queue_id = queue_id
        self._closed = closed
        self.content = False
        """It stands in the midst of the message."""
        self._seen_content = False
        self._parts: list[bytes] = []
        self._line_open = False
        self._arrival = 0.0
        self._sender: str | None = None
        self._full_name = ""
        self._recipients: list[Recipient] = []
        self._offsets: list[int] = []
        self._done: list[bool] = []
        self._delivered = 0
        self._redirect = ""
        self._filter = ""
        self._verp = ""
        self._warned = False
        self._utf8 = False
        self._attributes: dict[str, bytes] = {}
        self._of_next: dict[str, bytes] = {}
        """What is known of the next recipient."""

    def take(self, record: Record) -> None:
        """Raises UnicodeDecodeError, Unusable."""
        if self.content:
            self._take_content(record)
        elif record.kind in "RD/":
            self._take_recipient(record)
        elif record.kind == "A":
            self._take_attribute(record.text)
        else:
            self._take_envelope(record.kind, record.text)

    def take_lines(self, lines: list[bytes]) -> None:
        """Content, whole lines of it."""
        text = b"\r\n".join(lines)
        if text.count(b"\n") >= len(lines):
            text = b"\r\n".join(map(_mended, lines))
        self._parts += (text, b"\r\n")
        self._line_open = False

    def _take_content(self, record: Record) -> None:
        kind, data = record.kind, record.data
        if kind == "X":
            self.content = False
        elif kind in "NL":
            self._parts.append(_mended(data) if b"\n" in data else data)
            if kind == "N":
                self._parts.append(b"\r\n")
            self._line_open = kind == "L"
        else:
            raise Unusable(f"a record of type {ord(kind)} in the content")

    def _take_envelope(self, kind: str, text: bytes) -> None:
        if kind == "M":
            if self._seen_content:
                raise Unusable("two messages in one file")
            self.content = self._seen_content = True
        elif kind == "C":
            figures = text.split()
            self._utf8 = len(figures) > 5 and bool(_number(figures[5]) & _UTF8)
        elif kind == "T" and not self._arrival:
            self._arrival = _time(text)
        elif kind == "S" and self._sender is None:
            self._sender = _address(text)
        elif kind == "F":
            self._full_name = text.decode("utf-8", "replace")
        elif kind == "O":
            self._of_next["original"] = text
        elif kind == "W":
            self._warned = text.strip() in (b"0", b"")
        elif kind == "V":
            self._verp = text.decode("ascii", "replace")
        elif kind in "LI":
            self._filter = text.decode("utf-8", "replace")
        elif kind == ">":
            self._redirect = _address(text)

    def _take_attribute(self, text: bytes) -> None:
        name, equals, value = text.partition(b"=")
        if not equals:
            raise Unusable(f"malformed attribute: {shown(text[:100])}")
        key = name.strip().decode("ascii", "replace")
        if key in ("dsn_orig_rcpt", "notify_flags"):
            self._of_next[key] = value.strip()
        elif key == "encoding" or key not in self._attributes:
            self._attributes[key] = value.strip()

    def _take_recipient(self, record: Record) -> None:
        known, self._of_next = self._of_next, {}
        if record.kind == "/" or (record.kind == "D" and record.offset not in self._closed):
            self._delivered += 1
            return
        address = _address(record.text)
        if not address:
            raise Unusable("null recipient address")
        original = _address(known.get("original", b"")) or address
        notify = _number(known.get("notify_flags", b""))
        self._recipients.append(
            Recipient(
                address,
                "" if original == address else original,
                _orcpt(known.get("dsn_orig_rcpt", b"").decode(), original),
                notify if notify in _NOTIFY else 0,
            )
        )
        self._offsets.append(record.offset)
        self._done.append(record.kind == "D")

    # all of it

    def message(self) -> PostfixMessage:
        """Raises Unusable."""
        if not self._arrival:
            raise Unusable("missing arrival time record")
        if self._sender is None:
            raise Unusable("missing sender record")
        if not self._seen_content or self.content:
            raise Unusable("envelope records out of order")
        if self._line_open:
            self._parts.append(b"\r\n")
        head, body = split(b"".join(self._parts))
        recipients, offsets, done = self._recipients, self._offsets, self._done
        if self._redirect and recipients:
            at = done.index(False) if False in done else 0
            first = recipients[at]
            recipients = [Recipient(self._redirect, first.original or first.address, first.orcpt, first.notify)]
            offsets, done = [offsets[at]], [done[at]]
        flags = _number(self._attributes.get("trace_flags", b""))
        eight_bit = not (head.isascii() and body.isascii())
        return PostfixMessage(
            self._envelope(head, len(head) + len(body), tuple(recipients), flags, eight_bit),
            head, body, tuple(offsets), tuple(done), self._delivered, self._warned, self._filter, bool(flags & _PROBE),
        )  # fmt: skip

    def _envelope(
        self, head: bytes, size: int, recipients: tuple[Recipient, ...], flags: int, eight_bit: bool
    ) -> Envelope:
        known = self._attributes
        client = _client(known)
        user = _USER.match(head) if client is None else None
        found = _MESSAGE_ID.search(head)
        server = known.get("server_address", b"").decode("ascii", "replace")
        return Envelope(
            self._queue_id,
            self._arrival,
            self._sender or "",
            recipients,
            size,
            eight_bit=known.get("encoding") == b"8bit" or eight_bit,
            smtputf8=self._utf8,
            ret=_RET.get(known.get("ret_flags", b""), ""),
            envid=to_xtext(known.get("envelope_id", b"").decode("utf-8", "surrogateescape")),
            client=client,
            message_id=found[1].strip().decode("utf-8", "replace")[:_LINE] if found else "",
            context="remote" if known.get("rewrite_context") == b"remote" else "local",
            user=user[1].decode() if user else "",
            full_name=self._full_name,
            verp=self._verp if len(self._verp) == 2 and self._sender else "",
            trace=next((word for flag, word in _TRACE.items() if flags & flag), ""),
            server=(server, _number(known.get("server_port", b""))),
        )


def split(content: bytes) -> tuple[bytes, bytes]:
    """Head, with the empty line that ends it, and body. One that has a line that is no header has its body begin there,
    behind an empty line that is put in (as in `receive.content`)."""
    at = 0
    while True:
        end = content.find(b"\r\n", at)
        if end < 0:
            return content, b""
        if end == at:
            return content[: at + 2], content[at + 2 :]
        if not (_HEADER.match(content, at) or (at and content[at : at + 1] in (b" ", b"\t"))):
            return content[:at] + b"\r\n", content[at:]
        at = end + 2


def _address(text: bytes) -> str:
    """Raises Unusable, UnicodeDecodeError."""
    if b"\n" in text or b"\r" in text:
        # It would be the next command to a server.
        raise Unusable(f"a line break in an address: {shown(text[:100])}")
    return text.decode()


def _mended(data: bytes) -> bytes:
    """A line end that is none of ours could be taken for the end of the message by some server."""
    return data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def _orcpt(given: str, original: str) -> str:
    """Empty for the one that Postfix makes where the client gave none."""
    kind, found, address = given.partition(";")
    # An attribute comes without the white space at its ends, which a broken address may have.
    if not found or given == f"rfc822;{external(original)}".strip():
        return ""
    return to_orcpt(kind, address)


def _client(known: dict[str, bytes]) -> Client | None:
    """As it is to be logged. None: the message did not come by SMTP."""

    def text(name: str, absent: str = "") -> str:
        # Before Postfix 2.3 there was one set of names; now a proxy's word (XFORWARD) has one of its own.
        value = known.get(f"log_{name}", b"") or known.get(name, b"")
        return value.decode("utf-8", "replace") or absent

    if not text("client_address"):
        return None
    return Client(
        text("client_name", "unknown"),
        text("client_address"),
        _number(known.get("log_client_port", b"") or known.get("client_port", b"")),
        known.get("reverse_client_name", b"").decode("utf-8", "replace") or "unknown",
        text("helo_name"),
        text("protocol_name", "SMTP"),
        known.get("sasl_username", b"").decode("utf-8", "replace"),
    )


def _number(text: bytes) -> int:
    return int(text) if text.isdigit() and len(text) < 10 else 0


def _time(text: bytes) -> float:
    """`seconds microseconds`; 0 for what is none."""
    words = text.split()
    if not words or not words[0].isdigit() or len(words[0]) > 10:
        return 0.0
    micros = words[1] if len(words) > 1 and words[1].isdigit() and len(words[1]) < 7 else b"0"
    return int(words[0]) + int(micros) / 1e6
