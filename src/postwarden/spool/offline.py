"""The queue of a gateway that does not run, for the tools: the ledger, driven by hand.

Root acts as the owner of the queue while a call lasts: a courier that somebody has taken over could leave a link in its
directory and have root write where it leads; and what is made belongs to the courier.
"""

import fcntl
import os
import queue
import stat
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, NoReturn

from postwarden.mail.events import Event, Failure
from postwarden.mail.queue import Change, Content, Cursor, Damaged, Entry, Key, Listed, NewMessage, once
from postwarden.spool.layout import spool_directory
from postwarden.spool.ledger import Ledger
from postwarden.spool.params import SpoolParams

_PATIENCE = 2.0
"""Seconds for which a disk that refuses is tried again."""


class InUse(Exception):
    """A courier has the queue. `pid` is what its lock says, 0 if nothing."""

    def __init__(self, path: str, pid: int) -> None:
        super().__init__(f"{path} is locked by process {pid}" if pid else f"{path} is locked")
        self.pid = pid


class OfflineQueue:
    """The courier's side of the spool, driven by hand: each call returns when what it asked for is durable. A context
    manager."""

    def __init__(
        self, queue_directory: str, *, on_event: Callable[[Event], None] | None = None, long_queue_ids: bool = False
    ) -> None:
        """Take the courier's lock and open the queue. `on_event` is told what the log of a courier would be: above all
        of damage. Raises InUse; FileNotFoundError when there is no queue yet; OSError and sqlite3.Error when it can't
        be opened."""
        self._spool = spool_directory(queue_directory)
        self._owner = _owner(self._spool)
        self._on_event = on_event
        self._calls: queue.SimpleQueue[tuple[Callable[..., object], tuple[Any, ...]]] = queue.SimpleQueue()
        self._fault = ""
        params = SpoolParams(queue_directory, 0, 0, long_queue_ids)
        with self.as_owner():
            self._lock = _lock(os.path.join(self._spool, "courier.lock"))
            self._ledger = Ledger(params, _Clock(), self._post, self._told, grown=0)
            try:
                self._ledger.recover()
            except BaseException:
                os.close(self._lock)
                raise
            self._rest()
        self.new_queue_id = self._ledger.new_queue_id

    def __enter__(self) -> "OfflineQueue":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def listing(self) -> Iterator[Listed]:
        """All that is stored, page by page, each once. Raises Damaged, OSError when queue.db can't be read."""
        return once(self._pages())

    def _pages(self) -> Iterator[Listed]:
        cursor: Cursor | None = None
        while True:
            with self.as_owner():
                try:
                    page, cursor = self._ledger.page(cursor)
                except Damaged:
                    self._wait()  # until it is rebuilt
                    page, cursor = self._ledger.page(cursor)
                self._rest()
            yield from page
            if cursor is None:
                return

    def find(self, queue_ids: Collection[str]) -> list[Entry]:
        """As `Ledger.find`. What is neither settled nor put back stays as it was, but is not found a second time."""
        with self.as_owner():
            return self._ledger.find(queue_ids)

    def pick(self, keys: Collection[Key]) -> list[Entry]:
        """As `Ledger.pick`."""
        with self.as_owner():
            return self._ledger.pick(keys)

    def put_back(self, entry: Entry) -> None:
        with self.as_owner():
            self._ledger.put_back(entry)
            self._wait()

    def peek(self, queue_id: str) -> tuple[Listed, Content] | None:
        """As `Ledger.peek`. Raises Damaged, OSError."""
        with self.as_owner():
            return self._ledger.peek(queue_id)

    def content(self, key: Key) -> Content:
        """Of a message that was found. Raises Damaged, OSError."""
        with self.as_owner():
            return self._ledger.content(key)

    def settle(self, changes: Sequence[Change]) -> None:
        """Make them durable. Raises OSError when the disk refuses; then it is not known which of them are."""
        with self.as_owner():
            for change in changes:
                self._ledger.settle(change, _nothing)
            self._wait()

    def import_(self, messages: Sequence[NewMessage]) -> None:
        """As `Ledger.import_`. Raises OSError when the disk refuses; then it is not known whether they are stored, but
        all are or none."""
        with self.as_owner():
            self._ledger.import_(messages, _nothing)
            self._wait()

    def close(self) -> None:
        """Without effect the second time."""
        if self._lock >= 0:
            with self.as_owner():
                self._ledger.close()
                self._rest()
            os.close(self._lock)
            self._lock = -1

    # driving

    @contextmanager
    def as_owner(self) -> Iterator[None]:
        """What is done meanwhile is done by the owner of the queue, also where root calls."""
        if os.geteuid() or not self._owner[0]:
            yield
            return
        group = os.getegid()
        os.setegid(self._owner[1])
        os.seteuid(self._owner[0])
        try:
            yield
        finally:
            os.seteuid(0)
            os.setegid(group)

    def _post(self, callback: Callable[..., object], *args: Any) -> None:
        self._calls.put((callback, args))

    def _wait(self) -> None:
        """Until all that was asked for is durable."""
        passed: list[bool] = []
        self._ledger.barrier(lambda: passed.append(True))
        while not passed:
            try:
                callback, args = self._calls.get(timeout=_PATIENCE if self._ledger.failing else None)
            except queue.Empty:
                self._refused()
            callback(*args)

    def _refused(self) -> NoReturn:
        raise OSError(self._fault or "queue.db can't be written")

    def _rest(self) -> None:
        while not self._calls.empty():
            callback, args = self._calls.get()
            callback(*args)

    def _told(self, event: Event) -> None:
        if isinstance(event, Failure):
            self._fault = event.text
        if self._on_event is not None:
            self._on_event(event)


class _Clock:
    """A clock without timers."""

    now = staticmethod(time.time)
    monotonic = staticmethod(time.monotonic)

    def call_later(self, seconds: float, callback: Callable[[], None]) -> NoReturn:
        raise NotImplementedError

    def call_soon(self, callback: Callable[[], None]) -> NoReturn:
        raise NotImplementedError


def _owner(spool: str) -> tuple[int, int]:
    """Raises OSError."""
    state = os.lstat(spool)
    if not stat.S_ISDIR(state.st_mode):
        raise NotADirectoryError(f"{spool} is not a directory")
    return state.st_uid, state.st_gid


def _lock(path: str) -> int:
    """Raises InUse, OSError."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        said = os.pread(fd, 32, 0).strip()
        os.close(fd)
        raise InUse(path, int(said) if said.isdigit() else 0) from None
    os.ftruncate(fd, 0)
    os.pwrite(fd, b"%10d\n" % os.getpid(), 0)
    return fd


def _nothing(*_: object) -> None:
    return
