"""The courier's side of the spool in memory: what `spool.ledger.Ledger` promises, durable when a test says so."""

import os
from collections import deque
from collections.abc import Callable, Iterator

from postwarden.ipc.records import Stored
from postwarden.mail.queue import Change, Content, Damaged, Entry, Key, NewMessage, SpoolError

Done = Callable[[tuple[Entry, ...]], None]


class MemoryLedger:
    """Changes become durable with `commit`, or at once where `later` is given: a clock's call_soon."""

    def __init__(self, later: Callable[[Callable[[], None]], None] | None = None) -> None:
        self._later = later
        self._pending: deque[tuple[Change, Done]] = deque()
        self.held: dict[Key, Entry] = {}
        self.contents: dict[Key, tuple[bytes, bytes]] = {}
        self.waiting: deque[tuple[Key, Entry]] = deque()
        self.away: dict[Key, Entry] = {}
        self.changes: list[Change] = []
        self.linked_instances: list[int] = []
        self.orphans: list[int] = []
        self.damaged: set[Key] = set()
        self.files: dict[Key, str] = {}
        self.failing = False
        self._flushed = False
        self._rows = 0
        self._ids = 0

    def recover(self) -> Iterator[Entry]:
        return iter(())

    def take(self, stored: Stored, instance: int = -1) -> Entry | None:
        entry = self._entry(stored)
        self.held[entry.key] = entry
        entry.head, entry.body = stored.head, stored.body
        return entry

    def set_aside(self, stored: Stored, instance: int = -1) -> None:
        entry = self._entry(stored)
        self.waiting.append((entry.key, entry))

    def _entry(self, stored: Stored) -> Entry:
        key = (stored.segment, stored.offset)
        body = stored.body or b""
        self.contents[key] = (stored.head, body)
        everybody = tuple(range(len(stored.envelope.recipients)))
        return Entry(key, stored.envelope, everybody, len(stored.head), len(body))

    def due(self, now: float, limit: int = 500) -> tuple[Entry, ...]:
        ready = [key for key, entry in self.away.items() if entry.due <= now or self._flushed][:limit]
        found = [self.away.pop(key) for key in ready]
        self._flushed = False
        while self.waiting and len(found) < limit:
            found.append(self.waiting.popleft()[1])
        for entry in found:
            self.held[entry.key] = entry
        return tuple(found)

    def next_due(self) -> float | None:
        if self.waiting:
            return 0.0
        return min((entry.due for entry in self.away.values()), default=None)

    def flush(self) -> None:
        self._flushed = True

    def content(self, key: Key) -> Content:
        if key in self.damaged or key not in self.held:
            raise Damaged(f"{key} can't be read")
        head, body = self.contents[key]
        if key in self.files:
            return Content(head, None, os.open(self.files[key], os.O_RDONLY), 0, len(body))
        return Content(head, body)

    def settle(self, change: Change, done: Done) -> None:
        if change.key not in self.held:
            raise SpoolError(f"nobody holds {change.key}")
        self._pending.append((change, done))
        if self._later is not None:
            self._later(self.commit)

    def commit(self) -> None:
        """What was settled is durable now."""
        while self._pending:
            change, done = self._pending.popleft()
            self.changes.append(change)
            done(self._apply(change))

    def _apply(self, change: Change) -> tuple[Entry, ...]:
        entry = self.held[change.key]
        spawned = tuple(self._spawn(new) for new in change.spawned)
        final = {index for index, _ in change.finals}
        entry.open = tuple(index for index in entry.open if index not in final)
        entry.reasons = {**entry.reasons, **dict(change.deferred)}
        if not entry.open:
            del self.held[change.key], self.contents[change.key]
        elif change.due:
            entry.attempts += 1
            entry.due = change.due
            self.away[change.key] = self.held.pop(change.key)
        return spawned

    def _spawn(self, new: NewMessage) -> Entry:
        self._rows += 1
        key = (0, self._rows)
        body = new.body if new.body_of is None else self.contents[new.body_of][1]
        self.contents[key] = (new.head, body)
        entry = Entry(key, new.envelope, tuple(range(len(new.envelope.recipients))), len(new.head), len(body))
        self.held[key] = entry
        return entry

    def new_queue_id(self) -> str:
        self._ids += 1
        return f"NEW{self._ids}"

    def linked(self, instance: int) -> None:
        self.linked_instances.append(instance)

    def sealed(self, segment: int) -> None:
        """Nothing is moved here."""

    def orphan(self, instance: int) -> None:
        self.orphans.append(instance)

    def sweep(self, now: float) -> None:
        """Nothing is moved here."""
