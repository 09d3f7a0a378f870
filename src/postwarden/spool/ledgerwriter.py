"""The thread that commits to queue.db and then unlinks what the commit made useless.

It never gives up and never skips: while the disk refuses, the group waits and is tried again, and all operations are
such that doing them twice is doing them once (a commit whose sync failed may turn out to have happened).
"""

import contextlib
import os
import sqlite3
from collections.abc import Callable, Sequence
from typing import NamedTuple

from postwarden.mail.events import Event, Failure, Notice
from postwarden.spool.files import Files
from postwarden.spool.layout import database
from postwarden.spool.live import Finals
from postwarden.spool.logfile import read_log
from postwarden.spool.queuedb import Drop, Operation, QueueWriter, Unlink
from postwarden.spool.reserve import Reserve
from postwarden.spool.salvage import replace
from postwarden.spool.writer import GroupWriter, Pause, Writer

_PAUSE = 0.5


class Work(NamedTuple):
    """Operations of one transaction, and whom to call when they are durable."""

    operations: Sequence[Operation]
    done: Callable[[], None]


class LedgerWriter:
    def __init__(
        self,
        spool: str,
        files: Files,
        post: Callable[..., object],
        on_event: Callable[[Event], None],
        replaced: Callable[[], None],
    ) -> None:
        """`replaced` is called on the loop when queue.db is another file than before."""
        self._spool = spool
        self._files = files
        self._post = post
        self._on_event = on_event
        self._replaced = replaced
        self._db = QueueWriter(spool)
        self._reserve = Reserve(os.path.join(spool, "reserve"), files)
        self._pause = Pause()
        self._grown = 0
        self._broken = False
        self.failing = False
        self._writer: Writer[Work] | None = None

    def open(self, grown: int) -> dict[int, Finals]:
        """Before the first work: open queue.db, salvaging it if need be. Raises sqlite3.OperationalError, OSError."""
        self._grown = grown
        try:
            if lost := read_log(f"{database(self._spool)}-wal").lost:
                journal = self._salvage(sqlite3.DatabaseError(f"{lost} pages of its log are damaged"))
            else:
                journal = self._db.open(grown)
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError as error:
            journal = self._salvage(error)
        for text in self._db.damage:
            self.tell(Failure(text))
        if grown:
            self._reserve.fill(grown)
        self._writer = GroupWriter[Work, bool](self._commit, self._finished, self._post, "ledger")
        return journal

    @property
    def last_row(self) -> int:
        """The highest row in use, when `open` returns."""
        return self._db.last_row

    @property
    def last_epoch(self) -> int:
        """The highest in use, when `open` returns."""
        return self._db.last_epoch

    def forget(self, segments: Sequence[int]) -> None:
        """Only between `open` and the first work. On a full disk it is left to the next start."""
        with contextlib.suppress(sqlite3.OperationalError):
            self._db.forget(segments)

    def submit(self, work: Work) -> None:
        assert self._writer is not None
        self._writer.submit(work)

    def submit_unlink(self, body_files: Sequence[str]) -> None:
        self.submit(Work([Unlink(file) for file in body_files], _nothing))

    def sweep(self) -> None:
        """On the loop, once in a while: see that the reserve is there."""
        if self._grown and not self.failing:
            self._reserve.fill(self._grown)

    def tell(self, event: Event) -> None:
        """From the thread."""
        self._post(self._on_event, event)

    def broken(self) -> None:
        """A reader found queue.db malformed."""
        if not self._broken:
            self._broken = True
            self.submit(Work([], _nothing))

    def close(self) -> None:
        """What can't be committed now is given up: it is as if the process had been killed before."""
        self._pause.end()
        if self._writer is not None:
            self._writer.close()
        self._db.close()

    # on the thread

    def _commit(self, group: list[Work]) -> bool:
        """Whether it is durable; False only when the process ends while the disk refuses."""
        try:
            self._perform(group)
        except _Ended:
            return False
        return True

    def _perform(self, group: list[Work]) -> None:
        drops: list[Drop] = []
        operations: list[Operation] = []
        for work in group:
            for operation in work.operations:
                if isinstance(operation, Drop):
                    drops.append(operation)
                else:
                    operations.append(operation)
        if self._broken:
            self._mend(sqlite3.DatabaseError("a reader found it malformed"))
        if operations:
            self._unlink(self._apply(operations))
        if drops:
            self._drop(drops)

    def _apply(self, operations: list[Operation]) -> list[str]:
        while True:
            try:
                unused = self._db.apply(operations)
            except sqlite3.OperationalError as error:
                self._refused(error)
            except sqlite3.DatabaseError as error:
                self._mend(error)
            else:
                if self.failing:
                    self.failing = False
                    self.tell(Notice("queue.db can be written again"))
                return unused

    def _refused(self, error: sqlite3.Error) -> None:
        """The disk is full or fails: wait, open it anew (nothing is known of what SQLite has cached), try again."""
        if not self.failing:
            self.failing = True
            self.tell(Failure(f"queue.db can't be written: {error}; deliveries wait"))
        if not self._reserve.release() and self._pause.wait(_PAUSE):
            raise _Ended()
        with contextlib.suppress(sqlite3.Error, OSError):
            self._db.open(0)

    def _mend(self, error: Exception) -> None:
        self._broken = False
        while True:
            try:
                self._salvage(error)
            except (OSError, sqlite3.Error) as failure:
                self.failing = True
                self.tell(Failure(f"queue.db can't be rebuilt: {failure}"))
                if self._pause.wait(_PAUSE):
                    raise _Ended() from failure
            else:
                self._post(self._replaced)
                return

    def _salvage(self, error: Exception) -> dict[int, Finals]:
        self.tell(Failure(f"{database(self._spool)}: {error}; it is rebuilt from what can be read"))
        self._db.close()
        for line in replace(self._spool):
            self.tell(Failure(line))
        return self._db.open(self._grown)

    def _unlink(self, body_files: list[str]) -> None:
        for file in body_files:
            try:
                self._files.unlink(os.path.join(self._spool, "incoming", file))
            except FileNotFoundError:
                continue
            except OSError as error:
                self.tell(Failure(f"body file {file} can't be removed: {error}"))

    def _drop(self, drops: list[Drop]) -> None:
        """Unlink, make that durable, and only then forget what the journal says of them."""
        gone = []
        for drop in drops:
            try:
                with contextlib.suppress(FileNotFoundError):
                    self._files.unlink(drop.path)
                self._files.sync_directory(os.path.dirname(drop.path))
            except OSError as error:
                self.tell(Failure(f"segment {drop.path} can't be removed: {error}"))
            else:
                gone.append(drop.segment)
        with contextlib.suppress(sqlite3.Error):  # the next start does it
            self._db.forget(gone)

    # on the loop

    def _finished(self, group: list[Work], durable: bool) -> None:
        if durable:
            for work in group:
                work.done()


def _nothing() -> None:
    return


class _Ended(Exception):
    """The process ends while the disk refuses."""
