"""What became of recipients, made durable; and the messages that follow from it."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial

from msgspec import Struct
from msgspec.structs import replace

from postwarden.mail.decision import Missing, Pending
from postwarden.mail.envelope import Envelope
from postwarden.mail.events import Delivered, Failure, Notice, Warn
from postwarden.mail.queue import Change, Content, Damaged, Entry, Key
from postwarden.mail.round import Kind, Outcomes, Remark, Report, Round
from postwarden.mail.status import Status
from postwarden.net.clock import Clock, Timer
from postwarden.net.log import Log
from postwarden.schedule.message import Message
from postwarden.schedule.ports import Ledger, Recorder
from postwarden.schedule.spawning import Spawned, Spawner, Told, recorded

_BATCH = 64
UNTELLABLE = Status("4.3.0", "internal error")
UNREADABLE = Status("4.3.0", "queue file can't be read")


def read(ledger: Ledger, entry: Entry) -> Content:
    """Head and body, from memory or from the spool. Raises Damaged, OSError."""
    if entry.head is not None and entry.body is not None:
        return Content(entry.head, entry.body)
    return ledger.content(entry.key)


@contextmanager
def closing(content: Content) -> Iterator[Content]:
    try:
        yield content
    finally:
        if content.fd >= 0:
            os.close(content.fd)


class Settler:
    """Changes are gathered for `lag` seconds, or until there are `_BATCH`: a commit costs a sync and a switch of
    threads, and nobody waits for it; what is gathered when the process is killed is delivered twice.

    `next_try` gives the due time of a deferred message, `admit` takes up a spawned one, `over` hears that a round of
    a message has ended and is durable."""

    def __init__(
        self,
        ledger: Ledger,
        log: Log,
        clock: Clock,
        *,
        lag: float,
        next_try: Callable[[Entry], float],
        admit: Callable[[Entry], None],
        over: Callable[[Message], None],
    ) -> None:
        self._ledger = ledger
        self._emit = log.emit
        self._next_try = next_try
        self._admit = admit
        self._over = over
        self._clock = clock
        self._lag = lag
        self._batch: list[tuple[Entry, Change, Callable[[tuple[Entry, ...]], None]]] = []
        self._timer: Timer | None = None
        self.recorder: Recorder | None = None
        self.busy = 0
        """Changes that are not durable yet."""

    def settle(self, message: Message, spawner: Spawner, *, last: bool) -> None:
        """Make what became of recipients durable. Before the `last` time only what is sent. Raises Pending where
        content does; nothing has happened then."""
        entry = message.entry
        told = _NOTHING
        try:
            traced = spawner.traced(entry, message.sent)
            if message.forwards or (last and _tells(message, traced)):
                told = self._spawn(message, spawner, traced, last=last)
                traced = told.traced or traced
        except Pending:
            raise
        except Exception as error:  # a bug of ours with one message would keep it in our hands for ever
            self._emit("qmgr", Failure(f"{entry.envelope.queue_id}: internal error: {error!r}"))
            traced = _tell_nobody(message)
        finals, message.sent = message.sent, []
        deferred: tuple[tuple[int, Status], ...] = ()
        due = 0.0
        untold: Outcomes = traced
        if last:
            if message.failed or message.expired:
                finals += message.failed + message.expired
            deferred = tuple(message.deferred)
            due = message.away or (self._next_try(entry) if deferred else 0.0)
            untold = ()
        if untold:
            indices = {index for index, _ in finals}
            untold = tuple([both for both in untold if both[0] in indices])
            message.untold.update(untold)
        spawned = tuple([s.message for s in told.spawned]) if told.spawned else ()
        change = Change(
            entry.key, tuple(finals), deferred, due, spawned,
            warned=told.late, sites=message.sites, untold=tuple(untold), told=told.first,
        )  # fmt: skip
        self._gather(entry, change, partial(self._settled, message, told, last))

    def _gather(self, entry: Entry, change: Change, done: Callable[[tuple[Entry, ...]], None]) -> None:
        if self._batch and self._batch[-1][0] is entry and _only_finals(self._batch[-1][1]):
            # Each change costs as much as its message has recipients: for a mailing of 50,000 that is much.
            change = replace(change, finals=self._batch.pop()[1].finals + change.finals)
        else:
            self.busy += 1
        self._batch.append((entry, change, done))
        if len(self._batch) >= _BATCH or not self._lag:
            self.flush()
        elif self._timer is None:
            self._timer = self._clock.call_later(self._lag, self.flush)

    def flush(self) -> None:
        """Hand over what was gathered, in order."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        batch, self._batch = self._batch, []
        settle = self._ledger.settle
        for at, (entry, change, done) in enumerate(batch):
            try:
                settle(change if change.key == entry.key else _moved(change, entry.key), done)
            except Exception:
                # A bug with one message. What became of the others was delivered, too, and must be known.
                self.busy -= 1
                self._batch = batch[at + 1 :] + self._batch
                self.flush()
                raise

    def _spawn(self, message: Message, spawner: Spawner, traced: Outcomes, *, last: bool) -> "_Told":
        """Forwards are stored with the outcome of their recipient: one that has failed waits for the end."""
        entry = message.entry
        now = {index for index, _ in (*message.sent, *(message.failed if last else ()))}
        forwards = [both for both in message.forwards if both[0] in now]
        wanted = spawner.reports(entry.envelope, _round(message, spawner, traced)) if last else ()
        if not forwards and not any(isinstance(one, Report) for one in wanted):
            return _Told([], [one for one in wanted if isinstance(one, Remark)], late=message.warn, first=last)
        try:
            content = read(self._ledger, entry)
        except (Damaged, OSError) as error:
            self._emit("qmgr", Failure(f"{entry.envelope.queue_id}: {error}"))
            _put_off(message, [(index, UNREADABLE) for index, _ in forwards])
            forwards, content = [], Content(b"", b"")
        with closing(content):
            missing = Missing()
            unmade: Spawned | Status = UNREADABLE
            made = [
                (index, missing.answer(partial(spawner.forward, entry, index, forward, content), unmade))
                for index, forward in forwards
            ]
            missing.check()
            refused = {index: result for index, result in made if isinstance(result, Status)}
            traced = recorded(entry.envelope, traced, made)
            if made and last:
                wanted = spawner.reports(entry.envelope, _round(message, spawner, traced, refused))
            told = spawner.report(entry, wanted, content) if wanted else Told([], [], set())
        # Nothing was changed until here: Pending may come from any of the calls above.
        message.forwards = [both for both in message.forwards if both[0] not in now]
        self._refuse(message, refused)
        spawned = [result for _, result in made if isinstance(result, Spawned) and result.forwarded not in refused]
        outcome = self._told(message, spawned, told, last=last)
        outcome.traced = traced
        return outcome

    def _told(self, message: Message, spawned: list[Spawned], told: Told, *, last: bool) -> "_Told":
        """What can't be reported can't fail: those recipients are tried again."""
        for kind, outcomes in ((Kind.FAILURE, message.failed), (Kind.EXPIRY, message.expired)):
            if kind in told.untold:
                unreported = {index for index, _ in outcomes}
                _put_off(message, outcomes[:])
                spawned = [new for new in spawned if new.forwarded not in unreported]
        late = message.warn and Kind.DELAY not in told.untold
        return _Told([*spawned, *told.spawned], told.remarks, late=late, first=last)

    def _refuse(self, message: Message, refused: Mapping[int, Status]) -> None:
        """Content did not take these forwards: too many hops, or a table that can't answer."""
        envelope = message.entry.envelope
        _put_off(message, list(refused.items()))
        message.failed += [both for both in refused.items() if both[1].code[:1] == "5"]
        message.deferred = [both for both in message.deferred if both not in message.failed]
        for index, status in refused.items():
            to = envelope.recipients[index]
            delays = (max(message.active - envelope.arrival, 0.0), 0.0, 0.0, 0.0)
            self._emit("local", Delivered(envelope.queue_id, to.address, to.original, status, delays))

    def _settled(self, message: Message, told: "_Told", last: bool, entries: tuple[Entry, ...]) -> None:
        self.busy -= 1
        for remark in told.remarks:
            text = f"{message.entry.envelope.queue_id}: {remark.text}"
            self._emit("bounce", Warn(text) if remark.warning else Notice(text))
        for made, entry in zip(told.spawned, entries, strict=True):
            envelope = entry.envelope
            if made.forwarded >= 0:
                self._emit("local", _forwarded(message, made, envelope))
            if made.notice:
                self._emit("bounce", Notice(f"{message.entry.envelope.queue_id}: {made.notice}: {envelope.queue_id}"))
            if self.recorder is not None:
                self.recorder.stored(envelope, parent=message.entry.envelope.queue_id, remade=made.remade)
            self._admit(entry)
        if last:
            self._over(message)


