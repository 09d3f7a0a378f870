"""The body of a job, when it is too big to be carried in memory."""

import contextlib
import os
import zlib


class FileBody:
    """`size` bytes of a file, from `offset`. Owns the descriptor. Who reads from the beginning to the end gets the last
    bytes only if the sum of all is `crc` (0: it is not known): what the disk has spoilt is never delivered whole."""

    __slots__ = ("__weakref__", "_crc", "_fd", "_offset", "_sum", "_summed", "size")

    def __init__(self, fd: int, offset: int, size: int, crc: int = 0) -> None:
        self._fd = fd
        self._offset = offset
        self._crc = crc
        self._sum = self._summed = 0
        self.size = size

    def read(self, at: int, count: int) -> bytes:
        """Up to `count` bytes from byte `at` of the body; fewer only at its end. Raises OSError, and EOFError when the
        file is not what it was said to be."""
        count = min(count, self.size - at)
        data = os.pread(self._fd, count, self._offset + at)
        if len(data) < count:
            raise EOFError("the body's file is shorter than its record says")
        if self._crc:
            self._check(at, data)
        return data

    def _check(self, at: int, data: bytes) -> None:
        if not at:
            self._sum = self._summed = 0
        if at != self._summed:
            return
        self._sum = zlib.crc32(data, self._sum)
        self._summed += len(data)
        if self._summed == self.size and self._sum != self._crc:
            raise EOFError("the body's file is damaged")

    def close(self) -> None:
        if self._fd >= 0:
            with contextlib.suppress(OSError):
                os.close(self._fd)
            self._fd = -1


Body = bytes | FileBody
