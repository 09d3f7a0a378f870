"""A message of ours as the queue file that Postfix would have made of it: the records of cleanup(8), in its order.

What Postfix writes and we don't store is left out: whether a recipient was named in the header or on the command line,
the login method. The file is for reading: it tells the same of the message, and Postfix could deliver it.
"""

import re
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import BinaryIO

from msgspec import Struct

from postwarden.mail.address import external
from postwarden.mail.envelope import Client, Envelope, Recipient
from postwarden.mail.xtext import from_orcpt, from_xtext
from postwarden.spool.postfix_records import record

_SIZE_RECORD = 97
_INET, _INET6 = 2, 10
_RET = {"FULL": 1, "HDRS": 2}
_TRACE = {"verify": 512, "record": 1024}
_EIGHT_BIT = re.compile(rb"(?im)^content-transfer-encoding[ \t]*:[ \t]*(?:8bit|binary)\b")
_UTF8, _UTF8_HEADER, _UTF8_SENDER = 1, 2, 4


class Style(Struct, frozen=True):
    """Settings that show in a queue file."""

    delay_warning_time: int = 0
    line_length_limit: int = 2048
    enable_original_recipient: bool = True


class Stored(Struct, frozen=True):
    """What is known of a message."""

    envelope: Envelope
    open: frozenset[int]
    """Indices of the recipients without a final outcome."""
    warned: bool = False
    told: bool = False
    """As in `mail.queue.Entry`."""


def write(file: BinaryIO, stored: Stored, head: bytes, body: Iterable[bytes], style: Style) -> None:
    """Write it to `file`, which is empty and seekable, and rewind. `head` and the pieces of `body` have CRLF line ends;
    the body is never whole in memory. Raises OSError."""
    envelope = stored.envelope
    file.write(bytes(_SIZE_RECORD))
    file.write(b"".join(_envelope(stored, style)))
    file.write(record("M", b""))
    begin = file.tell()
    for part in _content(chain((head,), body), style.line_length_limit):
        file.write(part)
    size = file.tell() - begin
    file.write(record("X", b""))
    if _declared(envelope) or _EIGHT_BIT.search(head):
        file.write(_attribute("encoding", "8bit"))
    file.write(record("E", b""))
    file.seek(0)
    figures = (size, begin, len(envelope.recipients), _notices(envelope), size, _utf8(envelope, head))
    file.write(record("C", b" ".join(b"%15d" % figure for figure in figures)))
    file.seek(0)


def _envelope(stored: Stored, style: Style) -> Iterator[bytes]:
    envelope = stored.envelope
    seconds, fraction = divmod(envelope.arrival, 1)
    yield record("T", b"%d %d" % (seconds, round(fraction * 1e6)))
    yield _attribute("create_time", f"{seconds:.0f}")
    yield from _opening(envelope)
    if envelope.client is None and (envelope.user or envelope.full_name):
        yield _record("F", envelope.full_name)
    yield _record("S", envelope.sender)
    if envelope.client is not None:
        if _declared(envelope):
            yield _attribute("encoding", "8bit")
        yield from _client(envelope, envelope.client)
    elif envelope.trace:
        flags = f"trace_flags={_TRACE.get(envelope.trace, 0)}"
        yield _record("K" if stored.told else "A", flags)
    if envelope.verp:
        yield _record("V", envelope.verp)
    if style.delay_warning_time and envelope.sender:
        when = 0 if stored.warned else int(envelope.arrival) + style.delay_warning_time
        yield record("W", b"%15d" % when)
    for index, recipient in enumerate(envelope.recipients):
        # A report asks for none of its own; Postfix knows that by the null sender.
        notify = recipient.notify if _submitted(envelope) else 0
        yield from _recipient(recipient, notify, "R" if index in stored.open else "D", style)


def _declared(envelope: Envelope) -> bool:
    """The client said BODY=8BITMIME: whose content is 8bit says so, with hardly an exception, and users of sendmail do
    not."""
    return envelope.eight_bit and envelope.client is not None


def _submitted(envelope: Envelope) -> bool:
    """It came from a client or a user, and not from the mail system itself."""
    return envelope.client is not None or bool(envelope.user) or bool(envelope.sender)


def _opening(envelope: Envelope) -> Iterator[bytes]:
    context = _attribute("rewrite_context", envelope.context or "local")
    dsn = []
    if envelope.envid:
        dsn.append(_attribute("envelope_id", from_xtext(envelope.envid)))
    if envelope.ret:
        dsn.append(_attribute("ret_flags", str(_RET.get(envelope.ret, 0))))
    if not _submitted(envelope):
        yield _attribute("log_message_origin", "local")
        yield _attribute("trace_flags", "0")
    elif envelope.client is None:
        yield from (*dsn, context)
    else:
        yield _attribute("log_ident", envelope.queue_id)
        yield from (context, *dsn)
        if envelope.client.login:
            yield _attribute("sasl_username", envelope.client.login)


def _client(envelope: Envelope, client: Client) -> Iterator[bytes]:
    known = {"client_name": client.name, "client_address": client.address, "client_port": str(client.port)}
    more = {"helo_name": client.helo, "protocol_name": client.protocol}
    logged = {**known, "message_origin": str(client), **more}
    yield from [_attribute(f"log_{name}", value) for name, value in logged.items() if value]
    yield _attribute("client_name", client.name)
    yield _attribute("reverse_client_name", client.reverse_name)
    yield _attribute("client_address", client.address)
    yield _attribute("client_port", str(client.port))
    if envelope.server[0]:
        yield _attribute("server_address", envelope.server[0])
        yield _attribute("server_port", str(envelope.server[1]))
    yield from [_attribute(name, value) for name, value in more.items() if value]
    yield _attribute("client_address_type", str(_INET6 if ":" in client.address else _INET))


def _recipient(recipient: Recipient, notify: int, kind: str, style: Style) -> Iterator[bytes]:
    original = recipient.original or recipient.address
    kind_given, address = from_orcpt(recipient.orcpt)
    if notify:
        yield _attribute("notify_flags", str(notify))
    yield _attribute("dsn_orig_rcpt", f"{kind_given or 'rfc822'};{address or external(original)}")
    if style.enable_original_recipient:
        yield _record("O", original)
    yield _record(kind, recipient.address)


def _notices(envelope: Envelope) -> int:
    wanted = 0
    for recipient in envelope.recipients if _submitted(envelope) else ():
        wanted |= recipient.notify
    return wanted << 1


def _utf8(envelope: Envelope, head: bytes) -> int:
    if not envelope.smtputf8:
        return 0
    return _UTF8 | (0 if head.isascii() else _UTF8_HEADER) | (0 if envelope.sender.isascii() else _UTF8_SENDER)


def _content(pieces: Iterable[bytes], limit: int) -> Iterator[bytes]:
    """Records of the lines, which may go on from one piece to the next."""
    rest = b""
    for piece in pieces:
        lines = (rest + piece).split(b"\r\n")
        rest = lines.pop()
        yield b"".join([_line(line, limit) for line in lines])
        while len(rest) > limit:
            yield record("L", rest[:limit])
            rest = rest[limit:]
    if rest:
        yield _line(rest, limit)


def _line(line: bytes, limit: int) -> bytes:
    parts = []
    while len(line) >= limit:
        parts.append(record("L", line[:limit]))
        line = line[limit:]
    return b"".join([*parts, record("N", line)])


def _attribute(name: str, value: str) -> bytes:
    return _record("A", f"{name}={value}")


def _record(kind: str, text: str) -> bytes:
    return record(kind, text.encode("utf-8", "surrogateescape"))
