"""Writing segments: the one file that a receiver's commits go to. Runs on the writer's thread.

Making a segment: create `x.new`, lock it, write the head line, rename it to its name, sync the directory. Only then may
a record go into it, whose sync takes the head line along. The courier looks at final names only, so it never sees a
segment without its lock, and a segment without a lock has no writer any more: that is what "sealed" means, whatever
happened to the process.

After a fault nothing is known of what the failed write left (Linux marks pages clean after a failed sync, so a second
sync may report success for bytes that are lost). So the segment is cut back to what is durable, as far as that works,
closed, and never written again. The cut is a courtesy: records behind it were answered with 451, and the courier
reading them would deliver what the client is going to send again.
"""

import contextlib
import os
from collections.abc import Callable

from postwarden.spool.files import Buffers, Files
from postwarden.spool.layout import SegmentName, incoming, new_segment
from postwarden.spool.segment import HEAD_SIZE, head_line


class SegmentFile:
    """The segment that is open now, if any. `now` tells epoch seconds."""

    def __init__(self, files: Files, spool: str, instance: int, now: Callable[[], float]) -> None:
        self._files = files
        self._instance = instance
        self._now = now
        self.directory = incoming(spool, instance)
        self._fd = -1
        self._name = SegmentName(0, b"")
        self.size = 0
        """Bytes that are durable, and where the next record begins."""

    @property
    def number(self) -> int:
        """0: none is open."""
        return self._name.number if self._fd >= 0 else 0

    @property
    def marker(self) -> bytes:
        return self._name.marker

    def open(self) -> None:
        """Make a new one; raises OSError."""
        files = self._files
        name = new_segment(self._now(), self._instance)
        final = os.path.join(self.directory, str(name))
        draft = f"{final}.new"
        fd = files.create(draft)
        try:
            files.write(fd, [head_line(name)])
            files.rename(draft, final)
            draft = final
            files.sync_directory(self.directory)
        except OSError:
            files.close(fd)
            with contextlib.suppress(OSError):
                files.unlink(draft)
            raise
        self._fd, self._name, self.size = fd, name, HEAD_SIZE

    def append(self, buffers: Buffers, size: int) -> None:
        """Write and sync. Raises OSError; the segment is then sealed."""
        try:
            self._files.append(self._fd, buffers)
        except OSError:
            with contextlib.suppress(OSError):
                self._files.truncate(self._fd, self.size)
            self.seal()
            raise
        self.size += size

    def seal(self) -> int:
        """Close it for good; its number, or 0 if none was open."""
        number = self.number
        if number:
            fd, self._fd = self._fd, -1
            with contextlib.suppress(OSError):  # all that counts was synced
                self._files.close(fd)
        return number
