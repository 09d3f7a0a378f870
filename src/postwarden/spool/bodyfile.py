"""Bodies that are too big for a record: a file each, written and synced on a thread of their own, since the sync of
50 MB must not hold up the commits of small messages.

The file is locked from its making until the record that names it is durable (`release`), so that the courier can tell
garbage (no lock, no record) from a body whose record is under way.
"""

import contextlib
import os
from collections.abc import Callable
from typing import Protocol
from zlib import crc32

from postwarden.spool.files import Files
from postwarden.spool.layout import new_body
from postwarden.spool.writer import GroupWriter, Writer

AHEAD = 1 << 20
"""Bytes of one body that may wait for the disk before its writer is told to stop; when the budget is spent, none: a
thousand clients with big messages would take a gigabyte from a slow disk."""


class Budget(Protocol):
    used: int
    """Bytes in memory that are not durable."""

    @property
    def spent(self) -> bool:
        """It is all in use."""


class BodyFile:
    """One body. Called on the loop; `_work` runs on the thread."""

    def __init__(self, writer: "BodyWriter", directory: str, drained: Callable[[], None]) -> None:
        self._writer = writer
        self._directory = directory
        self._drained = drained
        self._waiting = 0
        self._stored: Callable[[OSError | None], None] | None = None
        self._abandoned = False
        self._fault: OSError | None = None
        self._fd = -1
        self.name = new_body()
        self.size = 0
        self.crc = 0
        self.congested = False

    def write(self, data: bytes) -> None:
        self.size += len(data)
        self._waiting += len(data)
        self._writer.budget.used += len(data)
        if self._waiting > AHEAD or self._writer.budget.spent:
            self.congested = True
        self._writer.submit((self, data))

    def finish(self, stored: Callable[[OSError | None], None]) -> None:
        """Make it durable, under its name, then call `stored`. After an error the file is gone."""
        self._stored = stored
        self._writer.submit((self, None))

    def abandon(self) -> None:
        """Remove it."""
        self._abandoned = True
        self._writer.submit((self, b""))

    def release(self) -> None:
        """The record is durable: the courier may look after the file now."""
        self._close()

    # on the thread

    def work(self, data: bytes | None) -> None:
        if self._abandoned:
            self._remove()
        elif self._fault is None:
            try:
                if data is None:
                    self._sync()
                else:
                    self._write(data)
            except OSError as error:
                self._fault = error
                self._remove()

    def _write(self, data: bytes) -> None:
        files = self._writer.files
        if self._fd < 0:
            self._fd = files.create(os.path.join(self._directory, self.name))
        files.write(self._fd, [data])
        self.crc = crc32(data, self.crc)

    def _sync(self) -> None:
        self._writer.files.sync(self._fd)
        self._writer.files.sync_directory(self._directory)

    def _remove(self) -> None:
        if self._fd >= 0:
            with contextlib.suppress(OSError):
                self._writer.files.unlink(os.path.join(self._directory, self.name))
            self._close()

    def _close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            with contextlib.suppress(OSError):
                self._writer.files.close(fd)

    # on the loop, after `work`

    def worked(self, data: bytes | None) -> None:
        if data is None:
            stored, self._stored = self._stored, None
            if stored is not None:
                stored(self._fault)
            return
        self._waiting -= len(data)
        self._writer.budget.used -= len(data)
        if self.congested and self._waiting <= AHEAD // 2:
            self.congested = False
            self._drained()


_Item = tuple[BodyFile, bytes | None]


class BodyWriter:
    """The thread that writes body files; it is started with the first."""

    def __init__(self, files: Files, post: Callable[..., object], budget: Budget) -> None:
        self.files = files
        self.budget = budget
        self._post = post
        self._writer: Writer[_Item] | None = None

    def begin(self, directory: str, drained: Callable[[], None]) -> BodyFile:
        return BodyFile(self, directory, drained)

    def submit(self, item: _Item) -> None:
        if self._writer is None:
            self._writer = GroupWriter[_Item, None](self._commit, self._committed, self._post, "bodies")
        self._writer.submit(item)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()

    def _commit(self, group: list[_Item]) -> None:
        for file, data in group:
            file.work(data)

    def _committed(self, group: list[_Item], _: None) -> None:
        for file, data in group:
            file.worked(data)