class _Told(Struct):
    """What a settlement stores beside outcomes, and what it says."""

    spawned: list[Spawned]
    remarks: list[Remark]
    late: bool = False
    """The sender now knows that the message is late."""
    first: bool = False
    """He knows of all successes that he wants to know of, and the first round is over."""
    traced: Outcomes = ()
    """As it was, with what forwards are called."""


_NOTHING = _Told([], [])


def _tells(message: Message, traced: Outcomes) -> bool:
    """Whether anybody may have to hear of a round."""
    entry = message.entry
    return bool(
        message.failed
        or message.expired
        or message.warn
        or traced
        or entry.untold
        or message.untold
        or ((entry.envelope.expanded or entry.envelope.trace) and not entry.told)
    )


def _round(message: Message, spawner: Spawner, traced: Outcomes, refused: Mapping[int, Status] | None = None) -> Round:
    """`refused`: forwards that content did not take, and why."""
    entry, refused = message.entry, refused or {}
    hopeless = [(index, status) for index, status in refused.items() if status.code[:1] == "5"]
    failed = [both for both in message.failed if both[0] not in refused] + hopeless
    late = message.deferred if message.warn else []
    others = spawner.traced(entry, [*failed, *message.expired, *message.deferred]) if entry.envelope.trace else ()
    sent = [both for both in traced if both[0] not in refused]
    return Round(
        tuple(failed),
        tuple(message.expired),
        tuple(late),
        (*{**entry.untold, **message.untold}.items(), *sent, *others),
        first=not entry.told,
    )


