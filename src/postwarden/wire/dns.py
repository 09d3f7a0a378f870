"""DNS messages (RFC 1035, RFC 6891): bytes to values and back, without I/O.

A name is `str` without a final dot, the root is empty. Bytes that no host name has are `\\DDD`, a dot or backslash
inside a label is `\\.` or `\\\\` (RFC 1035 5.1), so that a label never looks like two.
"""

import ipaddress
import struct
from enum import IntEnum

from msgspec import Struct

MAX_NAME = 255
MAX_MESSAGE = 65535
PAYLOAD = 1232
"""UDP size that we offer: what passes every path unfragmented (DNS flag day 2020)."""

_HEADER = struct.Struct("!6H")
_FIXED = struct.Struct("!HHIH")
_SRV = struct.Struct("!HHH")
_TYPE_CLASS = struct.Struct("!HH")
_IN = 1
_OPT = 41
_DO = 0x8000

_LENGTHS = tuple(bytes((n,)) for n in range(64))

_QR, _TC, _RD, _RA, _AD = 0x8000, 0x0200, 0x0100, 0x0080, 0x0020


class Kind(IntEnum):
    """The record types that mail needs."""

    A = 1
    NS = 2
    CNAME = 5
    SOA = 6
    PTR = 12
    MX = 15
    TXT = 16
    AAAA = 28
    SRV = 33
    TLSA = 52


class Rcode(IntEnum):
    NOERROR = 0
    FORMERR = 1
    SERVFAIL = 2
    NXDOMAIN = 3
    NOTIMP = 4
    REFUSED = 5


class DnsError(Exception):
    """The bytes are no DNS message, or what is asked for can't be written as one."""


class Record(Struct, frozen=True):
    name: str
    kind: int
    ttl: int
    """Seconds; a value above 2^31 counts as 0 (RFC 2181 8)."""
    data: str | bytes
    """A, AAAA: the address; CNAME, PTR, NS, MX, SRV: a name; SOA: the primary server; TXT: its strings joined;
    all else: the bytes."""
    preference: int = 0
    """Of MX; priority of SRV; minimum of SOA, the TTL of what does not exist (RFC 2308 4)."""
    weight: int = 0
    port: int = 0


class Message(Struct, frozen=True):
    ident: int
    name: str = ""
    kind: int = 0
    """The question; a message with none, or more than one, has name empty and kind 0."""
    response: bool = False
    rcode: int = 0
    truncated: bool = False
    authenticated: bool = False
    """AD: the resolver says that it validated the answers (RFC 4035 3.2.3)."""
    edns: bool = False
    dnssec_ok: bool = False
    payload: int = 512
    answers: tuple[Record, ...] = ()
    authority: tuple[Record, ...] = ()


def encode_query(ident: int, name: str, kind: int, *, edns: bool = True, dnssec: bool = False) -> bytes:
    """A query with recursion desired. AD asks for the AD bit without the signatures (RFC 6840 5.7).

    DnsError: the name can't be one.
    """
    return encode(
        Message(ident, name, kind, authenticated=True, edns=edns, dnssec_ok=dnssec, payload=PAYLOAD),
    )


def encode(message: Message) -> bytes:
    """The message as sent, names not compressed. DnsError: a name or a record can't be written."""
    flags = _RD | message.rcode
    if message.response:
        flags |= _QR | _RA
    if message.truncated:
        flags |= _TC
    if message.authenticated:
        flags |= _AD
    asked = message.kind != 0
    parts = [
        _HEADER.pack(
            message.ident, flags, int(asked), len(message.answers), len(message.authority), 1 if message.edns else 0
        )
    ]
    if asked:
        parts += (encode_name(message.name), _TYPE_CLASS.pack(message.kind, _IN))
    for record in (*message.answers, *message.authority):
        parts.append(_encode_record(record))
    if message.edns:
        parts.append(b"\0" + _FIXED.pack(_OPT, message.payload, _DO if message.dnssec_ok else 0, 0))
    return b"".join(parts)


def encode_name(name: str) -> bytes:
    """Labels, uncompressed. DnsError: an empty label, one over 63 bytes, over 255 in all, no ASCII, a bad escape."""
    if name in ("", "."):
        return b"\0"
    try:
        raw = name.encode("ascii")
    except UnicodeEncodeError as error:
        raise DnsError(f"not ASCII: {name}") from error
    labels = _unescape(raw) if b"\\" in raw else raw.split(b".")
    if labels[-1] == b"":
        labels.pop()
    encoded = b"".join([_LENGTHS[len(label) & 63] + label for label in labels]) + b"\0"
    if b"" in labels or max(map(len, labels)) > 63:
        raise DnsError(f"label of a bad length: {name}")
    if len(encoded) > MAX_NAME:
        raise DnsError(f"longer than {MAX_NAME} bytes: {name}")
    return encoded


