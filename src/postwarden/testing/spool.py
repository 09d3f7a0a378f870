"""For tests of and with the spool: both sides over one directory, a loop by hand, files that fail or are recorded, what
a crash leaves, and a store in memory for tests of `receive`.
"""

import os
import queue
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any, NamedTuple

from postwarden.ipc.records import Stored
from postwarden.mail.envelope import Envelope, Recipient
from postwarden.mail.events import Event
from postwarden.mail.queue import Change, Entry
from postwarden.mail.reply import Reply
from postwarden.spool.appender import Appender
from postwarden.spool.files import Buffers, DiskFiles, Files
from postwarden.spool.ledger import Ledger
from postwarden.spool.params import SpoolParams
from postwarden.testing.clock import VirtualClock


class Pump:
    """Stands for the loop: `post` takes callbacks from threads, `until` runs them on the caller's thread."""

    def __init__(self, patience: float = 20.0) -> None:
        self._calls: queue.SimpleQueue[tuple[Callable[..., object], tuple[Any, ...]]] = queue.SimpleQueue()
        self._patience = patience

    def post(self, callback: Callable[..., object], *args: Any) -> None:
        self._calls.put((callback, args))

    def until(self, happened: Callable[[], object]) -> None:
        """Raises TimeoutError when nothing comes for `patience` seconds."""
        while not happened():
            try:
                callback, args = self._calls.get(timeout=self._patience)
            except queue.Empty:
                raise TimeoutError("nothing came from the threads") from None
            callback(*args)

    def rest(self) -> None:
        """Run what is there."""
        while not self._calls.empty():
            callback, args = self._calls.get()
            callback(*args)


def envelope(queue_id: str, head: bytes = b"", body: bytes = b"", recipients: int = 1) -> Envelope:
    to = tuple(Recipient(f"user{n}@example.com") for n in range(recipients))
    return Envelope(queue_id, 1_700_000_000.0, "sender@example.org", to, len(head) + len(body))


class Spool:
    """A receiver's and a courier's side over one directory, driven by hand."""

    HEAD = b"Subject: test\r\n\r\n"

    def __init__(self, directory: str, files: Files | None = None) -> None:
        self.directory = directory
        self.files = files
        self.pump = Pump()
        self.clock = VirtualClock()
        self.params = SpoolParams(directory, 0, 10 << 20, False)
        self.events: list[Event] = []
        self.stored: list[Stored] = []
        self.sealed: list[int] = []
        self._open: list[Appender | Ledger] = []

    def appender(self, instance: int = 1) -> Appender:
        post, say = self.pump.post, self.events.append
        appender = Appender(self.params, instance, self.clock, post, say, files=self.files, every=0)
        appender.on_stored = self.stored.append
        appender.on_sealed = lambda record: self.sealed.append(record.segment)
        self._open.append(appender)
        return appender

    def ledger(self, grown: int = 0) -> Ledger:
        ledger = Ledger(self.params, self.clock, self.pump.post, self.events.append, files=self.files, grown=grown)
        self._open.append(ledger)
        return ledger

    def store(self, appender: Appender, body: bytes, recipients: int = 1, queue_id: str = "") -> Reply | None:
        """Store a message and wait for the answer."""
        answers: list[Reply | None] = []
        draft = appender.draft()
        draft.write(body)
        queue_id = queue_id or appender.new_queue_id()
        draft.commit(envelope(queue_id, self.HEAD, body, recipients), self.HEAD, answers.append)
        self.pump.until(lambda: answers)
        return answers[0]

    def settle(self, ledger: Ledger, change: Change) -> tuple[Entry, ...]:
        """Settle and wait until it is durable."""
        answers: list[tuple[Entry, ...]] = []
        ledger.settle(change, answers.append)
        self.pump.until(lambda: answers)
        return answers[0]

    def sweep(self, ledger: Ledger, times: int = 4) -> None:
        """Sweep until what it sets off is over."""
        for _ in range(times):
            ledger.sweep(self.clock.now())
            self.barrier(ledger)

    def barrier(self, ledger: Ledger) -> None:
        """Wait until what the ledger was asked for is durable."""
        passed: list[int] = []
        ledger.barrier(lambda: passed.append(1))
        self.pump.until(lambda: passed)

    def body(self, ledger: Ledger, entry: Entry) -> bytes:
        content = ledger.content(entry.key)
        if content.body is not None:
            return content.body
        with os.fdopen(content.fd, "rb") as file:
            file.seek(content.offset)
            return file.read(content.size)

    def close(self) -> None:
        """End both sides in good order. For a crash just leave them."""
        for side in self._open:
            side.close()
        self._open.clear()
        self.pump.rest()

    @property
    def texts(self) -> str:
        return "\n".join(map(str, self.events))


