"""cdb: files, the constant data base of D. J. Bernstein, as Postfix's postmap writes them.

256 pairs of 32-bit numbers (place and length of a hash table), then records (length of key and of value, key, value),
then the hash tables: pairs of a hash and a record's place, found by open addressing. Numbers are little-endian.
"""

import mmap
import os
import struct
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, chain, islice, repeat
from operator import add

SIZE_LIMIT = (1 << 32) - 1
"""Bytes of a file: its numbers have 32 bits."""

_PAIR = struct.Struct("<II")
_HEAD = 2048
_SEED = (5381).to_bytes(8, "little")
_BATCH = 10_000


class CdbError(Exception):
    """No such file, or damaged."""


def key_hash(key: bytes) -> int:
    found = 5381
    for byte in key:
        found = (found * 33 & 0xFFFFFFFF) ^ byte
    return found


def key_hashes(keys: Sequence[bytes]) -> list[int]:
    """The hashes of many keys: all of one length at once, each in 64 bits of one long number, whose product with 33
    overflows into no neighbour. A million keys take a tenth of the time that they take one by one."""
    by_length: dict[int, list[int]] = {}
    for place, key in enumerate(keys):
        by_length.setdefault(len(key), []).append(place)
    found = [0] * len(keys)
    for length, places in by_length.items():
        lanes = len(places)
        text = b"".join([keys[place] for place in places])
        value = int.from_bytes(_SEED * lanes, "little")
        mask = int.from_bytes(b"\xff\xff\xff\xff\0\0\0\0" * lanes, "little")
        column = bytearray(8 * lanes)
        for at in range(length):
            column[::8] = text[at::length]
            value = (value * 33 & mask) ^ int.from_bytes(column, "little")
        for place, each in zip(places, struct.unpack(f"<{lanes}Q", value.to_bytes(8 * lanes, "little")), strict=True):
            found[place] = each
    return found


class Reader:
    """An open file. What is damaged raises CdbError, wherever it points."""

    def __init__(self, file: str) -> None:
        """Raises OSError, CdbError."""
        with open(file, "rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            if size < _HEAD or size > SIZE_LIMIT:
                raise CdbError("not a cdb file")
            self._data = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)

    def close(self) -> None:
        self._data.close()

    def get(self, key: bytes) -> bytes | None:
        """The value of the first record of `key`."""
        wanted = key_hash(key)
        place, slots = self._pair(wanted % 256 * 8)
        for step in range(slots):
            slot = (wanted // 256 + step) % slots
            found, record = self._pair(place + slot * 8)
            if record == 0:
                return None
            if found == wanted:
                length, value_length = self._pair(record)
                if length == len(key) and self._bytes(record + 8, length) == key:
                    return self._bytes(record + 8 + length, value_length)
        return None

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """All records in the order in which they were written."""
        end = min(self._pair(at * 8)[0] for at in range(256))
        at = _HEAD
        while at < end:
            length, value_length = self._pair(at)
            yield self._bytes(at + 8, length), self._bytes(at + 8 + length, value_length)
            at += 8 + length + value_length

    def _pair(self, at: int) -> tuple[int, int]:
        try:
            first, second = _PAIR.unpack_from(self._data, at)
        except struct.error as error:
            raise CdbError("the file is damaged") from error
        return first, second

    def _bytes(self, at: int, length: int) -> bytes:
        found = self._data[at : at + length]
        if len(found) != length:
            raise CdbError("the file is damaged")
        return found


def write(handle: int, records: Iterable[tuple[bytes, bytes]]) -> None:
    """Make the empty file `handle` one of the records, whose keys differ. Raises OSError, CdbError when it grows too
    large."""
    tables: list[list[int]] = [[] for _ in range(256)]
    with open(handle, "wb", buffering=1 << 20, closefd=False) as stream:
        stream.write(bytes(_HEAD))
        at = _HEAD
        each = iter(records)
        while batch := list(islice(each, _BATCH)):
            keys, values = zip(*batch, strict=True)
            lengths, value_lengths = list(map(len, keys)), list(map(len, values))
            sizes = map(add, map(add, lengths, value_lengths), repeat(_PAIR.size))
            *places, at = accumulate(sizes, initial=at)
            for found, place in zip(key_hashes(keys), places, strict=True):
                tables[found & 255].append(place << 32 | found)
            heads = map(_PAIR.pack, lengths, value_lengths)
            stream.write(b"".join(chain.from_iterable(zip(heads, keys, values, strict=True))))
            if at > SIZE_LIMIT:
                raise CdbError("too large for a cdb file")
        head = []
        for entries in tables:
            head.append(_PAIR.pack(at, len(entries) * 2))
            stream.write(_table(entries))
            at += len(entries) * 16
        if at > SIZE_LIMIT:
            raise CdbError("too large for a cdb file")
        stream.seek(0)
        stream.write(b"".join(head))
        stream.flush()
        os.fsync(stream.fileno())


def _table(entries: list[int]) -> bytes:
    """The hash table of these, each a record's place and its hash: twice as many slots as entries."""
    slots = len(entries) * 2
    table = [0] * slots
    for entry in entries:
        slot = (entry >> 8 & 0xFFFFFF) % slots
        while table[slot]:
            slot = (slot + 1) % slots
        table[slot] = entry
    return struct.pack(f"<{slots}Q", *table)
