"""What postsuper does with messages while the gateway does not run."""

import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from msgspec import MsgspecError

from postwarden.config.settings import Settings
from postwarden.ipc.queue_records import DELETE, EXPIRE, HOLD, PAGE, RELEASE
from postwarden.mail import queue as mail_queue
from postwarden.mail.queue import Change, Entry
from postwarden.mail.status import Status
from postwarden.spool.offline import OfflineQueue

_DELETED = Status("2.0.0", "deleted")


class OfflineActs:
    """The courier's `Act`, done by hand: what is answered is durable."""

    def __init__(self, queue: OfflineQueue, settings: Settings) -> None:
        self._queue = queue
        self._settings = settings

    def act(self, operation: str, queue_ids: Iterable[str], queues: Sequence[str] = ()) -> Iterator[str]:
        source = iter(dict.fromkeys(queue_ids))
        while some := list(islice(source, PAGE)):
            entries = {entry.envelope.queue_id: entry for entry in self._queue.find(some)}
            yield from self._do(operation, [entries[one] for one in some if one in entries], queues)

    def act_on_all(self, operation: str, queues: Sequence[str] = ()) -> Iterator[str]:
        """Those that are there at first: what is stored anew meanwhile is not met again."""
        wanted = []
        for listed in self._queue.listing():
            try:
                if not queues or listed.queue(listed.state()) in queues:
                    wanted.append(listed.queue_id)
            except MsgspecError:
                continue
        return self.act(operation, wanted, queues)

    def _do(self, operation: str, entries: list[Entry], queues: Sequence[str]) -> list[str]:
        changes, done = [], []
        for entry in entries:
            change = self._change(operation, entry) if not queues or _queue(entry) in queues else None
            if change is None:
                self._queue.put_back(entry)
                continue
            changes.append(change)
            done.append(entry.envelope.queue_id)
        if changes:
            self._queue.settle(changes)
        return done

    def _change(self, operation: str, entry: Entry) -> Change | None:
        """None: there is nothing to do."""
        held = entry.due >= mail_queue.HOLD
        if operation == DELETE:
            return Change(entry.key, finals=tuple([(index, _DELETED) for index in entry.open]))
        if operation == HOLD:
            return None if held else Change(entry.key, due=mail_queue.HOLD)
        if operation == RELEASE:
            return Change(entry.key, due=time.time()) if held else None
        if operation == EXPIRE:
            return None if entry.expired else Change(entry.key, due=entry.due or time.time(), expired=True)
        raise NotImplementedError(operation)


def _queue(entry: Entry) -> str:
    if entry.due >= mail_queue.HOLD:
        return "hold"
    return "deferred" if entry.due and entry.attempts else "incoming"