class FaultyFiles(DiskFiles):
    """Real files that fail on order. `fail(name, error)` makes each call of that operation raise until `heal`."""

    def __init__(self) -> None:
        self._faults: dict[str, OSError] = {}
        self.capacity: int | None = None
        """Bytes that may still be written; None: as many as the disk takes. A write that does not fit is cut short and
        fails with ENOSPC, as on a full disk."""

    def fail(self, operation: str, number: int) -> None:
        self._faults[operation] = OSError(number, os.strerror(number))

    def heal(self) -> None:
        self._faults.clear()
        self.capacity = None

    def _check(self, operation: str) -> None:
        if operation in self._faults:
            raise self._faults[operation]

    def create(self, path: str) -> int:
        self._check("create")
        return super().create(path)

    def write(self, fd: int, buffers: Buffers) -> None:
        self._check("write")
        if self.capacity is not None:
            data = b"".join(buffers)
            room, self.capacity = self.capacity, max(self.capacity - len(data), 0)
            if len(data) > room:
                super().write(fd, [data[:room]])
                raise OSError(28, os.strerror(28))
        super().write(fd, buffers)

    def sync(self, fd: int) -> None:
        self._check("sync")
        super().sync(fd)

    def append(self, fd: int, buffers: Buffers) -> None:
        self.write(fd, buffers)
        self.sync(fd)

    def truncate(self, fd: int, size: int) -> None:
        self._check("truncate")
        super().truncate(fd, size)

    def rename(self, source: str, target: str) -> None:
        self._check("rename")
        super().rename(source, target)

    def unlink(self, path: str) -> None:
        self._check("unlink")
        super().unlink(path)

    def sync_directory(self, path: str) -> None:
        self._check("sync_directory")
        super().sync_directory(path)

    def free(self, path: str) -> int:
        self._check("free")
        return super().free(path) if self.capacity is None else self.capacity


class Step(NamedTuple):
    """One recorded operation, or a mark that the test put between them."""

    name: str
    path: str
    data: bytes = b""
    target: str = ""


class RecordingFiles(DiskFiles):
    """Real files that write down what was done to them. Steps may come from several threads; their order is true."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._paths: dict[int, str] = {}
        self.steps: list[Step] = []

    def mark(self, name: str, what: str) -> None:
        self.steps.append(Step(name, what))

    def snapshot(self, *names: str) -> None:
        """The whole of these files, if they exist, as durable at this moment: how SQLite's own files are recorded."""
        for name in names:
            try:
                with open(os.path.join(self._root, name), "rb") as file:
                    self.steps.append(Step("snapshot", name, file.read()))
            except FileNotFoundError:
                self.steps.append(Step("vanished", name))

    def _short(self, path: str) -> str:
        return os.path.relpath(path, self._root)

    def make_directory(self, path: str) -> None:
        super().make_directory(path)
        self.steps.append(Step("make_directory", self._short(path)))

    def create(self, path: str) -> int:
        fd = super().create(path)
        self._paths[fd] = self._short(path)
        self.steps.append(Step("create", self._short(path)))
        return fd

    def write(self, fd: int, buffers: Buffers) -> None:
        super().write(fd, buffers)
        self.steps.append(Step("write", self._paths[fd], b"".join(buffers)))

    def sync(self, fd: int) -> None:
        super().sync(fd)
        self.steps.append(Step("sync", self._paths[fd]))

    def append(self, fd: int, buffers: Buffers) -> None:
        self.write(fd, buffers)
        self.sync(fd)

    def rename(self, source: str, target: str) -> None:
        super().rename(source, target)
        for fd, path in self._paths.items():
            if path == self._short(source):
                self._paths[fd] = self._short(target)
        self.steps.append(Step("rename", self._short(source), target=self._short(target)))

    def unlink(self, path: str) -> None:
        super().unlink(path)
        self.steps.append(Step("unlink", self._short(path)))

    def sync_directory(self, path: str) -> None:
        super().sync_directory(path)
        self.steps.append(Step("sync_directory", self._short(path)))


