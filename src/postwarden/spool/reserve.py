"""A file that only takes room: when the disk is full it goes, so that what deliveries free can be written down."""

import contextlib
import os

from postwarden.spool.files import Files

_PIECE = bytes(1 << 20)
_ROOMY = 8


class Reserve:
    def __init__(self, path: str, files: Files) -> None:
        self._path = path
        self._files = files

    def fill(self, size: int) -> None:
        """Make it, where the disk has much room. Never raises."""
        try:
            if os.path.exists(self._path) or self._files.free(os.path.dirname(self._path)) < _ROOMY * size:
                return
            fd = self._files.create(self._path)
            try:
                for _ in range(size // len(_PIECE)):
                    self._files.write(fd, [_PIECE])
            finally:
                self._files.close(fd)
        except OSError:
            self.release()

    def release(self) -> bool:
        """True if there was one and its room is free now."""
        with contextlib.suppress(OSError):
            self._files.unlink(self._path)
            return True
        return False
