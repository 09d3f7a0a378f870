"""Taking over the queue of a Postfix that does not run: each message arrives once, whenever this is killed.

    1  messages are stored on hold, a batch in one transaction
    2  their files are renamed into `moving` of the directory ASIDE, and that is synced
    3  the messages are released
    4  their files are renamed out of `moving`, to stay until the operator removes them

Killed before 2, the next run finds the message under its queue id and does not store it again; it is on hold, so nobody
has delivered it, though the gateway may have run meanwhile. Killed before 4, the next run finds the file in `moving`:
it releases the message if it is still on hold, and does not read the file. A file is never removed.

What local users left in maildrop has not been prepared: it goes the same way into our maildrop directory, where it is
staged first and released by a rename.
"""

import os
import stat
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from hashlib import sha256
from typing import Protocol

from msgspec import Struct, field, structs

from postwarden.config.durable import sync_directory
from postwarden.mail.envelope import Envelope, Notify
from postwarden.mail.queue import HOLD, Change, Entry, NewMessage
from postwarden.spool import maildrop, postfix_logs
from postwarden.spool.postfix_directory import LOGS, QUEUES, QueueFile, files, log_file
from postwarden.spool.postfix_logs import Logged
from postwarden.spool.postfix_queue import PostfixMessage, Unusable, read
from postwarden.wire.submission import Malformed, Submission, whole

ASIDE = "imported-by-postwarden"
MOVING = "moving"
_BATCH, _BATCH_BYTES = 200, 16 << 20
_BUFFER = 256 << 10
_DAMAGED = ("corrupt", "saved")
_NOTICES = ("delivered", "relayed")


class Queue(Protocol):
    """Our queue, as `spool.offline.OfflineQueue` documents it."""

    def find(self, queue_ids: Collection[str]) -> list[Entry]: ...

    def put_back(self, entry: Entry) -> None: ...

    def settle(self, changes: Sequence[Change]) -> None: ...

    def import_(self, messages: Sequence[NewMessage]) -> None: ...


class Tally(Struct):
    """What an import did, or would do."""

    stored: dict[str, int] = field(default_factory=lambda: dict.fromkeys((*QUEUES, "maildrop"), 0))
    """By Postfix's name of the queue."""
    recipients: int = 0
    """Of those, still to be delivered."""
    resumed: int = 0
    """Stored by an earlier run that was interrupted, and now released."""
    finished: int = 0
    """Files without a recipient to be delivered, and address probes: nothing to store."""
    unfinished: int = 0
    """Files that nobody was told to have been accepted: left where they are."""
    left: list[tuple[str, str]] = field(default_factory=list)
    """(path, why) of files that could not be taken over."""

    @property
    def total(self) -> int:
        return sum(self.stored.values())


class Found(Struct, frozen=True):
    """A file and what is in it."""

    file: QueueFile
    message: PostfixMessage
    new: NewMessage
    due: float
    """When it is to be tried next; HOLD."""