def _unescape(raw: bytes) -> list[bytes]:
    labels, label, at = [], bytearray(), 0
    while at < len(raw):
        byte = raw[at]
        if byte == 0x2E:
            labels.append(bytes(label))
            label = bytearray()
        elif byte == 0x5C:
            digits = raw[at + 1 : at + 4]
            if len(digits) == 3 and digits.isdigit() and int(digits) < 256:
                label.append(int(digits))
                at += 3
            elif digits[:1] and not digits[:1].isdigit():
                label += digits[:1]
                at += 1
            else:
                raise DnsError("bad escape")
        else:
            label.append(byte)
        at += 1
    labels.append(bytes(label))
    return labels


def _encode_record(record: Record) -> bytes:
    kind = record.kind
    try:
        data = _encode_data(record)
    except (ValueError, OverflowError, struct.error) as error:
        raise DnsError(f"record of type {kind}: {error}") from error
    return encode_name(record.name) + _FIXED.pack(kind, _IN, record.ttl, len(data)) + data


def _encode_data(record: Record) -> bytes:
    data, kind = record.data, record.kind
    if isinstance(data, bytes):
        if kind != Kind.TXT:
            return data
        chunks = [data[at : at + 255] for at in range(0, len(data), 255)] or [b""]
        return b"".join(bytes((len(chunk),)) + chunk for chunk in chunks)
    if kind == Kind.A:
        return ipaddress.IPv4Address(data).packed
    if kind == Kind.AAAA:
        return ipaddress.IPv6Address(data).packed
    if kind == Kind.MX:
        return record.preference.to_bytes(2) + encode_name(data)
    if kind == Kind.SRV:
        return _SRV.pack(record.preference, record.weight, record.port) + encode_name(data)
    if kind == Kind.SOA:
        return encode_name(data) + b"\0" + struct.pack("!5I", 1, 3600, 600, 86400, record.preference)
    return encode_name(data)


def decode(data: bytes) -> Message:
    """The message in `data`; records of other classes than IN are left out, trailing bytes are ignored, and of the
    additional section only EDNS counts. DnsError: it is malformed."""
    try:
        return _Reader(data).message()
    except (struct.error, IndexError) as error:
        raise DnsError("the message ends too early") from error


