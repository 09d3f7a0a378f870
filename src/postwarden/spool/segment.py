"""The format of a segment: records, how they are written, how they are found again.

A segment is a head line of 64 bytes and then records, one behind the other:

    marker 8        the random bytes of the segment's name
    meta length 4, head length 4, body length 4       big-endian
    content crc 4   CRC-32 of head and body
    meta crc 4      CRC-32 of the 16 bytes before it and of meta
    meta            msgpack of `Meta`
    head, body

Two sums, since they answer two questions. While `meta` is good we know whose message it is and where the next record
begins, even if its content is damaged: it is reported by name. When `meta` is bad the reader looks for the next marker
with a good sum behind it. So a damaged block costs the records that lie on it and no other. The head line is for
people (`head -c 64`); nothing needs it, since its block may be the damaged one.

What lies behind the last good record of a segment whose writer ended is the rest of a write that was not finished: no
250 was given for it. Within a segment that is still being written it may be a write that is under way.
"""

import os
import struct
import zlib
from collections.abc import Iterator

import msgspec

from postwarden.mail.envelope import Envelope
from postwarden.spool.layout import SegmentName

HEAD_SIZE = 64
_LENGTHS = struct.Struct(">IIII")
_CRC = struct.Struct(">I")
MARKER_SIZE = 8
_FIXED_SIZE = MARKER_SIZE + _LENGTHS.size + _CRC.size
_MAX_META = 16 << 20
_STEP = 256 << 10
_SECTOR = 4096


class Meta(msgspec.Struct, frozen=True, array_like=True):
    envelope: Envelope
    body_file: str = ""
    body_size: int = 0
    body_crc: int = 0
    """CRC-32 of the file of the body."""


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Meta).decode


def head_line(name: SegmentName) -> bytes:
    return f"postwarden segment 1 {name.number:016x}".encode().ljust(HEAD_SIZE - 1) + b"\n"


def seal_record(meta: Meta, head: bytes, body_size: int, content_crc: int) -> bytes:
    """All of a record between its marker and its head."""
    encoded = _encode(meta)
    lengths = _LENGTHS.pack(len(encoded), len(head), body_size, content_crc)
    return b"%b%b%b" % (lengths, _CRC.pack(zlib.crc32(encoded, zlib.crc32(lengths))), encoded)


class Record(msgspec.Struct, frozen=True):
    """A record whose `meta` is good. Its content was not looked at."""

    offset: int
    length: int
    meta: Meta
    head_at: int
    head_size: int
    body_size: int
    """Within the record; 0 if the body has a file."""
    content_crc: int


class Gap(msgspec.Struct, frozen=True):
    """Bytes between records in which no record could be read."""

    start: int
    stop: int


class Segment:
    """A segment file, open for reading. Not for use after `close`."""

    def __init__(self, path: str, name: SegmentName) -> None:
        self.name = name
        self.path = path
        self._marker = name.marker
        self._fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def size(self) -> int:
        return os.fstat(self._fd).st_size

    def record(self, offset: int) -> Record | None:
        """The record that begins at `offset`, or None if no good one does, or none that can be read."""
        try:
            return self._record(offset)
        except OSError:
            return None

    def _record(self, offset: int) -> Record | None:
        fixed = os.pread(self._fd, _FIXED_SIZE, offset)
        if len(fixed) < _FIXED_SIZE or fixed[:8] != self._marker:
            return None
        meta_size, head_size, body_size, content_crc = _LENGTHS.unpack_from(fixed, 8)
        if meta_size > _MAX_META:
            return None
        encoded = os.pread(self._fd, meta_size, offset + _FIXED_SIZE)
        if zlib.crc32(encoded, zlib.crc32(fixed[8:24])) != _CRC.unpack_from(fixed, 24)[0]:
            return None
        try:
            meta = _decode(encoded)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):  # msgspec raises all three
            return None
        head_at = offset + _FIXED_SIZE + meta_size
        length = head_at + head_size + body_size - offset
        return Record(offset, length, meta, head_at, head_size, body_size, content_crc)

    def next_record(self, offset: int, stop: int) -> Record | None:
        """The first good record that begins at or behind `offset` and before `stop`."""
        while stop - offset >= _FIXED_SIZE:
            try:
                data = os.pread(self._fd, min(_STEP, stop - offset), offset)
            except OSError:  # a bad sector; a mapped file would end the process here with SIGBUS
                offset += _SECTOR - offset % _SECTOR
                continue
            at = data.find(self._marker)
            while at >= 0:
                record = self.record(offset + at)
                if record is not None:
                    return record
                at = data.find(self._marker, at + 1)
            if len(data) < len(self._marker):
                return None
            offset += len(data) - len(self._marker) + 1
        return None

    def content(self, record: Record) -> tuple[bytes, bytes] | None:
        """Head and body as written, or None if they can't be read so."""
        size = record.head_size + record.body_size
        try:
            data = os.pread(self._fd, size, record.head_at)
        except OSError:
            return None
        if len(data) != size or zlib.crc32(data) != record.content_crc:
            return None
        return data[: record.head_size], data[record.head_size :]

    def scan(self, offset: int, stop: int, *, writing: bool) -> Iterator[Record | Gap]:
        """All records from `offset` on that begin before `stop`, and the gaps between them. While the segment is
        being written, a last record that is not whole yet is left for the next time: neither record nor gap."""
        while offset < stop:
            found = self.record(offset)
            if found is None:
                following = self.next_record(offset + 1, stop)
                if following is None:
                    if not writing:
                        yield Gap(offset, stop)
                    return
                yield Gap(offset, following.offset)
                found = following
            if found.offset + found.length > stop:
                if not writing:
                    yield Gap(found.offset, stop)
                return
            yield found
            offset = found.offset + found.length
