"""Pages of an SQLite database, read without SQLite (sqlite.org/fileformat2): for when SQLite calls the file malformed.

Newest committed pages of the write-ahead log come before those of the file. Nothing here raises on damage: a cell that
makes no sense is passed over, and a payload whose overflow chain breaks ends in zeros, which its CRC tells later.
"""

import os
import struct
from collections.abc import Iterator
from typing import NamedTuple

from postwarden.spool.logfile import read_log
from postwarden.spool.schema import PAGE_SIZE

LEAF, INTERIOR, INDEX_LEAF, INDEX_INTERIOR = 0x0D, 0x05, 0x0A, 0x02
Value = int | float | str | bytes | None
_INT_SIZES = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}


class Row(NamedTuple):
    rowid: int
    values: tuple[Value, ...]


class Pages:
    """All pages of `path`, numbered from 1. Raises OSError."""

    def __init__(self, path: str) -> None:
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._log = read_log(f"{path}-wal").pages
        size = os.fstat(self._fd).st_size // PAGE_SIZE
        self.count = max(size, max(self._log, default=0))

    def close(self) -> None:
        os.close(self._fd)

    def page(self, number: int) -> bytes:
        found = self._log.get(number)
        if found is None and 0 < number <= self.count:
            try:
                found = os.pread(self._fd, PAGE_SIZE, (number - 1) * PAGE_SIZE)
            except OSError:
                found = b""
        return (found or b"").ljust(PAGE_SIZE, b"\0")

    def free(self) -> set[int]:
        """Pages of the free list, as far as it can be read."""
        free: set[int] = set()
        trunk = int.from_bytes(self.page(1)[32:36])
        while 0 < trunk <= self.count and trunk not in free:
            free.add(trunk)
            page = self.page(trunk)
            trunk, count = struct.unpack_from(">II", page)
            if count <= PAGE_SIZE // 4 - 2:
                free.update(struct.unpack_from(f">{count}I", page, 8))
        return free

    def tree(self, root: int) -> set[int]:
        """Pages of a b-tree that can be reached from `root`."""
        seen: set[int] = set()
        todo = [root]
        while todo:
            number = todo.pop()
            if number in seen or not 1 < number <= self.count:
                continue
            seen.add(number)
            page = self.page(number)
            if page[0] in (INTERIOR, INDEX_INTERIOR):
                todo.append(int.from_bytes(page[8:12]))
                todo += (int.from_bytes(page[at : at + 4]) for at in _cells(page, 12))
        return seen

    def rows(self, number: int) -> Iterator[Row]:
        """The rows of a page, if it is a leaf of a table."""
        page = self.page(number)
        if number == 1 or page[0] != LEAF:
            return
        for at in _cells(page, 8):
            size, at = _varint(page, at)
            rowid, at = _varint(page, at)
            values = _record(self._payload(page, at, size, PAGE_SIZE - 35))
            if values is not None:
                yield Row(rowid - (1 << 64) if rowid >> 63 else rowid, values)

    def keys(self, number: int) -> Iterator[tuple[Value, ...]]:
        """The entries of a page, if it is one of an index."""
        page = self.page(number)
        if page[0] not in (INDEX_LEAF, INDEX_INTERIOR):
            return
        leaf = page[0] == INDEX_LEAF
        for at in _cells(page, 8 if leaf else 12):
            size, at = _varint(page, at if leaf else at + 4)
            values = _record(self._payload(page, at, size, (PAGE_SIZE - 12) * 64 // 255 - 23))
            if values is not None:
                yield values

    def _payload(self, page: bytes, at: int, size: int, most: int) -> bytes:
        if size > self.count * PAGE_SIZE:
            return b""
        if size <= most:
            return page[at : at + size]
        least = (PAGE_SIZE - 12) * 32 // 255 - 23
        local = least + (size - least) % (PAGE_SIZE - 4)
        if local > most:
            local = least
        parts = [page[at : at + local]]
        following = int.from_bytes(page[at + local : at + local + 4])
        left = size - local
        while left > 0 and 1 < following <= self.count:
            page = self.page(following)
            following = int.from_bytes(page[:4])
            parts.append(page[4 : 4 + left])
            left -= PAGE_SIZE - 4
        return b"".join(parts).ljust(size, b"\0")


def _cells(page: bytes, header: int) -> Iterator[int]:
    count = int.from_bytes(page[3:5])
    for n in range(min(count, (PAGE_SIZE - header) // 2)):
        at = int.from_bytes(page[header + 2 * n : header + 2 * n + 2])
        if header <= at < PAGE_SIZE - 4:
            yield at


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for n in range(9):
        if at >= len(data):
            return value, at
        byte = data[at]
        at += 1
        if n == 8:
            return value << 8 | byte, at
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            break
    return value, at


def _record(payload: bytes) -> tuple[Value, ...] | None:
    """The columns of a record, or None if it makes no sense."""
    header, at = _varint(payload, 0)
    if not 1 <= header <= min(len(payload), 64):
        return None
    values: list[Value] = []
    body = header
    while at < header:
        kind, at = _varint(payload, at)
        size = _INT_SIZES.get(kind, 8 if kind == 7 else (kind - 12) // 2 if kind >= 12 else 0)
        data = payload[body : body + size]
        if len(data) < size or kind in (10, 11):
            return None
        body += size
        values.append(_value(kind, data))
    return tuple(values)


def _value(kind: int, data: bytes) -> Value:
    if kind == 0:
        return None
    if kind == 7:
        return float(struct.unpack(">d", data)[0])
    if kind in (8, 9):
        return kind - 8
    if kind < 8:
        return int.from_bytes(data, signed=True)
    return data if kind % 2 == 0 else data.decode("utf-8", "replace")