class _Reader:
    __slots__ = ("_at", "_data", "_names")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0
        self._names: dict[int, tuple[str, int]] = {}

    def message(self) -> Message:
        ident, flags, questions, answers, authority, additional = _HEADER.unpack_from(self._data)
        self._at = _HEADER.size
        name, kind = "", 0
        for _ in range(questions):
            name = self.name()
            kind, _class = _TYPE_CLASS.unpack_from(self._data, self._at)
            self._at += 4
        if questions != 1:
            name, kind = "", 0
        truncated = bool(flags & _TC)
        sections, option = self._sections((answers, authority, additional), truncated)
        extended, payload, bits = option if option is not None else (0, 512, 0)
        return Message(
            ident,
            name,
            kind,
            bool(flags & _QR),
            (flags & 15) | extended << 4,
            truncated,
            bool(flags & _AD),
            option is not None,
            bool(bits & _DO),
            max(payload, 512),
            sections[0],
            sections[1],
        )

    def _sections(
        self, counts: tuple[int, int, int], truncated: bool
    ) -> tuple[list[tuple[Record, ...]], tuple[int, int, int] | None]:
        sections: list[tuple[Record, ...]] = []
        option = None
        for count in counts[:2]:
            records = []
            for _ in range(count):
                if truncated and self._at == len(self._data):
                    break  # the counts may speak of records that were cut off
                record, _size = self.record()
                if record is not None:
                    records.append(record)
            sections.append(tuple(records))
        if not truncated:
            for _ in range(counts[2]):
                _record, seen = self.record(wanted=False)
                option = seen if seen is not None else option
        return sections, option

    def record(self, wanted: bool = True) -> tuple[Record | None, tuple[int, int, int] | None]:
        """The record, or what an OPT record says (upper bits of the rcode, UDP size, flags)."""
        owner = self.name()
        kind, record_class, ttl, size = _FIXED.unpack_from(self._data, self._at)
        self._at += _FIXED.size
        end = self._at + size
        if end > len(self._data):
            raise DnsError("a record is longer than the message")
        option = None
        if kind == _OPT:
            option = (ttl >> 24, record_class, ttl & 0xFFFF)
        record = None
        if wanted and record_class == _IN and kind != _OPT:
            record = self._content(owner, kind, 0 if ttl & 0x80000000 else ttl, size)
        self._at = end
        return record, option

    def _content(self, owner: str, kind: int, ttl: int, size: int) -> Record:
        at, data = self._at, self._data
        end = at + size
        if kind in (Kind.A, Kind.AAAA):
            if size != (4 if kind == Kind.A else 16):
                raise DnsError(f"address of {size} bytes")
            return Record(owner, kind, ttl, address_text(data[at:end]))
        if kind in (Kind.CNAME, Kind.NS, Kind.PTR):
            return Record(owner, kind, ttl, self._inner(end))
        if kind == Kind.MX:
            preference = int.from_bytes(self._take(2, end))
            return Record(owner, kind, ttl, self._inner(end), preference)
        if kind == Kind.SRV:
            priority, weight, port = _SRV.unpack(self._take(6, end))
            return Record(owner, kind, ttl, self._inner(end), priority, weight, port)
        if kind == Kind.SOA:
            primary = self.name()
            self.name()
            minimum = int.from_bytes(self._take(20, end)[16:])
            return Record(owner, kind, ttl, primary, minimum)
        if kind == Kind.TXT:
            return Record(owner, kind, ttl, self._strings(end))
        return Record(owner, kind, ttl, data[at:end])

    def _take(self, count: int, end: int) -> bytes:
        start = self._at
        if start + count > end:
            raise DnsError("a record is too short")
        self._at += count
        return self._data[start : start + count]

    def _inner(self, end: int) -> str:
        name = self.name()
        if self._at != end:
            raise DnsError("a name does not fill its record")
        return name

    def _strings(self, end: int) -> bytes:
        parts = []
        while self._at < end:
            parts.append(self._take(self._take(1, end)[0], end))
        return b"".join(parts)

    def name(self) -> str:
        """The name that begins here. A pointer leads only backwards, to a place no later than its own label began,
        so that no message makes an endless loop."""
        start = self._at
        known = self._names.get(start)
        if known is not None:
            self._at = known[1]
            return known[0]
        text, self._at = self._walk(start)
        self._names[start] = (text, self._at)
        return text

    def _walk(self, at: int) -> tuple[str, int]:
        data, length, after, limit = self._data, 1, 0, at
        labels: list[str] = []
        while True:
            size = data[at]
            if size == 0:
                return ".".join(labels), after or at + 1
            if size < 64:
                label = data[at + 1 : at + 1 + size]
                length += size + 1
                if len(label) < size or length > MAX_NAME:
                    raise DnsError("a name is too long")
                labels.append(_escape(label))
                at += size + 1
            elif size >= 192:
                after = after or at + 2
                at = (size & 63) << 8 | data[at + 1]
                if at >= limit:
                    raise DnsError("a name points forward")
                limit = at
            else:
                raise DnsError("a label of an unknown type")


_PLAIN = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"


def _escape(label: bytes) -> str:
    if not label.translate(None, _PLAIN):
        return label.decode("ascii")
    return "".join(
        "\\" + chr(byte) if byte in b".\\" else chr(byte) if 32 < byte < 127 else f"\\{byte:03d}" for byte in label
    )


def address_text(packed: bytes) -> str:
    """An address of 4 or 16 bytes as text, as inet_ntop writes it."""
    if len(packed) == 4:
        return ".".join(map(str, packed))
    if packed[:12] == b"\0" * 10 + b"\xff\xff":
        return "::ffff:" + ".".join(map(str, packed[12:]))
    return ipaddress.IPv6Address(packed).compressed


def reverse_name(address: str) -> str:
    """The name under which PTR records of `address` lie (RFC 1035 3.5, RFC 3596 2.5). ValueError: no address."""
    if ":" not in address:
        return ".".join(map(str, reversed(ipaddress.IPv4Address(address).packed))) + ".in-addr.arpa"
    return ".".join(reversed(ipaddress.IPv6Address(address).packed.hex())) + ".ip6.arpa"