class _File:
    def __init__(self) -> None:
        self.data = b""
        self.synced = b""


class Wreck:
    """What a machine has on its disk when it stops after some steps. Three ways to stop:

    `kill`   the process is killed: all that was done is there
    `power`  the power goes: of files only what was synced, of names only those in a synced directory
    `torn`   the power goes half-way: names are as done, and half of what was written since the sync is there
    """

    WAYS = ("kill", "power", "torn")

    def __init__(self, steps: Sequence[Step]) -> None:
        self._names: dict[str, _File] = {}
        self._durable: dict[str, _File] = {}
        self._directories: list[str] = []
        for step in steps:
            self._apply(step)

    def _apply(self, step: Step) -> None:
        name, path, names = step.name, step.path, self._names
        if name == "make_directory":
            self._directories.append(path)
        elif name == "create":
            names[path] = _File()
        elif name == "write":
            names[path].data += step.data
        elif name == "sync":
            names[path].synced = names[path].data
        elif name == "rename":
            names[step.target] = names.pop(path)
        elif name in ("unlink", "vanished"):
            names.pop(path, None)
            if name == "vanished":
                self._durable.pop(path, None)
        elif name == "snapshot":
            file = names[path] = self._durable[path] = _File()
            file.data = file.synced = step.data
        elif name == "sync_directory":
            self._sync_directory(path)

    def _sync_directory(self, path: str) -> None:
        others = {name: file for name, file in self._durable.items() if os.path.dirname(name) != path}
        here = {name: file for name, file in self._names.items() if os.path.dirname(name) == path}
        self._durable = others | here

    def build(self, directory: str, way: str) -> None:
        """Make the files in `directory`."""
        for path in self._directories:
            os.makedirs(os.path.join(directory, path), exist_ok=True)
        names = self._durable if way == "power" else self._names
        for name, file in names.items():
            data = file.data
            if way == "power":
                data = file.synced
            elif way == "torn":
                data = file.data[: (len(file.synced) + len(file.data)) // 2]
            path = os.path.join(directory, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as target:
                target.write(data)


class MemoryDraft:
    def __init__(self, store: "MemoryStore") -> None:
        self._store = store
        self._body = b""
        self.congested = False
        self.on_drained: Callable[[], None] | None = None

    def write(self, data: bytes) -> None:
        self._body += data

    def commit(self, envelope: Envelope, head: bytes, done: Callable[[Reply | None], None]) -> None:
        store, body = self._store, self._body

        def later() -> None:
            if store.fault is None:
                store.messages.append((envelope, head, body))
            done(store.fault)

        store.post(later)

    def abandon(self) -> None:
        self._store.abandoned += 1


class MemoryStore:
    """The Store that `receive` declares, in memory. `post` is what defers a callback: a clock's `call_soon`."""

    def __init__(self, post: Callable[[Callable[[], None]], object]) -> None:
        self.post = post
        self.messages: list[tuple[Envelope, bytes, bytes]] = []
        self.abandoned = 0
        self.fault: Reply | None = None
        """What each commit ends with."""
        self.full: Reply | None = None
        """What `room` answers."""
        self._numbers = count(1)

    def new_queue_id(self) -> str:
        return f"{next(self._numbers):010X}"

    def room(self, size: int) -> Reply | None:
        return self.full

    def draft(self) -> MemoryDraft:
        return MemoryDraft(self)
