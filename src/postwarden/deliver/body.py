"""The body of a job, when it is too big to be carried in memory."""

import contextlib
import os


class FileBody:
    """`size` bytes of a file, from `offset`. Owns the descriptor."""

    __slots__ = ("__weakref__", "_fd", "_offset", "size")

    def __init__(self, fd: int, offset: int, size: int) -> None:
        self._fd = fd
        self._offset = offset
        self.size = size

    def read(self, at: int, count: int) -> bytes:
        """Up to `count` bytes from byte `at` of the body; fewer only at its end. Raises OSError, and EOFError when the
        file is shorter than it was said to be."""
        count = min(count, self.size - at)
        data = os.pread(self._fd, count, self._offset + at)
        if len(data) < count:
            raise EOFError("the body's file is shorter than its record says")
        return data

    def close(self) -> None:
        if self._fd >= 0:
            with contextlib.suppress(OSError):
                os.close(self._fd)
            self._fd = -1


Body = bytes | FileBody
