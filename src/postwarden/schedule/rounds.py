"""Rounds of messages: taken up, planned, delivered or not, settled; then removed, or put away until the next round.

The core judges nothing that it is told by a carrier beyond its form: a result that makes no sense is a deferral.

A message is returned for its age only when a round has failed that began after the calendar was last set, and what it
waits for was tried in that time: a machine that was off for a week tries everything once before it gives up.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType

from postwarden.ipc.records import Forward
from postwarden.mail.decision import Missing, Pending
from postwarden.mail.events import Delivered, Failure, Queued, Removed, Returned
from postwarden.mail.queue import HOLD, Change, Entry
from postwarden.mail.remade import Remade
from postwarden.mail.status import Status
from postwarden.schedule import lifetimes
from postwarden.schedule.calendar import Calendar
from postwarden.schedule.message import Delivery, Message
from postwarden.schedule.params import CourierParams
from postwarden.schedule.parts import Parts
from postwarden.schedule.planning import RESOLVER_FAILURE, Group, Plan
from postwarden.schedule.ports import Inside, Recorder
from postwarden.schedule.receivers import Sender
from postwarden.schedule.scheduler import BELOW, Scheduler, lane
from postwarden.schedule.settling import Settler

ENOUGH = Status("4.7.0", "message is administratively expired")
_ALL_SMALL: Mapping[str, int] = MappingProxyType({})
_DELETED = Status("5.0.0", "deleted by an operator")
_PASSES = 5
_ROUND_AND_ROUND = Status("4.3.5", "mailbox_transport leads from one transport to another without end")
_ROUNDS = 10_000
"""Facts that the addresses of one message may have to be looked up for; more is an endless loop."""


class Rounds:
    """All that is in the courier's hands. `changed` is called when a message has left, `soon` when there is work."""

    def __init__(
        self,
        parts: Parts,
        scheduler: Scheduler[Delivery],
        params: CourierParams,
        *,
        lag: float,
        changed: Callable[[], None],
        soon: Callable[[], None],
    ) -> None:
        self.parts, self.params = parts, params
        self.calendar = Calendar(parts.clock)
        self.settler = Settler(
            parts.ledger,
            parts.log,
            parts.clock,
            lag=lag,
            next_try=self._next_try,
            admit=self.admit,
            over=self._over,
        )
        self.messages: dict[str, Message] = {}
        """By queue id."""
        self.active = 0
        self.recipients = 0
        """Open ones of all messages, when they were taken up."""
        self.unsettled = 0
        """Messages of which something was delivered that can't be settled before a fact has been fetched."""
        self.parked: dict[str, Entry] = {}
        """Held, and not taken up: there are too many recipients in memory."""
        self._scheduler = scheduler
        self._clock = parts.clock
        self._emit = parts.log.emit
        self._changed = changed
        self._soon = soon
        self.recorder: Recorder | None = None

    # taking up

    def admit(self, entry: Entry, sender: Sender | None = None, *, flushed: bool = False) -> None:
        message = Message(entry, self._clock.now())
        message.flushed = flushed
        message.release = sender
        message.jumps = self.calendar.jumps
        envelope = entry.envelope
        self.messages[envelope.queue_id] = message
        self.active += 1
        message.weight = len(entry.open)
        self.recipients += message.weight
        self._emit("qmgr", Queued(envelope.queue_id, envelope.sender, envelope.size, len(entry.open)))
        if entry.expired:
            message.deferred += [(index, entry.reasons[index]) for index in entry.open if index in entry.reasons]
            never = [(index, ENOUGH) for index in entry.open if index not in entry.reasons]
            self._start(message, Plan([], never))
        else:
            self._plan(message)

    def probe(self, message: Message) -> None:
        """One that is only in memory. Its outcomes are in `sent` when `Message.probe` is called."""
        envelope = message.entry.envelope
        self._emit("qmgr", Queued(envelope.queue_id, envelope.sender, envelope.size, len(message.entry.open)))
        self._plan(message)

    def record(self, recorder: Recorder | None) -> None:
        """Who is told what becomes of messages; None: nobody."""
        self.recorder = self.settler.recorder = recorder

    def room_for(self, recipients: int) -> bool:
        """Messages of few recipients pass those of many."""
        params = self.params
        few = recipients <= params.qmgr_message_recipient_minimum
        return few or self.recipients < params.qmgr_message_recipient_limit

    def park(self, entry: Entry) -> None:
        entry.head = entry.body = None
        self.parked[entry.envelope.queue_id] = entry

    def unpark(self) -> list[Entry]:
        """The next, when there is room."""
        if not self.parked or self.recipients >= self.params.qmgr_message_recipient_limit:
            return []
        return [self.parked.pop(next(iter(self.parked)))]

    def put_on_hold(self, entry: Entry) -> None:
        """What came in like this. It was never taken up, and is not in the log."""
        self.parts.ledger.settle(Change(entry.key, due=HOLD), lambda _: None)
        entry.head = entry.body = None

    def _plan(self, message: Message, rounds: int = 0) -> None:
        if message.gone:
            return
        try:
            probing = None if message.probe is None else self.parts.probing
            planner = self.parts.planner if probing is None else probing.planner
            plan = planner.plan(message.entry, flushed=message.flushed)
        except Pending as pending:
            if rounds < _ROUNDS:
                self.parts.fetch(pending.fetch, partial(self._plan, message, rounds + 1))
                return
            plan = _hopeless(message)
        except Exception as error:  # a bug of ours with one address would keep this one, and its page, for ever
            self._emit("qmgr", Failure(f"{message.entry.envelope.queue_id}: internal error: {error!r}"))
            plan = _hopeless(message)
        self._start(message, Plan([], []) if message.away else plan)

    def _start(self, message: Message, plan: Plan) -> None:
        message.started = True
        message.pending = message.queued = len(plan.groups)
        message.pending += 1  # until all groups are placed
        if plan.remade:
            self.remade(message, plan.remade)
        for index, status in plan.refused:
            self.fail(message, (index,), status)
        lanes = _lanes(plan.groups)
        for group in plan.groups:
            self._place(message, group, lanes.get(group.limits.name, 0))
        if not plan.groups:
            message.drop_content()
        self.part_done(message)
        self._soon()

    def _place(self, message: Message, group: Group, lane: int, passes: int = 0) -> None:
        delivery = Delivery(message, group.limits.name, group.nexthop, group.indices, group.recipients, passes=passes)
        inside = self.parts.inside.get(group.limits.pool)
        if inside is not None:
            self._perform(delivery, inside, group.limits.pool)
            return
        if message.probe is not None:
            lane = BELOW
        destination = self._scheduler.add(delivery, group.limits.name, group.key, lane)
        if isinstance(destination, Status):
            self._give_up(delivery, destination)
        else:
            delivery.destination = destination
            message.deliveries.append(delivery)

    def hand_on(self, delivery: Delivery, forward: Forward) -> None:
        """A recipient of a delivery that has ended goes on by another transport, in the same round."""
        message = delivery.message
        if message.away:
            return  # it stays open, and is taken up again later
        at = forward.recipient_index
        index, recipient = delivery.indices[at], delivery.recipients[at]
        if delivery.passes >= _PASSES:
            self.fail(message, (index,), _ROUND_AND_ROUND)
            return
        group = self.parts.planner.direct(forward.transport, forward.nexthop, index, recipient)
        if isinstance(group, Status):
            self.fail(message, (index,), group)
            return
        message.pending += 1
        message.queued += 1
        self._place(message, group, 0, delivery.passes + 1)

    def _perform(self, delivery: Delivery, inside: Inside, program: str) -> None:
        message = delivery.message
        sender = message.entry.envelope.sender
        for index, recipient in zip(delivery.indices, delivery.recipients, strict=True):
            self._log_here(message, index, inside(delivery.transport, delivery.nexthop, recipient, sender), program)
        self.unqueue(message)
        message.pending -= 1

    def _give_up(self, delivery: Delivery, status: Status) -> None:
        """A delivery that is not even tried."""
        self.fail(delivery.message, delivery.indices, status)
        self.unqueue(delivery.message)
        delivery.message.pending -= 1

    # outcomes

    def drop(self, delivery: Delivery, status: Status) -> None:
        """A delivery that has waited and is not tried."""
        self.fail(delivery.message, delivery.indices, status)
        self.unqueue(delivery.message)
        self.part_done(delivery.message)

    def withdraw(self, delivery: Delivery, status: Status) -> None:
        """One that has not begun does not take place."""
        if delivery.destination is not None and self._scheduler.remove(delivery.destination, delivery):
            self.drop(delivery, status)

    def fail(self, message: Message, indices: tuple[int, ...], status: Status) -> None:
        for index in indices:
            self._log_here(message, index, status, "error")

    def _log_here(self, message: Message, index: int, status: Status, program: str) -> None:
        """An outcome that no worker has logged."""
        if self.params.soft_bounce and message.probe is None:
            status = status.softened()
        envelope = message.entry.envelope
        if envelope.trace == "verify":
            status = status.foretold()
        recipient = envelope.recipients[index]
        delays = (max(message.active - envelope.arrival, 0.0), max(self._clock.now() - message.active, 0.0), 0.0, 0.0)
        self._emit(program, Delivered(envelope.queue_id, recipient.address, recipient.original, status, delays))
        self.note(message, index, status)

    @property
    def final(self) -> str:
        """Classes of status codes that end a recipient."""
        return "2" if self.params.soft_bounce else "25"

    def note(self, message: Message, index: int, status: Status, way: tuple[str, str] = ("", "")) -> None:
        """`way`: transport and next hop, where they were tried."""
        kind = status.code[:1]
        if self.recorder is not None and message.probe is None:
            envelope = message.entry.envelope
            self.recorder.attempted(envelope.queue_id, envelope.recipients[index], status, way)
        if message.entry.envelope.trace == "verify":
            message.sent.append((index, status if status.verified else status.foretold()))
            return
        if kind == "5" and self.params.soft_bounce:
            status = status.softened()
        if kind == "2":
            message.sent.append((index, status))
        elif kind in self.final and kind:
            message.failed.append((index, status))
        else:
            message.deferred.append((index, status))

    def remade(self, message: Message, steps: tuple[Remade, ...]) -> None:
        """What became of addresses on the way."""
        if self.recorder is not None and message.probe is None:
            self.recorder.remade(message.entry.envelope.queue_id, steps)

    def unqueue(self, message: Message) -> None:
        message.queued -= 1
        if not message.queued:
            message.drop_content()

    # the end of a round

    def part_done(self, message: Message) -> None:
        message.pending -= 1
        self._settle(message)

    def _settle(self, message: Message) -> None:
        if message.gone or (message.pending and not message.sent):
            return
        if message.probe is not None:
            if not message.pending:
                message.gone = True
                message.probe()
            return
        last = not message.pending
        try:
            if last and message.deferred:
                self._judge(message)
            self.settler.settle(message, self.parts.spawner, last=last)
        except Pending as pending:
            message.pending += 1
            self.unsettled += 1
            self.parts.fetch(pending.fetch, partial(self._fetched, message))

    def _fetched(self, message: Message) -> None:
        self.unsettled -= 1
        self.part_done(message)
        self._soon()

    def _judge(self, message: Message) -> None:
        """What was deferred may have been so for too long. Raises Pending, and can then be asked again."""
        entry = message.entry
        age = self.calendar.age(entry.envelope.created or entry.envelope.arrival)
        if entry.expired or (lifetimes.over(entry.envelope, age, self.params) and self._tried(message)):
            how = "force-expired" if entry.expired else "expired"
            self._emit("qmgr", Returned(entry.envelope.queue_id, entry.envelope.sender, how))
            message.expired += message.deferred
            message.deferred = []
            return
        message.warn = not entry.warned and lifetimes.late(age, self.params)
        message.sites = self._sites(message)

    def _tried(self, message: Message) -> bool:
        self.calendar.time()
        return message.jumps == self.calendar.jumps

    def _sites(self, message: Message) -> tuple[str, ...]:
        """What fast flush may ask for it by. A list that can't answer now costs the message a fast flush."""
        recipients = message.entry.envelope.recipients
        domains = {recipients[index].address.rpartition("@")[2].lower() for index, _ in message.deferred}
        missing, served = Missing(), self.parts.served
        sites = [domain for domain in sorted(domains) if domain and missing.answer(partial(served, domain), False)]
        missing.check()
        return tuple(sites)

    def _next_try(self, entry: Entry) -> float:
        since = entry.envelope.created or entry.envelope.arrival
        return self.calendar.time() + lifetimes.wait(self.calendar.age(since), self.params)

    def _over(self, message: Message) -> None:
        """A message has left the active queue."""
        self._leave(message)
        if not message.entry.open:
            queue_id = message.entry.envelope.queue_id
            self._emit("qmgr", Removed(queue_id))
            if self.recorder is not None:
                self.recorder.ended(queue_id)
        for call in message.then:
            call()

    def _leave(self, message: Message) -> None:
        queue_id = message.entry.envelope.queue_id
        if self.messages.get(queue_id) is message:
            del self.messages[queue_id]
        self.active -= 1
        self.recipients -= message.weight
        message.gone = True
        self._changed()

    # operators

    def interrupt(self, message: Message, away: float, then: Callable[[], None]) -> None:
        """Put it away until `away` as soon as what is being delivered has ended, then call `then`."""
        message.then = (*message.then, then)
        message.away = message.away or away
        self._pull_back(message)

    def discard(self, message: Message, done: Callable[[], None]) -> bool:
        """Remove it now; nobody is told. What is being delivered goes on, and its outcome is of no interest. False:
        its round has ended already."""
        if _ended(message):
            return False
        self.settler.flush()
        self._pull_back(message, quiet=True)
        entry = message.entry
        finals = tuple([(index, _DELETED) for index in entry.open])
        message.drop_content()
        self._leave(message)
        # Whoever waits for the end of its round, to hold it, has waited for this.
        ended = (done, *message.then)
        message.then = ()

        def gone(_: tuple[Entry, ...]) -> None:
            for call in ended:
                call()

        self.parts.ledger.settle(Change(entry.key, finals), gone)
        return True

    def expire(self, message: Message, done: Callable[[], None]) -> bool:
        """What is not delivered in this round is returned. False: its round has ended already."""
        if _ended(message):
            return False
        self.settler.flush()
        self.parts.ledger.settle(Change(message.entry.key, expired=True), lambda _: done())
        message.entry.expired = True
        return True

    def record_hold(self, message: Message, done: Callable[[], None]) -> bool:
        """It is to be on hold after this round, also if we don't live to see its end. False: it has ended already."""
        if _ended(message):
            return False
        self.settler.flush()
        self.parts.ledger.settle(Change(message.entry.key, held=True), lambda _: done())
        return True

    def _pull_back(self, message: Message, *, quiet: bool = False) -> None:
        """Deliveries that have not begun do not take place."""
        pulled = 0
        for delivery in message.deliveries:
            if not message.queued:
                break  # looking for one takes as long as its destination's line
            if delivery.destination is not None and self._scheduler.remove(delivery.destination, delivery):
                self.unqueue(message)
                pulled += 1
        if pulled:
            message.pending -= pulled
            if not quiet:
                self._settle(message)


def _lanes(groups: Sequence[Group]) -> Mapping[str, int]:
    """By transport: the lane of a message with these deliveries; few messages have more than two."""
    if len(groups) <= 2:
        return _ALL_SMALL
    return {name: lane(count) for name, count in Counter([group.limits.name for group in groups]).items()}


def _hopeless(message: Message) -> Plan:
    return Plan([], [(index, RESOLVER_FAILURE) for index in message.entry.open])


def _ended(message: Message) -> bool:
    """Its last change is on its way to the disk."""
    return message.started and not message.pending