def _forwarded(message: Message, made: Spawned, new: Envelope) -> Delivered:
    """What local(8) says of an alias that leads elsewhere: it learns here what the new queue id is."""
    envelope = message.entry.envelope
    recipient = envelope.recipients[made.forwarded]
    delays = (max(message.active - envelope.arrival, 0.0), 0.0, 0.0, max(new.arrival - message.active, 0.0))
    status = Status("2.0.0", f"forwarded as {new.queue_id}", made.by)
    return Delivered(envelope.queue_id, recipient.address, recipient.original, status, delays)


def _only_finals(change: Change) -> bool:
    """It can be made with the next one of its message; nobody waits for it."""
    return not (change.deferred or change.due or change.spawned or change.warned or change.untold or change.told)


def _tell_nobody(message: Message) -> Outcomes:
    """What can't be reported or forwarded is tried again."""
    forwarded = {index for index, _ in message.forwards}
    unmade = [both for both in message.sent if both[0] in forwarded]
    _put_off(message, [(index, UNTELLABLE) for index, _ in (*unmade, *message.failed, *message.expired)])
    message.forwards, message.warn = [], False
    return ()


def _moved(change: Change, key: Key) -> Change:
    """The message went to queue.db in between."""
    spawned = tuple([replace(new, body_of=key) if new.body_of is not None else new for new in change.spawned])
    return replace(change, key=key, spawned=spawned)


def _put_off(message: Message, outcomes: list[tuple[int, Status]]) -> None:
    """What can't be read or prepared can't be forwarded, and what can't be reported can't fail: those recipients are
    tried again."""
    indices = {index for index, _ in outcomes}
    message.sent = [(index, status) for index, status in message.sent if index not in indices]
    message.failed = [(index, status) for index, status in message.failed if index not in indices]
    message.expired = [(index, status) for index, status in message.expired if index not in indices]
    message.deferred += outcomes
