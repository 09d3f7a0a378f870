"""The courier's side of the spool in memory: what `spool.ledger.Ledger` promises, durable when a test says so."""

import os
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence

from msgspec.msgpack import encode

from postwarden.ipc.records import Stored
from postwarden.mail.queue import (
    HOLD,
    Change,
    Content,
    Cursor,
    Damaged,
    Entry,
    Key,
    Listed,
    NewMessage,
    SpoolError,
    State,
)

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
        self._flushing: list[Key] = []
        self._sites: dict[Key, tuple[str, ...]] = {}
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
        due = HOLD if stored.envelope.hold else 0.0
        return Entry(key, stored.envelope, everybody, len(stored.head), len(body), due=due)

    def due(self, now: float, limit: int = 500) -> tuple[Entry, ...]:
        ready = [key for key, entry in self.away.items() if entry.due <= now or key in self._flushing][:limit]
        found = [self.away.pop(key) for key in ready]
        self._flushing = [key for key in self._flushing if key in self.away]
        while self.waiting and len(found) < limit:
            found.append(self.waiting.popleft()[1])
        for entry in found:
            self.held[entry.key] = entry
        return tuple(found)

    def last_due(self) -> float | None:
        if self._flushing:
            return None
        return max((entry.due for entry in self.away.values() if entry.due < HOLD), default=None)

    def flush(self) -> None:
        self._flushing = [key for key, entry in self.away.items() if entry.due < HOLD]

    def flush_site(self, site: str) -> None:
        of_site = [key for key, sites in self._sites.items() if site in sites and key in self.away]
        self._flushing += [key for key in of_site if self.away[key].due < HOLD]

    # by name

    def _unheld(self) -> dict[Key, Entry]:
        return {**self.away, **dict(self.waiting)}

    def find(self, queue_ids: Collection[str]) -> list[Entry]:
        return self.pick([key for key, entry in self._unheld().items() if entry.envelope.queue_id in queue_ids])

    def pick(self, keys: Collection[Key]) -> list[Entry]:
        found = [entry for key, entry in self._unheld().items() if key in keys]
        for entry in found:
            self.away.pop(entry.key, None)
            self.held[entry.key] = entry
        self.waiting = deque([both for both in self.waiting if both[0] not in self.held])
        return found

    def put_back(self, entry: Entry) -> None:
        del self.held[entry.key]
        if entry.due:
            self.away[entry.key] = entry
        else:
            self.waiting.append((entry.key, entry))

    def peek(self, queue_id: str) -> tuple[Listed, Content] | None:
        for key, entry in {**self._unheld(), **self.held}.items():
            if entry.envelope.queue_id == queue_id:
                return self._listed(key, entry), self._content(key)
        return None

    def page(self, after: Cursor | None, limit: int = 500) -> tuple[list[Listed], Cursor | None]:
        start = after[0] if after is not None else 0
        found = [self._listed(key, entry) for key, entry in sorted({**self._unheld(), **self.held}.items())]
        end = start + limit
        return found[start:end], (end, 0, 0, 0) if end < len(found) else None

    def _listed(self, key: Key, entry: Entry) -> Listed:
        state = State(
            entry.open, entry.attempts, entry.reasons, entry.warned, entry.expired, entry.untold, entry.told
        )  # fmt: skip
        queue_id = entry.envelope.queue_id
        return Listed(key, queue_id, entry.due, key in self.held, encode(entry.envelope), encode(state))

    def import_(self, messages: Sequence[NewMessage], done: Callable[[], None]) -> None:
        for new in messages:
            entry = self._spawn(new)
            if not entry.due:
                self.put_back(entry)
        if self._later is not None:
            self._later(done)
        else:
            done()

    # content

    def content(self, key: Key) -> Content:
        if key in self.damaged or key not in self.held:
            raise Damaged(f"{key} can't be read")
        return self._content(key)

    def _content(self, key: Key) -> Content:
        head, body = self.contents[key]
        if key in self.files:
            return Content(head, None, os.open(self.files[key], os.O_RDONLY), 0, len(body))
        return Content(head, body)

    def settle(self, change: Change, done: Done) -> None:
        entry = self.held.get(change.key)
        if entry is None:
            raise SpoolError(f"nobody holds {change.key}")
        final = {index for index, _ in change.finals}
        entry.open = tuple(index for index in entry.open if index not in final)
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
        entry.reasons = {**entry.reasons, **dict(change.deferred)}
        entry.warned |= change.warned
        entry.expired |= change.expired
        entry.due = HOLD if change.held else entry.due
        if change.told:
            entry.told, entry.untold = True, {}
        entry.untold.update(change.untold)
        if any(other.key == change.key for other, _ in self._pending):
            return spawned  # the last of its changes ends its life, or puts it away
        if not entry.open:
            del self.held[change.key], self.contents[change.key]
        elif change.due:
            entry.attempts += bool(change.deferred)
            entry.due = change.due
            self._sites[change.key] = change.sites
            self.away[change.key] = self.held.pop(change.key)
        return spawned

    def _spawn(self, new: NewMessage) -> Entry:
        self._rows += 1
        key = (0, self._rows)
        body = new.body if new.body_of is None else self.contents[new.body_of][1]
        self.contents[key] = (new.head, body)
        entry = Entry(
            key, new.envelope, new.open, len(new.head), len(body),
            new.attempts, new.due, dict(new.reasons), warned=new.warned, untold=dict(new.untold),
        )  # fmt: skip
        (self.away if new.due else self.held)[key] = entry
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
