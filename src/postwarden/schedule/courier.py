"""The active queue: takes messages up, hands out deliveries, settles what became of them.

What came in during one turn of the loop is taken first; then one `_turn` fills all free delivery slots. At most
qmgr_message_active_limit messages are in memory, the others wait in the ledger. No I/O but the ledger's.

The core judges nothing that it is told by a carrier beyond its form: a result that makes no sense is a deferral.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial

from msgspec import Struct

from postwarden.config.errors import Problem
from postwarden.ipc.records import Forward, Job, Outcome, SegmentSealed, Stored
from postwarden.mail.decision import Pending
from postwarden.mail.events import Delivered, Failure, Queued, Removed
from postwarden.mail.queue import Content, Damaged, Entry
from postwarden.mail.status import Status
from postwarden.net.clock import Clock, Timer
from postwarden.net.log import Log
from postwarden.schedule.message import Delivery, Message
from postwarden.schedule.params import CourierParams
from postwarden.schedule.planning import RESOLVER_FAILURE, Plan, Planner
from postwarden.schedule.ports import Inside, Ledger
from postwarden.schedule.receivers import Inflow, Sender
from postwarden.schedule.scheduler import Destination, Scheduler
from postwarden.schedule.settling import UNREADABLE, Settler, read
from postwarden.schedule.spawning import Spawner
from postwarden.schedule.workers import Crew, Pool

LOST_WORKER = Status("4.3.0", "unknown mail transport error")
BAD_RESULT = Status("4.3.0", "malformed response from the delivery agent")
_CLASSES = frozenset("245")
_DEATHS = 2
"""Workers that a delivery may take down before it is deferred: it might be what kills them."""
_PAGE = 500
_ROUNDS = 10_000
"""Facts that the addresses of one message may have to be looked up for; more is an endless loop."""
_SWEEP = 5.0


class Parts(Struct, frozen=True):
    """Whom the courier works with."""

    ledger: Ledger
    clock: Clock
    log: Log
    planner: Planner
    spawner: Spawner
    inside: Mapping[str, Inside]
    """Command of a transport that the courier itself performs (error, discard) -> how."""
    fetch: Callable[[Callable[[], Awaitable[None]], Callable[[], None]], None]
    """Await the first, then call the second, whatever came of it."""
    refresh: Callable[[], Sequence[Problem]]
    """Look at the tables: to be called once a second."""


class Courier:
    def __init__(
        self, parts: Parts, scheduler: Scheduler[Delivery], params: CourierParams, *, lag: float = 0.005
    ) -> None:
        """`lag`: how long outcomes are gathered before they are committed."""
        self._parts = parts
        self._ledger = parts.ledger
        self._clock = parts.clock
        self._emit = parts.log.emit
        self._scheduler = scheduler
        self._params = params
        self._settler = Settler(
            parts.ledger, parts.log, parts.clock, lag=lag, next_try=self._next_try, admit=self._admit, over=self._over
        )
        self._inflow = Inflow(params.qmgr_message_active_limit, float(params.in_flow_delay))
        self._pools = {name: Pool(name, limit) for name, limit in (("carrier", 500), ("agent", 100))}
        self._active = 0
        self._jobs = 0
        self._job_id = 0
        self._turning = False
        self._more = False
        """The ledger may have messages that are due."""
        self._draining: Callable[[], None] | None = None
        self._timer: Timer | None = None
        self._wake_at = 0.0
        self._latest = (self._clock.now(), self._clock.monotonic())
        self._scanned = 0.0

    # life

    def begin(self) -> None:
        """Take up what the last life left."""
        self._ledger.recover()
        self._scan()
        self._sweep()
        self._refresh()

    def reconfigure(self, parts: Parts, params: CourierParams) -> None:
        """From now on; deliveries in progress end as they began."""
        self._parts, self._params = parts, params
        self._scheduler.backoff = float(params.minimal_backoff_time)
        self._inflow.configure(params.qmgr_message_active_limit, float(params.in_flow_delay))

    def flush(self) -> None:
        """Try everything that was deferred now, destinations that are suspended too."""
        self._scheduler.flush()
        self._ledger.flush()
        self._look()

    def drain(self, finished: Callable[[], None]) -> None:
        """Begin no more deliveries; `finished` once those in progress have ended and are settled."""
        self._draining = finished
        self._soon()

    @property
    def figures(self) -> dict[str, int]:
        return {"active": self._active, "waiting": self._scheduler.waiting, "delivering": self._jobs}

    def _time(self) -> float:
        """Seconds since the epoch for due times: goes on as before when the calendar is set back."""
        latest, at = self._latest
        monotonic = self._clock.monotonic()
        self._latest = (max(self._clock.now(), latest + monotonic - at), monotonic)
        return self._latest[0]

    def _scan(self) -> None:
        """The queue run: what is due by now may become active."""
        self._clock.call_later(float(self._params.queue_run_delay), self._scan)
        self._scanned = self._time()
        due = self._ledger.next_due()
        if due is not None and due > self._scanned + self._params.maximal_backoff_time:
            self._ledger.flush()  # was put away before the clock was set back
        self._look()

    def _refresh(self) -> None:
        self._clock.call_later(1.0, self._refresh)  # first: what can't be read now must not be the last look
        for problem in self._parts.refresh():
            self._emit("qmgr", Failure(f"{problem.origin}: {problem.text}"))

    def _sweep(self) -> None:
        self._clock.call_later(_SWEEP, self._sweep)
        self._ledger.sweep(self._scanned)  # what it moves was never tried: it need not wait for a queue run
        self._look()  # a sweep finds mail of receivers that ended without a word

    def _look(self) -> None:
        self._more = True
        self._soon()

    # receivers

    def receiver_joined(self, sender: Sender) -> None:
        self._ledger.linked(sender.instance)
        self._inflow.join(sender)
        self._look()

    def receiver_left(self, sender: Sender) -> None:
        """It died or ended: what it stored and never told is in its segments."""
        self._inflow.leave(sender)
        self._ledger.orphan(sender.instance)
        self._look()

    def stored(self, sender: Sender, stored: Stored) -> None:
        """A receiver's message. Raises SpoolError for one that can't be that receiver's."""
        if self._active >= self._params.qmgr_message_active_limit:
            self._ledger.set_aside(stored, sender.instance)
            if stored.body is not None:
                sender.released(len(stored.body))
            self._more = True
            return
        entry = self._ledger.take(stored, sender.instance)
        if entry is None:
            if stored.body is not None:
                sender.released(len(stored.body))
            self._look()
        elif stored.body is None:
            entry.head = None
            self._admit(entry)
        else:
            self._admit(entry, sender)

    def sealed(self, record: SegmentSealed) -> None:
        self._ledger.sealed(record.segment)

    # the active queue

    def _admit(self, entry: Entry, sender: Sender | None = None) -> None:
        message = Message(entry, self._clock.now())
        message.release = sender
        self._active += 1
        self._inflow.watch(self._active, True)
        envelope = entry.envelope
        self._emit("qmgr", Queued(envelope.queue_id, envelope.sender, envelope.size, len(entry.open)))
        self._plan(message)

    def _plan(self, message: Message, rounds: int = 0) -> None:
        try:
            plan = self._parts.planner.plan(message.entry)
        except Pending as pending:
            if rounds < _ROUNDS:
                self._parts.fetch(pending.fetch, partial(self._plan, message, rounds + 1))
                return
            plan = Plan([], [(index, RESOLVER_FAILURE) for index in message.entry.open])
        self._start(message, plan)

    def _start(self, message: Message, plan: Plan) -> None:
        message.pending = message.queued = len(plan.groups)
        message.pending += 1  # until all groups are placed
        for index, status in plan.refused:
            self._fail(message, (index,), status)
        for group in plan.groups:
            delivery = Delivery(message, (group.limits.name, group.nexthop), group.indices, group.recipients)
            inside = self._parts.inside.get(group.limits.pool)
            if inside is not None:
                self._perform(delivery, inside, group.limits.pool)
                continue
            destination = self._scheduler.add(delivery, group.limits.name, group.key)
            if isinstance(destination, Status):
                self._give_up(delivery, destination)
            else:
                delivery.destination = destination
        if not plan.groups:
            message.drop_content()
        self._part_done(message)
        self._soon()

    def _perform(self, delivery: Delivery, inside: Inside, program: str) -> None:
        message = delivery.message
        for index, recipient in zip(delivery.indices, delivery.recipients, strict=True):
            self._log_here(message, index, inside(delivery.transport, delivery.nexthop, recipient), program)
        self._unqueue(message)
        message.pending -= 1

    def _give_up(self, delivery: Delivery, status: Status) -> None:
        """A delivery that is not even tried."""
        self._fail(delivery.message, delivery.indices, status)
        self._unqueue(delivery.message)
        delivery.message.pending -= 1

    def _drop(self, delivery: Delivery, status: Status) -> None:
        """A delivery that has waited and is not tried."""
        self._fail(delivery.message, delivery.indices, status)
        self._unqueue(delivery.message)
        self._part_done(delivery.message)

    def _fail(self, message: Message, indices: tuple[int, ...], status: Status) -> None:
        for index in indices:
            self._log_here(message, index, status, "error")

    def _log_here(self, message: Message, index: int, status: Status, program: str) -> None:
        """An outcome that no worker has logged."""
        envelope = message.entry.envelope
        recipient = envelope.recipients[index]
        delays = (max(message.active - envelope.arrival, 0.0), max(self._clock.now() - message.active, 0.0), 0.0, 0.0)
        self._emit(program, Delivered(envelope.queue_id, recipient.address, recipient.original, status, delays))
        self._note(message, index, status)

    @property
    def _final(self) -> str:
        return "2" if self._params.soft_bounce else "25"

    def _note(self, message: Message, index: int, status: Status) -> None:
        kind = status.code[:1]
        if kind == "2":
            message.sent.append((index, status))
        elif kind in self._final and kind:
            message.failed.append((index, status))
        else:
            message.deferred.append((index, status))

    def _unqueue(self, message: Message) -> None:
        message.queued -= 1
        if not message.queued:
            message.drop_content()

    # deliveries

    def worker_joined(self, kind: str, crew: Crew) -> None:
        self._pools[kind].join(crew)
        self._soon()

    def worker_left(self, kind: str, crew: Crew) -> None:
        """It ended or died: what it had in hand is tried again by another."""
        self._pools[kind].leave(crew)
        jobs, crew.jobs = crew.jobs, {}
        self._jobs -= len(jobs)
        for delivery in reversed(jobs.values()):
            delivery.deaths += 1
            delivery.forwards.clear()
            destination = delivery.destination
            assert destination is not None
            if delivery.deaths < _DEATHS and self._scheduler.again(destination, delivery):
                delivery.message.queued += 1
                continue
            if delivery.deaths >= _DEATHS:
                self._free(destination, None)
            self._fail(delivery.message, delivery.indices, destination.suspended or LOST_WORKER)
            self._part_done(delivery.message)
        self._soon()

    def forwarded(self, crew: Crew, forward: Forward) -> None:
        delivery = crew.jobs.get(forward.job_id)
        if delivery is not None and 0 <= forward.recipient_index < len(delivery.indices):
            delivery.forwards.append(forward)

    def outcome(self, crew: Crew, outcome: Outcome) -> None:
        delivery = crew.jobs.pop(outcome.job_id, None)
        if delivery is None:
            return
        self._jobs -= 1
        assert delivery.destination is not None
        fault = outcome.destination_fault
        self._free(delivery.destination, fault if fault is None or fault.code[:1] == "4" else None)
        message = delivery.message
        results = outcome.results
        if len(results) != len(delivery.indices) or not all(s.code[:1] in _CLASSES for s in results):
            self._fail(message, delivery.indices, BAD_RESULT)
        else:
            for index, status in zip(delivery.indices, results, strict=True):
                self._note(message, index, status)
            for forward in delivery.forwards:
                if results[forward.recipient_index].code[0] in self._final:
                    message.forwards.append((delivery.indices[forward.recipient_index], forward))
        self._part_done(message)
        self._soon()

    def _free(self, destination: Destination[Delivery], fault: Status | None) -> None:
        for waiting in self._scheduler.finished(destination, fault, self._clock.monotonic()):
            assert destination.suspended is not None
            self._drop(waiting, destination.suspended)

    def _send(self, crew: Crew, delivery: Delivery) -> None:
        message = delivery.message
        try:
            content = read(self._ledger, message.entry)
        except (Damaged, OSError) as error:
            self._emit("qmgr", Failure(f"{message.entry.envelope.queue_id}: {error}"))
            assert delivery.destination is not None
            self._free(delivery.destination, None)
            self._drop(delivery, UNREADABLE)
            return
        self._job_id += 1
        self._jobs += 1
        crew.send(_job(self._job_id, delivery, content), delivery, (content.fd,) if content.fd >= 0 else ())
        self._unqueue(message)

    def _part_done(self, message: Message) -> None:
        message.pending -= 1
        if message.pending and not message.sent:
            return
        try:
            self._settler.settle(message, self._parts.spawner, last=not message.pending)
        except Pending as pending:
            message.pending += 1
            self._parts.fetch(pending.fetch, partial(self._part_done, message))

    def _next_try(self, entry: Entry) -> float:
        """The older a message, the longer it waits: as long as it has waited, within the bounds."""
        params, now = self._params, self._time()
        age = now - entry.envelope.arrival
        return now + min(max(age, params.minimal_backoff_time), params.maximal_backoff_time)

    def _over(self, message: Message) -> None:
        """A message has left the active queue."""
        self._active -= 1
        if not message.deferred:
            self._emit("qmgr", Removed(message.entry.envelope.queue_id))
        self._inflow.watch(self._active, self._more)
        self._soon()

    # the turn

    def _soon(self) -> None:
        if not self._turning:
            self._turning = True
            self._clock.call_soon(self._turn)

    def _turn(self) -> None:
        self._turning = False
        now = self._clock.monotonic()
        wake = self._scheduler.next_wake
        if wake is not None:
            if wake <= now:
                self._scheduler.wake(now)
            self._arm(now)
        if self._more:
            self._refill()
        if self._draining is not None:
            if not self._jobs and not self._settler.busy:
                self._draining()
        elif self._scheduler.waiting and not self._ledger.failing:
            self._hand_out()

    def _hand_out(self) -> None:
        take = self._scheduler.take
        for name, pool in self._pools.items():
            while (crew := pool.pick()) is not None:
                delivery = take(name)
                if delivery is None:
                    break
                self._send(crew, delivery)

    def _refill(self) -> None:
        limit = self._params.qmgr_message_active_limit
        room = min(limit - self._active, _PAGE)
        if room < min(_PAGE, max(limit // 8, 1)) or self._draining is not None:
            return  # a page at a time: each look into the ledger costs a query
        entries = self._ledger.due(self._scanned, room)
        self._more = len(entries) == room
        for entry in entries:
            self._admit(entry)
        if self._more:
            self._soon()

    def _arm(self, now: float) -> None:
        """One timer for the next suspension that ends."""
        wake = self._scheduler.next_wake
        if wake is None or (self._timer is not None and self._wake_at <= wake):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._wake_at = wake
        self._timer = self._clock.call_later(wake - now, self._ring)

    def _ring(self) -> None:
        self._timer = None
        self._soon()


def _job(job_id: int, delivery: Delivery, content: Content) -> Job:
    message = delivery.message
    envelope = message.entry.envelope
    return Job(
        job_id,
        delivery.transport,
        delivery.nexthop,
        envelope.queue_id,
        envelope.arrival,
        message.active,
        envelope.sender,
        delivery.recipients,
        envelope.size,
        content.head,
        content.body,
        content.offset,
        content.size,
        envelope.eight_bit,
        envelope.smtputf8,
        envelope.ret,
        envelope.envid,
        envelope.client,
    )