class Import:
    def __init__(
        self,
        directory: str,
        queue: Queue | None,
        drop_directory: str,
        *,
        unfiltered: bool = False,
        now: Callable[[], float] = time.time,
        stored: Callable[[str, Envelope], None] = lambda queue, envelope: None,
    ) -> None:
        """`queue` None: only look. `unfiltered`: also take mail that a content filter should have seen first. `stored`
        is told of each message that was taken over, and from which of Postfix's queues."""
        self._directory = directory
        self._queue = queue
        self._drop_directory = drop_directory
        self._unfiltered = unfiltered
        self._now = now
        self._stored = stored
        self._aside = os.path.join(directory, ASIDE)
        self.tally = Tally()

    def run(self) -> None:
        """Raises OSError and whatever our queue raises; then `tally` is what was done until then, and the next run goes
        on."""
        if self._queue is not None:
            self._resume(self._queue)
        for queue in QUEUES:
            for batch in self._batches(queue):
                self._store(queue, batch)
                self.tally.stored[queue] += len(batch)
                for one in batch:
                    self.tally.recipients += len(one.new.envelope.recipients)
                    self._stored(queue, one.new.envelope)
        self._take_maildrop()
        for queue in _DAMAGED:
            for file in files(self._directory, queue):
                self.tally.left.append((file.path, f"Postfix has put it into {queue}"))

    # looking

    def _batches(self, queue: str) -> Iterator[list[Found]]:
        batch: list[Found] = []
        size = 0
        for file in files(self._directory, queue):
            found = self._look(file)
            if found is None:
                continue
            batch.append(found)
            size += found.new.envelope.size
            if len(batch) >= _BATCH or size >= _BATCH_BYTES:
                yield batch
                batch, size = [], 0
        if batch:
            yield batch

    def _look(self, file: QueueFile) -> Found | None:
        if not file.complete:
            self.tally.unfinished += 1
            return None
        try:
            message, changed = self._read(file)
        except (Unusable, OSError) as error:
            reason = error.strerror or str(error) if isinstance(error, OSError) else str(error)
            self.tally.left.append((file.path, reason))
            return None
        if message.filter and not self._unfiltered:
            self.tally.left.append((file.path, f"waits for the content filter {message.filter}"))
            return None
        new = None if message.probe else self._new(file, message)
        if new is None:
            self.tally.finished += 1
            if self._queue is not None:
                self._set_aside([file], file.queue)
            return None
        due = {"hold": HOLD, "deferred": changed}.get(file.queue, self._now())
        return Found(file, message, new, due)

    def _read(self, file: QueueFile) -> tuple[PostfixMessage, float]:
        """The message, and the time of the file's last change, which is that of the next attempt. Raises Unusable,
        OSError."""
        fd = os.open(file.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(fd, "rb", _BUFFER) as source:
            state = os.fstat(fd)
            if not stat.S_ISREG(state.st_mode):
                raise Unusable("no regular file")
            closed = frozenset(self._log("bounce", file)) | frozenset(self._log("trace", file))
            return read(source, file.queue_id, closed), max(state.st_mtime, 1.0)

    def _log(self, log: str, file: QueueFile) -> dict[int, Logged]:
        return postfix_logs.read(log_file(self._directory, log, file.queue_id))

    def _new(self, file: QueueFile, message: PostfixMessage) -> NewMessage | None:
        """On hold. Recipients who are done with, of whom the sender has not been told, are told of with the others;
        where there are no others, those that were refused are tried once more, so that somebody tells. None: there is
        nothing left to do."""
        indices = {offset: index for index, offset in enumerate(message.offsets)}
        refused = {indices[at]: one.status for at, one in self._log("bounce", file).items() if at in indices}
        untold = {
            indices[at]: one.status
            for at, one in self._log("trace", file).items()
            if at in indices and message.closed[indices[at]] and one.action in _NOTICES
        }
        wanted = [n for n, one in enumerate(message.envelope.recipients) if one.notify & Notify.SUCCESS]
        ignored = {n for n, closed in enumerate(message.closed) if closed and n not in refused and n not in untold}
        ignored |= {n for n in untold if n not in wanted}
        untold |= refused
        if len(untold.keys() | ignored) == len(indices):
            ignored |= untold.keys() - refused.keys()
            untold = {}
        kept = [n for n in range(len(indices)) if n not in ignored]
        if not kept:
            return None
        reasons = {indices[at]: one.status for at, one in self._log("defer", file).items() if at in indices}
        envelope = message.envelope
        return NewMessage(
            structs.replace(envelope, recipients=tuple([envelope.recipients[n] for n in kept])),
            message.head,
            message.body,
            due=HOLD,
            attempts=int(file.queue == "deferred" or bool(reasons)),
            reasons={at: reasons[n] for at, n in enumerate(kept) if n in reasons and n not in untold},
            warned=message.warned,
            untold={at: untold[n] for at, n in enumerate(kept) if n in untold},
        )

    # storing

    def _store(self, name: str, batch: list[Found]) -> None:
        queue = self._queue
        if queue is None:
            return
        there = {}
        for entry in queue.find([one.file.queue_id for one in batch]):
            there[entry.envelope.queue_id] = (entry.envelope.arrival, entry.envelope.sender)
            queue.put_back(entry)
        for one in list(batch):
            envelope = one.new.envelope
            if there.get(envelope.queue_id, (envelope.arrival, envelope.sender)) != (envelope.arrival, envelope.sender):
                self.tally.left.append((one.file.path, "our queue has another message with this queue id"))
                batch.remove(one)
        fresh = [one.new for one in batch if one.new.envelope.queue_id not in there]
        if fresh:
            queue.import_(fresh)
        self._set_aside([one.file for one in batch], os.path.join(MOVING, name))
        self._release(queue, name, {one.file.queue_id: one.due for one in batch})

    def _release(self, queue: Queue, name: str, due: dict[str, float]) -> int:
        """Messages whose files are in `moving`; how many were on hold only for that."""
        changes = []
        for entry in queue.find(list(due)):
            when = due[entry.envelope.queue_id]
            if entry.due >= HOLD and when < HOLD:
                changes.append(Change(entry.key, due=when))
            else:
                queue.put_back(entry)
        if changes:
            queue.settle(changes)
        source = os.path.join(self._aside, MOVING, name)
        target = self._directory_of(name)
        for queue_id in due:
            _rename(os.path.join(source, queue_id), target, queue_id)
            for log in LOGS:
                path = log_file(self._directory, log, queue_id)
                if path:
                    _rename(path, self._directory_of(log), queue_id)
        sync_directory(target)
        return len(changes)

    def _resume(self, queue: Queue) -> None:
        """What an earlier run has moved and may not have released."""
        for name in QUEUES:
            source = os.path.join(self._aside, MOVING, name)
            try:
                names = sorted(os.listdir(source))
            except FileNotFoundError:
                continue
            for begin in range(0, len(names), _BATCH):
                due = {}
                for queue_id in names[begin : begin + _BATCH]:
                    changed = max(os.stat(os.path.join(source, queue_id)).st_mtime, 1.0)
                    due[queue_id] = {"hold": HOLD, "deferred": changed}.get(name, self._now())
                self.tally.resumed += self._release(queue, name, due)

    # maildrop

    def _take_maildrop(self) -> None:
        mark = sha256(os.path.realpath(self._directory).encode(errors="surrogateescape")).hexdigest()[:16]
        for file in files(self._directory, "maildrop"):
            if not file.complete:
                self.tally.unfinished += 1
                continue
            try:
                message, _ = self._read(file)
                owner = os.stat(file.path, follow_symlinks=False).st_uid
                parts = list(whole(_submission(message, owner), (message.head, message.body)))
            except (Unusable, Malformed, OSError) as error:
                self.tally.left.append((file.path, str(error)))
                continue
            if not message.envelope.recipients:
                self.tally.left.append((file.path, "no recipients"))
                continue
            self.tally.stored["maildrop"] += 1
            self.tally.recipients += len(message.envelope.recipients)
            if self._queue is not None:
                name = mark + sha256(f"{file.queue_id} {message.envelope.arrival}".encode()).hexdigest()[:16]
                maildrop.drop(self._drop_directory, parts, name)
                self._set_aside([file], "maildrop")
                maildrop.release(self._drop_directory, name)
                self._stored("maildrop", message.envelope)
        if self._queue is not None:
            # Sources of these have been moved: their run ended in between.
            for name in maildrop.staged(self._drop_directory):
                if name.startswith(mark):
                    maildrop.release(self._drop_directory, name)
                    self.tally.resumed += 1

    # files

    def _directory_of(self, name: str) -> str:
        path = os.path.join(self._aside, name)
        os.makedirs(path, mode=0o700, exist_ok=True)
        return path

    def _set_aside(self, taken: list[QueueFile], name: str) -> None:
        """Durably."""
        target = self._directory_of(name)
        for file in taken:
            _rename(file.path, target, file.queue_id)
        above = {target, os.path.dirname(target), self._aside, self._directory}
        for path in above.union([os.path.dirname(file.path) for file in taken]):
            sync_directory(path)


def _submission(message: PostfixMessage, owner: int) -> Submission:
    envelope = message.envelope
    return Submission(
        envelope.sender,
        envelope.recipients,
        envelope.full_name,
        envelope.context == "remote",
        envelope.eight_bit,
        envelope.ret,
        envelope.envid,
        envelope.verp,
        envelope.trace,
        owner,
        envelope.arrival,
    )


def _rename(path: str, target: str, name: str) -> None:
    """Into `target`, under a name of its own: the same queue id may have come before."""
    free, number = name, 0
    while os.path.lexists(os.path.join(target, free)):
        number += 1
        free = f"{name}.{number}"
    with suppress(FileNotFoundError):
        os.rename(path, os.path.join(target, free))
