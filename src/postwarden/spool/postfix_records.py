"""The records that Postfix's queue files are made of: one byte that tells the kind, the length in groups of seven bits
with the lowest first, and as many bytes.

    C size   T arrival   F full name   S sender   A name=value   W time of the delay warning   V VERP delimiters
    L content filter   I inspector   > redirect   R recipient   D delivered   / cancelled   O original recipient
    M the message begins   N line   L part of a line   X the message ends   E the file ends
    p go on at this offset (0: here)   w padding   K a record that counts no more

A file that a filter has edited holds what was added behind its end, and pointers lead there and back.
"""

from collections.abc import Iterator
from io import BufferedReader
from typing import BinaryIO, NamedTuple

ENVELOPE = frozenset("MCTcFILSDRO/WVA>K<ion")
"""Kinds that a queue file may begin with."""
_NAMES = {
    "C": "message_size", "T": "message_arrival_time", "c": "queue_file_create_time", "F": "sender_fullname",
    "I": "content_inspector", "L": "content_filter", "S": "sender", "D": "done_recipient", "R": "recipient",
    "O": "original_recipient", "/": "canceled_recipient", "W": "warning_message_time", "A": "named_attribute",
    "p": "pointer_record", "K": "killed_record", "M": "message_content", "N": "regular_text", "w": "padding",
    "X": "extracted_info", "r": "return_receipt", "e": "errors_to", "P": "priority", "V": "verp_delimiters",
    "E": "message_end", ">": "redirect_to", "<": "dsn_return_flags", "i": "dsn_envelope_id",
    "o": "dsn_original_recipient", "n": "dsn_notify_flags", "f": "flags",
}  # fmt: skip
_LENGTH_BITS = 32
_PIECE = 1 << 20
_NORMAL, _LONG = ord("N"), 0x80
BACKWARDS = 10_000
"""Jumps to an earlier place that a file may make: each added header needs one, and a file with a loop has no end."""


class BadRecord(Exception):
    """Bytes that are no record. The text has Postfix's words, without the name of the file."""


class Record(NamedTuple):
    offset: int
    kind: str
    """One character."""
    data: bytes

    @property
    def text(self) -> bytes:
        """As far as C reads it: to the first NUL."""
        return self.data.partition(b"\0")[0]


def kind_name(kind: str) -> str:
    """As postcat(1) prints it."""
    return _NAMES.get(kind, "unknown_record_type")


def shown(text: bytes) -> str:
    """For a message to an operator: `?` for what is not printable."""
    return "".join(c if c.isprintable() else "?" for c in text.decode("utf-8", "surrogateescape"))


class RecordReader:
    """Reads records one by one. Holds one in memory, whatever length a damaged file promises."""

    def __init__(self, file: BinaryIO, offset: int = 0) -> None:
        """`file` is read from where it stands, which is said to be `offset`; it need not be seekable until `seek`."""
        self._file = file
        self.offset = offset
        self._last_jump = 0
        self._backwards = 0

    def next(self) -> Record | None:
        """None at the end of the file. Raises BadRecord, OSError."""
        begin = self.offset
        first = self._file.read(1)
        if not first:
            return None
        kind, length, shift = first[0], 0, 0
        while True:
            if shift >= _LENGTH_BITS:
                raise BadRecord(f"too many length bits, record type {kind}")
            group = self._file.read(1)
            if not group:
                raise BadRecord(f"unexpected EOF reading length, record type {kind}")
            length |= (group[0] & 0x7F) << shift
            shift += 7
            if group[0] < 0x80:
                break
        if length >= 1 << 31:
            # C adds the groups up in an int.
            wrapped = length & 0xFFFFFFFF
            length = wrapped - (1 << 32) if wrapped >> 31 else wrapped
            if length < 0:
                raise BadRecord(f"illegal length {length}, record type {kind}")
        data = self._read(length)
        if len(data) < length:
            raise BadRecord(f"unexpected EOF in data, record type {kind} length {length}")
        self.offset = begin + 1 + shift // 7 + length
        return Record(begin, chr(kind), data)

    def _read(self, length: int) -> bytes:
        if length <= _PIECE:
            return self._file.read(length)
        pieces = []
        while length > 0 and (piece := self._file.read(min(length, _PIECE))):
            pieces.append(piece)
            length -= len(piece)
        return b"".join(pieces)

    def lines(self) -> list[bytes]:
        """The records of whole, short lines that follow, as far as they are in memory already: most of a message, at a
        tenth of the cost of `next`. Raises OSError."""
        if not isinstance(self._file, BufferedReader):
            return []
        data, at, found = self._file.peek(1), 0, []
        size = len(data)
        while at + 1 < size and data[at] == _NORMAL and (length := data[at + 1]) < _LONG:
            end = at + 2 + length
            if end > size:
                break
            found.append(data[at + 2 : end])
            at = end
        self._file.read(at)
        self.offset += at
        return found

    def seek(self, offset: int) -> None:
        """Raises OSError."""
        self._file.seek(offset)
        self.offset = offset

    def follow(self, pointer: Record) -> None:
        """Go where it leads. Raises BadRecord, OSError."""
        value = pointer.text.lstrip(b" \t\r\n\v\f")
        if not value.isdigit() or len(value) > 18:
            raise BadRecord(f"malformed pointer record value: {shown(value)}")
        target = int(value)
        if not target:
            return
        if target <= self._last_jump:
            self._backwards += 1
            if self._backwards > BACKWARDS:
                raise BadRecord("too many reverse jump records")
        self.seek(target)
        self._last_jump = target

    def __iter__(self) -> Iterator[Record]:
        """What counts, in order: pointers followed, padding and killed records left out, up to the end record, which
        is the last one given."""
        while (record := self.next()) is not None:
            if record.kind == "p":
                self.follow(record)
            elif record.kind not in "wK":
                yield record
                if record.kind == "E":
                    return


def record(kind: str, data: bytes) -> bytes:
    """One record as it is written."""
    length = len(data)
    if length < 0x80:
        return b"%c%c%b" % (ord(kind), length, data)
    groups = bytearray()
    while length >= 0x80:
        groups.append(length & 0x7F | 0x80)
        length >>= 7
    groups.append(length)
    return kind.encode() + groups + data
