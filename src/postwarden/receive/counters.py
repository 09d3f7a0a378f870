"""How much each client does: connections now, and connections, messages, recipients and TLS sessions a minute.

One shared memory map, made by the master and inherited by every receiver. Each process writes its own column and reads
all of them, so there are no locks and no calls to another process; a reader may see a neighbour's cell half a step
behind, which a limit can stand. The master clears the column of a process that died.

A column is a hash table of cells, found by 8 bytes of a keyed hash of service and client address. A full neighbourhood
gives up the cell that was used longest ago and holds no connection; if all do, the client is not counted: a limit that
errs lets one more in. Windows of the rates are aligned to the clock and are as long as anvil_rate_time_unit.
"""

import mmap
import os
from hashlib import blake2b

COLUMNS = 64
CELLS = 4096
_PROBES = 8
# A cell is 8 words of 32 bits: key (two of them), window, connections now, and in this window connections, messages,
# recipients, TLS sessions.
_WORDS = 8
_WINDOW = 2
_OPEN, CONNECTIONS, MESSAGES, RECIPIENTS, TLS_SESSIONS = range(3, 8)
_COLUMN = CELLS * _WORDS
# Before the columns one word for each, 1 where a process uses it: 64 columns cost 60 µs to read, two cost 2.
_SIZE = 4 * (COLUMNS + COLUMNS * _COLUMN)


class Counters:
    def __init__(self, fd: int, column: int | None = None, unit: int = 60) -> None:
        """A view of the map behind `fd`, which is kept open. `column`: which one is ours; `unit`: seconds a window."""
        self._fd = fd
        self._map = mmap.mmap(fd, _SIZE)
        self._bytes = memoryview(self._map)
        self._words = self._bytes.cast("I")
        self._keys = self._bytes.cast("Q")
        self._base = 0
        self._unit = unit
        if column is not None:
            column %= COLUMNS
            self._base = _base(column)
            self._words[column] = 1

    @classmethod
    def create(cls) -> "Counters":
        """The master's: a new map, all zeros."""
        fd = os.memfd_create("counters", os.MFD_CLOEXEC)
        os.ftruncate(fd, _SIZE)
        return cls(fd)

    def fileno(self) -> int:
        return self._fd

    def clear(self, column: int) -> None:
        """Its process is gone, and with it its connections."""
        start = 4 * _base(column % COLUMNS)
        self._bytes[start : start + 4 * _COLUMN] = bytes(4 * _COLUMN)
        self._words[column % COLUMNS] = 0

    def close(self) -> None:
        for view in (self._keys, self._words, self._bytes):
            view.release()
        self._map.close()
        os.close(self._fd)

    def connect(self, service: str, address: str, now: float) -> tuple[int, int]:
        """One more connection -> (open now, made in this window), in all processes."""
        key = _key(service, address)
        window = int(now / self._unit)
        cell = self._count(key, window, CONNECTIONS)
        if cell is not None:
            self._words[cell + _OPEN] += 1
        return self._sum(key, window, _OPEN), self._sum(key, window, CONNECTIONS)

    def disconnect(self, service: str, address: str) -> None:
        """One connection less, of those that this process counted."""
        cell = self._find(_key(service, address), self._base)
        if cell is not None and self._words[cell + _OPEN]:
            self._words[cell + _OPEN] -= 1

    def count(self, service: str, address: str, now: float, which: int) -> int:
        """One more of `which` (MESSAGES, …) -> how many in this window, in all processes."""
        key = _key(service, address)
        window = int(now / self._unit)
        self._count(key, window, which)
        return self._sum(key, window, which)

    def _find(self, key: int, base: int) -> int | None:
        keys = self._keys
        for probe in range(_PROBES):
            cell = base + (key + probe) % CELLS * _WORDS
            if keys[cell >> 1] == key:
                return cell
        return None

    def _count(self, key: int, window: int, which: int) -> int | None:
        cell = self._find(key, self._base)
        if cell is None:
            cell = self._claim(key)
            if cell is None:
                return None
        words = self._words
        if words[cell + _WINDOW] != window:
            for rate in range(CONNECTIONS, TLS_SESSIONS + 1):
                words[cell + rate] = 0
            words[cell + _WINDOW] = window
        words[cell + which] += 1
        return cell

    def _claim(self, key: int) -> int | None:
        """A cell for a new client: an unused one, else the oldest without connections."""
        best, oldest = None, 1 << 33
        for probe in range(_PROBES):
            cell = self._base + (key + probe) % CELLS * _WORDS
            window = self._words[cell + _WINDOW] if self._keys[cell >> 1] else -1
            if not self._words[cell + _OPEN] and window < oldest:
                best, oldest = cell, window
        if best is not None:
            # The key comes last, so that no reader counts the old client's figures for the new one.
            for word in range(_WINDOW, _WORDS):
                self._words[best + word] = 0
            self._keys[best >> 1] = key
        return best

    def _sum(self, key: int, window: int, which: int) -> int:
        words = self._words
        total = 0
        for column, used in enumerate(words[:COLUMNS].tolist()):
            if used:
                cell = self._find(key, _base(column))
                if cell is not None and (which == _OPEN or words[cell + _WINDOW] == window):
                    total += words[cell + which]
        return total


def _base(column: int) -> int:
    return COLUMNS + column * _COLUMN


def _key(service: str, address: str) -> int:
    """Not 0, which marks an unused cell."""
    digest = blake2b(f"{service}\0{address}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) or 1
