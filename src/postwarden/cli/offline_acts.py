"""What postsuper does with messages while the gateway does not run."""

import asyncio
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from itertools import islice

from msgspec import MsgspecError

from postwarden import inside
from postwarden.cli.tool import Voice
from postwarden.config.settings import Settings
from postwarden.ipc.queue_records import DELETE, EXPIRE, HOLD, PAGE, RELEASE, REQUEUE
from postwarden.mail import queue as mail_queue
from postwarden.mail.address import external
from postwarden.mail.decision import settle
from postwarden.mail.events import Failure, Notice, Warn, printable
from postwarden.mail.queue import Change, Damaged, Entry, Listed, NewMessage
from postwarden.mail.status import Status
from postwarden.schedule.ports import Clerk
from postwarden.schedule.requeueing import anew, requeued
from postwarden.schedule.settling import closing
from postwarden.spool.layout import spool_directory
from postwarden.spool.offline import OfflineQueue
from postwarden.trace.files import Writer, directory
from postwarden.trace.records import Operated

_DELETED = Status("2.0.0", "deleted")


class OfflineActs:
    """The courier's `Act`, done by hand: what is answered is durable."""

    def __init__(self, queue: OfflineQueue, settings: Settings, voice: Voice) -> None:
        self._queue = queue
        self._settings = settings
        self._voice = voice

    def act(self, operation: str, queue_ids: Iterable[str], queues: Sequence[str] = ()) -> Iterator[str]:
        source = iter(dict.fromkeys(queue_ids))
        while some := list(islice(source, PAGE)):
            entries = {entry.envelope.queue_id: entry for entry in self._queue.find(some)}
            yield from self._do(operation, [entries[one] for one in some if one in entries], queues)

    def act_on_all(self, operation: str, queues: Sequence[str] = ()) -> Iterator[str]:
        """Page by page; what is requeued meanwhile is met again, and left alone."""
        began = time.time()
        listing = self._queue.listing()
        while page := list(islice(listing, PAGE)):
            old: list[Entry] = []
            new: list[Entry] = []
            for entry in self._queue.pick([listed.key for listed in page if _concerned(operation, listed, queues)]):
                (old if entry.envelope.created < began else new).append(entry)
            for entry in new:
                self._queue.put_back(entry)
            yield from self._do(operation, old, queues)

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
            self._record(operation, done)
        return done

    def _record(self, operation: str, queue_ids: list[str]) -> None:
        """For `explain`, beside what the courier records."""
        recorder = self._recorder
        if recorder is not None:
            now = time.time()
            for queue_id in queue_ids:
                recorder.add(Operated(now, queue_id, operation))
            with self._queue.as_owner():
                recorder.flush()

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
        assert operation == REQUEUE
        new = self._requeued(entry)
        if isinstance(new, str):
            self._voice.say(Failure(f"{entry.envelope.queue_id}: not requeued: {new}"))
            return None
        return Change(entry.key, tuple([(index, _DELETED) for index in entry.open]), spawned=(new,))

    def _requeued(self, entry: Entry) -> NewMessage | str:
        """As if it came in now: content is prepared again, under a new queue id. A text: why not."""
        old, now = entry.envelope, time.time()
        clerk, received = self._requeuing
        envelope = anew(entry, self._queue.new_queue_id(), now, inside.pickup_filter(self._settings))
        try:
            with closing(self._queue.content(entry.key)) as content:
                head = received(envelope.queue_id, now) + content.head
            prepared = asyncio.run(settle(lambda: clerk(envelope, head)))
        except (Damaged, OSError) as error:
            return str(error)
        if isinstance(prepared, Status):
            return prepared.text
        sender = printable(external(old.sender))
        said = f"{prepared[0].queue_id}: uid={self._uid} from=<{sender}> orig_id={old.queue_id}"
        self._voice.emit("pickup", Notice(said))
        return requeued(entry, *prepared, now)

    @cached_property
    def _recorder(self) -> Writer | None:
        if not self._settings.value("postwarden_trace"):
            return None
        path = directory(spool_directory(self._settings.text("queue_directory")))
        return Writer(path, "postsuper", time.time, lambda text: self._voice.say(Warn(text)))

    @cached_property
    def _requeuing(self) -> tuple[Clerk, Callable[[str, float], bytes]]:
        return inside.requeuing(self._settings, self._uid, self._voice)

    @cached_property
    def _uid(self) -> int:
        """Whose the queue is: whoever takes requeued mail up while the mail system runs."""
        return os.stat(spool_directory(self._settings.text("queue_directory"))).st_uid


def _concerned(operation: str, listed: Listed, queues: Sequence[str]) -> bool:
    """Whether it is worth taking up: to put back what is left as it was costs a commit."""
    held = listed.due >= mail_queue.HOLD
    if (operation == RELEASE and not held) or (operation == HOLD and held):
        return False
    try:
        state = listed.state()
    except MsgspecError:
        return False
    return not (operation == EXPIRE and state.expired) and (not queues or listed.queue(state) in queues)


def _queue(entry: Entry) -> str:
    if entry.due >= mail_queue.HOLD:
        return "hold"
    return "deferred" if entry.due and entry.attempts else "incoming"
