"""What operators do with messages: delete, hold, release, requeue, expire; flush some of them.

A message that nobody holds is taken from the ledger and changed. One in the courier's hands is first put away: what
has not begun is pulled back, what is being delivered ends as it ends (a deletion does not wait for it). All is durable
before it is said to be done.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial

from msgspec.msgpack import encode
from msgspec.structs import replace

from postwarden.ipc import queue_records as ask
from postwarden.mail.address import external
from postwarden.mail.decision import Pending
from postwarden.mail.events import Failure, Notice, printable
from postwarden.mail.queue import HOLD, Change, Content, Cursor, Damaged, Entry, Listed, NewMessage, State
from postwarden.mail.remade import Remade
from postwarden.mail.status import Status
from postwarden.schedule.message import Delivery
from postwarden.schedule.ports import Recorder
from postwarden.schedule.requeueing import anew, requeued
from postwarden.schedule.rounds import Rounds
from postwarden.schedule.scheduler import Scheduler
from postwarden.schedule.settling import closing, read

_DELETED = Status("5.0.0", "deleted by an operator")
_FROM_HOLD = (ask.RELEASE, ask.FORCE_EXPIRE)
_AT_ONCE = 1.0
"""A due time that has always come: the message is looked for now, not at the next queue run."""


_ROUNDS = 200
"""Facts that content may want for one message; more is an endless loop."""


class Acting:
    """One operation on some messages, under way."""

    def __init__(
        self, operation: str, queues: Collection[str], finished: Callable[[], None], recorder: Recorder | None = None
    ) -> None:
        self.operation = operation
        self.queues = frozenset(queues)
        self.done: list[str] = []
        """Queue ids of those it was done with, durable."""
        self.waiting: set[str] = set()
        """Of those that are still being delivered: it will be done."""
        self._finished = finished
        self._recorder = recorder
        self._open = 1

    def begin(self) -> None:
        self._open += 1

    def end(self, queue_id: str = "") -> None:
        """One is through; `queue_id`: it was done."""
        if queue_id:
            self.done.append(queue_id)
            if self._recorder is not None:
                self._recorder.operated(queue_id, self.operation)
        self._open -= 1
        if not self._open:
            self._finished()

    @property
    def only_waits(self) -> bool:
        """All but what is being delivered is done."""
        return self._open == len(self.waiting)

    def wanted(self, queue: str) -> bool:
        return not self.queues or queue in self.queues


class Operations:
    def __init__(self, rounds: Rounds, scheduler: Scheduler[Delivery], look: Callable[[], None]) -> None:
        """`look` has the courier look for what is due."""
        self._rounds = rounds
        self._scheduler = scheduler
        self._look = look

    # some messages

    def act(self, operation: str, queue_ids: Iterable[str], queues: Sequence[str], over: Callable[[], None]) -> Acting:
        """Do it with these; `over` is called when all is durable, perhaps before this returns."""
        acting = Acting(operation, queues, over, self._rounds.recorder)
        away = [queue_id for queue_id in dict.fromkeys(queue_ids) if not self._in_hand(acting, queue_id)]
        if away:
            self._take(acting, self._rounds.parts.ledger.find(away))
        acting.end()
        return acting

    def act_on(self, operation: str, page: Sequence[Listed], queues: Sequence[str], over: Callable[[], None]) -> Acting:
        """The same for what was just listed."""
        acting = Acting(operation, queues, over, self._rounds.recorder)
        away = [listed.key for listed in page if not self._in_hand(acting, listed.queue_id)]
        if away:
            self._take(acting, self._rounds.parts.ledger.pick(away))
        acting.end()
        return acting

    def page(self, after: Cursor | None, limit: int = ask.PAGE) -> tuple[list[Listed], Cursor | None]:
        """A page of the ledger, with what has become of the messages in hand by now."""
        found, after = self._rounds.parts.ledger.page(after, limit)
        return [self._up_to_date(listed) if listed.held else listed for listed in found], after

    def _up_to_date(self, listed: Listed) -> Listed:
        """What a round has come to is stored when it ends; who looks at the queue sees it before."""
        message = self._rounds.messages.get(listed.queue_id)
        if message is None or not (message.sent or message.failed or message.deferred):
            return listed
        entry = message.entry
        final = {index for index, _ in (*message.sent, *message.failed)}
        left = tuple([index for index in entry.open if index not in final])
        reasons = entry.reasons | dict(message.deferred)
        state = State(left, entry.attempts, reasons, entry.warned, entry.expired)
        return replace(listed, raw_state=encode(state))

    def peek(self, queue_id: str) -> tuple[Listed, Content] | None:
        """A message as it is stored. Raises Damaged, OSError."""
        return self._rounds.parts.ledger.peek(queue_id)

    def _in_hand(self, acting: Acting, queue_id: str) -> bool:
        """Begin with a message that the courier holds; False if it does not."""
        rounds = self._rounds
        message = rounds.messages.get(queue_id)
        if message is None:
            return self._parked(acting, queue_id)
        operation = acting.operation
        on_hold = message.entry.due >= HOLD
        already = operation == (ask.HOLD if on_hold else ask.RELEASE)
        if already or not acting.wanted("hold" if on_hold else "active"):
            return True
        if operation == ask.EXPIRE and message.entry.expired:
            return True
        acting.begin()
        if operation == ask.DELETE and rounds.discard(message, partial(acting.end, queue_id)):
            return True
        if operation in (ask.EXPIRE, ask.FORCE_EXPIRE) and rounds.expire(message, partial(acting.end, queue_id)):
            return True
        if operation == ask.HOLD:
            acting.begin()
            if not rounds.record_hold(message, acting.end):
                acting.end()
        acting.waiting.add(queue_id)
        away = HOLD if operation == ask.HOLD else _AT_ONCE
        rounds.interrupt(message, away, partial(self._put_away, acting, queue_id))
        return True

    def _parked(self, acting: Acting, queue_id: str) -> bool:
        """The same for one that waits in memory until there is room for its recipients."""
        parked = self._rounds.parked
        entry = parked.get(queue_id)
        if entry is not None and self._concerns(acting, entry, "active"):
            del parked[queue_id]
            acting.begin()
            self._apply(acting, entry)
        return entry is not None

    def _put_away(self, acting: Acting, queue_id: str) -> None:
        """A message has left the courier's hands, as was asked for; or it is gone, or in its next round already."""
        acting.waiting.discard(queue_id)
        found = self._rounds.parts.ledger.find((queue_id,))
        if not found:
            self._in_hand(acting, queue_id)  # it may be in its next round already
            acting.end()
            return
        (entry,) = found
        if acting.operation == ask.HOLD and entry.due >= HOLD:
            self._rounds.parts.ledger.put_back(entry)
            acting.end(queue_id)
        else:
            self._apply(acting, entry)

    def _take(self, acting: Acting, entries: Iterable[Entry]) -> None:
        for entry in entries:
            acting.begin()
            waiting = "deferred" if entry.due and entry.attempts else "incoming"
            if self._concerns(acting, entry, waiting):
                self._apply(acting, entry)
            else:
                self._rounds.parts.ledger.put_back(entry)
                acting.end()

    def _concerns(self, acting: Acting, entry: Entry, queue: str) -> bool:
        held = entry.due >= HOLD
        if (acting.operation == ask.RELEASE and not held) or (acting.operation == ask.HOLD and held):
            return False
        if acting.operation == ask.EXPIRE and entry.expired:
            return False
        return acting.wanted("hold" if held else queue)

    def _apply(self, acting: Acting, entry: Entry) -> None:
        operation = acting.operation
        if operation == ask.REQUEUE:
            self._requeue(acting, entry)
            return
        if operation == ask.DELETE:
            change = Change(entry.key, tuple([(index, _DELETED) for index in entry.open]))
        elif operation == ask.HOLD:
            change = Change(entry.key, due=HOLD)
        else:
            release = operation in _FROM_HOLD and entry.due >= HOLD
            due = _AT_ONCE if release else entry.due or _AT_ONCE
            change = Change(entry.key, due=due, expired=operation != ask.RELEASE)
        self._settle(acting, entry, change)

    def _settle(self, acting: Acting, entry: Entry, change: Change, remade: tuple[Remade, ...] = ()) -> None:
        """`remade`: what content made of the addresses of the message in its place."""
        queue_id = entry.envelope.queue_id

        def settled(made: tuple[Entry, ...]) -> None:
            if (recorder := self._rounds.recorder) is not None:
                for new in made:
                    recorder.stored(new.envelope, parent=queue_id, remade=remade)
            if 0.0 < change.due < HOLD or change.spawned:
                self._look()
            acting.end(queue_id)

        self._rounds.parts.ledger.settle(change, settled)

    def _requeue(self, acting: Acting, entry: Entry, rounds: int = 0) -> None:
        """As if it came in now: content is prepared again, under a new queue id."""
        parts = self._rounds.parts
        old = entry.envelope
        try:
            with closing(read(parts.ledger, entry)) as content:
                new = self._prepared(entry, content.head)
        except Pending as pending:
            if rounds < _ROUNDS:
                parts.fetch(pending.fetch, partial(self._requeue, acting, entry, rounds + 1))
                return
            new = "too many facts are wanted for it"
        except (Damaged, OSError) as error:
            new = str(error)
        if isinstance(new, str):
            parts.log.emit("pickup", Failure(f"{old.queue_id}: not requeued: {new}"))
            parts.ledger.put_back(entry)
            acting.end()
            return
        text = (
            f"{new.envelope.queue_id}: uid={parts.uid} from=<{printable(external(old.sender))}> orig_id={old.queue_id}"
        )
        parts.log.emit("pickup", Notice(text))
        finals = tuple([(index, _DELETED) for index in entry.open])
        self._settle(acting, entry, Change(entry.key, finals, spawned=(new,)), parts.remade())

    def _prepared(self, entry: Entry, head: bytes) -> NewMessage | str:
        """Or why content refuses it. Raises Pending."""
        parts = self._rounds.parts
        envelope = anew(entry, parts.ledger.new_queue_id(), parts.clock.now(), parts.content_filter)
        head = parts.requeued(envelope.queue_id, envelope.created) + head
        prepared = parts.clerk(envelope, head)
        if isinstance(prepared, Status):
            return prepared.text
        return requeued(entry, *prepared, _AT_ONCE)

    # flush

    def flush_site(self, site: str) -> bool:
        """Try what waits for this site now; False: fast_flush_domains does not have it. Raises Pending."""
        site = site.lower()
        if not self._rounds.parts.served(site):
            return False
        self._scheduler.flush()
        self._rounds.parts.ledger.flush_site(site)
        self._look()
        return True

    def flush_message(self, queue_id: str) -> None:
        """Try this one now, unless it is on hold."""
        rounds = self._rounds
        if queue_id in rounds.messages:
            return
        self._scheduler.flush()
        parked = rounds.parked.pop(queue_id, None)
        for entry in [parked] if parked is not None else rounds.parts.ledger.find((queue_id,)):
            if entry.due >= HOLD:
                rounds.parts.ledger.put_back(entry)
            elif rounds.active < rounds.params.qmgr_message_active_limit:
                rounds.admit(entry, flushed=True)
            else:
                rounds.parts.ledger.settle(Change(entry.key, due=_AT_ONCE), lambda _: self._look())
