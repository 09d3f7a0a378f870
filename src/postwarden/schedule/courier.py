"""The courier: takes messages up, fills the delivery slots, hears what became of deliveries.

What came in during one turn of the loop is taken first; then one `_turn` fills all free delivery slots. At most
qmgr_message_active_limit messages are in memory, the others wait in the ledger. No I/O but the ledger's. What happens
to one message is in `rounds`, what operators do with messages in `operations`.
"""

from collections.abc import Callable

from postwarden.ipc.queue_records import Figures
from postwarden.ipc.records import Forward, Outcome, SegmentSealed, Stored, Troubled
from postwarden.mail.events import Failure
from postwarden.mail.queue import HOLD, Damaged, Entry
from postwarden.mail.status import Status
from postwarden.net.clock import Timer
from postwarden.schedule.jobs import job
from postwarden.schedule.message import Delivery
from postwarden.schedule.notices import Notices
from postwarden.schedule.operations import Operations
from postwarden.schedule.params import CourierParams
from postwarden.schedule.parts import Parts
from postwarden.schedule.planning import UNAVAILABLE
from postwarden.schedule.ports import Recorder
from postwarden.schedule.probes import Probed, Probes
from postwarden.schedule.receivers import Inflow, Sender
from postwarden.schedule.rounds import Rounds
from postwarden.schedule.scheduler import Destination, Scheduler
from postwarden.schedule.settling import UNREADABLE, read
from postwarden.schedule.workers import ASSURED, Crew, Pool

LOST_WORKER = Status("4.3.0", "unknown mail transport error")
BAD_RESULT = Status("4.3.0", "malformed response from the delivery agent")
_CLASSES = frozenset("245")
_DEATHS = 2
"""Workers that a delivery may take down before it is deferred: it might be what kills them."""
_PAGE = 500
_PARKED = 100
"""Messages of many recipients that may wait in memory for the end of others, so that those of few can pass them."""
_SWEEP = 5.0
_DRIFT = 60.0
"""Seconds by which a due time may be too late without harm."""


class Courier:
    def __init__(
        self, parts: Parts, scheduler: Scheduler[Delivery], params: CourierParams, *, lag: float = 0.02
    ) -> None:
        """`lag`: how long outcomes are gathered before they are committed."""
        self._parts = parts
        self._ledger = parts.ledger
        self._clock = parts.clock
        self._emit = parts.log.emit
        self._scheduler = scheduler
        self._params = params
        self._rounds = Rounds(parts, scheduler, params, lag=lag, changed=self._changed, soon=self._soon)
        self.operations = Operations(self._rounds, scheduler, self._look)
        self._notices = Notices(self._look)
        self._inflow = Inflow(params.qmgr_message_active_limit, float(params.in_flow_delay))
        self._probes = Probes(self._rounds, params)
        self._pools = {name: Pool(name, limit) for name, limit in (("carrier", 500), ("agent", 100))}
        self._deserted: dict[str, float] = {}
        """Pools without a worker, and since when."""
        self._jobs = 0
        self._job_id = 0
        self._turning = False
        self._more = False
        """The ledger may have messages that are due."""
        self._flushing = False
        """What the ledger hands out now was asked for."""
        self._draining: Callable[[], None] | None = None
        self._timer: Timer | None = None
        self._wake_at = 0.0
        self._next_scan: Timer | None = None
        self._scanned = 0.0
        self._scan_at = 0.0
        self._jumps = 0

    def record(self, recorder: Recorder | None) -> None:
        """Who is told what becomes of messages; None: nobody."""
        self._rounds.record(recorder)

    # life

    def begin(self) -> None:
        """Take up what the last life left."""
        self._ledger.recover()
        self._scan()
        self._sweep()
        self._refresh()

    def reconfigure(self, parts: Parts, params: CourierParams) -> None:
        """From now on; deliveries in progress end as they began. A queue run begins, and no destination is suspended
        any more: what was in its way may be what was changed."""
        self._parts, self._params = parts, params
        self._rounds.parts, self._rounds.params = parts, params
        self._probes.params = params
        self._scheduler.backoff = float(params.minimal_backoff_time)
        self._scheduler.flush()
        self._inflow.configure(params.qmgr_message_active_limit, float(params.in_flow_delay))
        self._scan()

    def flush(self) -> None:
        """Try everything that was deferred now, destinations that are suspended too."""
        self._scheduler.flush()
        self._ledger.flush()
        self._flushing = True
        self._look()

    def drain(self, finished: Callable[[], None]) -> None:
        """Begin no more deliveries; `finished` once those in progress have ended and are settled. Probes are not waited
        for: who wants to know asks again."""
        self._draining = finished
        self._soon()

    @property
    def figures(self) -> dict[str, int]:
        return {"active": self._rounds.active, "waiting": self._scheduler.waiting, "delivering": self._jobs}

    def whereabouts(self) -> Figures:
        """What is done now and what is waited for."""
        now, moment = self._clock.now(), self._clock.monotonic()
        next_run = now + max(self._scan_at - moment, 0.0)
        destinations = self._scheduler.destinations(moment, now)
        return Figures(now, self._rounds.active, self._scheduler.waiting, self._jobs, next_run, destinations)

    def _scan(self) -> None:
        """The queue run: what is due by now may become active."""
        delay = float(self._params.queue_run_delay)
        if self._next_scan is not None:
            self._next_scan.cancel()
        self._next_scan = self._clock.call_later(delay, self._scan)
        self._scan_at = self._clock.monotonic() + delay
        self._scanned = self._rounds.calendar.time()
        due = self._ledger.last_due()
        if due is not None and due > self._scanned + self._params.maximal_backoff_time + _DRIFT:
            self._ledger.flush()  # was put away before the clock was set back
        self._look()

    def _refresh(self) -> None:
        self._clock.call_later(1.0, self._refresh)  # first: what can't be read now must not be the last look
        for problem in self._parts.refresh():
            self._emit("qmgr", Failure(f"{problem.origin}: {problem.text}"))
        self._defer_stranded()
        calendar = self._rounds.calendar
        calendar.time()
        if calendar.jumps != self._jumps:
            self._jumps = calendar.jumps
            self._scheduler.flush()  # what was learned about destinations may be long ago
            self._soon()

    def _defer_stranded(self) -> None:
        """What waits for deliverers that don't come back would fill the active queue and hold up all other mail."""
        now = self._clock.monotonic()
        for name, pool in self._pools.items():
            if len(pool):
                self._deserted.pop(name, None)
            elif now - self._deserted.setdefault(name, now) >= self._params.transport_retry_time:
                while (delivery := self._scheduler.take(name)) is not None:
                    self._drop_begun(delivery, UNAVAILABLE)
                while (delivery := self._scheduler.take_below(name, lambda limits: True)) is not None:
                    self._drop_begun(delivery, UNAVAILABLE)

    def _drop_begun(self, delivery: Delivery, status: Status) -> None:
        """One that was taken, and is not tried."""
        assert delivery.destination is not None
        self._free(delivery.destination, None)
        self._rounds.drop(delivery, status)

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
        rounds = self._rounds
        full = rounds.active >= self._params.qmgr_message_active_limit
        if full or not rounds.room_for(len(stored.envelope.recipients)):
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
            self._take_up(entry)
        else:
            self._take_up(entry, sender)

    def _take_up(self, entry: Entry, sender: Sender | None = None, *, flushed: bool = False) -> None:
        if entry.due >= HOLD:
            self._rounds.put_on_hold(entry)
            if sender is not None:
                sender.released(entry.body_size)
            return
        self._rounds.admit(entry, sender, flushed=flushed)
        self._inflow.watch(self._rounds.active, True)

    def _changed(self) -> None:
        self._inflow.watch(self._rounds.active, self._more)
        self._soon()

    def probe(self, address: str, done: Callable[[Probed], None]) -> None:
        """Find out whether mail to this address (standard form) can be delivered."""
        self._probes.send(address, done)

    def sealed(self, record: SegmentSealed) -> None:
        self._ledger.sealed(record.segment)

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
            if delivery.message.probe is not None:
                self._probes.over(delivery)
            delivery.forwards.clear()
            destination = delivery.destination
            assert destination is not None
            if delivery.message.gone:
                self._free(destination, None)
                continue
            if delivery.deaths >= _DEATHS or delivery.message.away:  # an operator waits for it to end
                self._free(destination, None)
            elif self._scheduler.again(destination, delivery):
                delivery.message.queued += 1
                continue
            self._rounds.fail(delivery.message, delivery.indices, destination.suspended or LOST_WORKER)
            self._rounds.part_done(delivery.message)
        self._soon()

    def forwarded(self, crew: Crew, forward: Forward) -> None:
        delivery = crew.jobs.get(forward.job_id)
        if delivery is not None and 0 <= forward.recipient_index < len(delivery.indices):
            delivery.forwards.append(forward)

    def troubled(self, record: Troubled) -> None:
        """The postmaster wants to hear of a server."""
        self._notices.troubled(self._parts, self._params, record)

    def outcome(self, crew: Crew, outcome: Outcome) -> None:
        delivery = crew.jobs.pop(outcome.job_id, None)
        if delivery is None:
            return
        self._jobs -= 1
        assert delivery.destination is not None
        if delivery.message.probe is not None:
            self._probes.over(delivery)
        fault = outcome.destination_fault
        self._free(delivery.destination, fault if fault is None or fault.code[:1] == "4" else None)
        message = delivery.message
        if message.gone:
            self._soon()
            return
        results = outcome.results
        if len(results) != len(delivery.indices) or not all(s.code[:1] in _CLASSES for s in results):
            self._rounds.fail(message, delivery.indices, BAD_RESULT)
        else:
            if outcome.remade:
                self._rounds.remade(message, outcome.remade)
            self._ended(delivery, results)
        self._rounds.part_done(message)
        self._soon()

    def _ended(self, delivery: Delivery, results: tuple[Status, ...]) -> None:
        message = delivery.message
        onward = {forward.recipient_index: forward for forward in delivery.forwards if not forward.recipients}
        for at, (index, status) in enumerate(zip(delivery.indices, results, strict=True)):
            if at in onward:
                self._rounds.hand_on(delivery, onward[at])
            else:
                self._rounds.note(message, index, status, (delivery.transport, delivery.nexthop))
        for forward in delivery.forwards:
            if forward.recipients and results[forward.recipient_index].code[0] in self._rounds.final:
                message.forwards.append((delivery.indices[forward.recipient_index], forward))

    def _free(self, destination: Destination[Delivery], fault: Status | None) -> None:
        for waiting in self._scheduler.finished(destination, fault, self._clock.monotonic()):
            assert destination.suspended is not None
            self._rounds.drop(waiting, destination.suspended)

    def _send(self, crew: Crew, delivery: Delivery) -> None:
        message = delivery.message
        try:
            content = read(self._ledger, message.entry)
        except (Damaged, OSError) as error:
            self._emit("qmgr", Failure(f"{message.entry.envelope.queue_id}: {error}"))
            self._drop_begun(delivery, UNREADABLE)
            return
        if message.probe is not None:
            self._probes.begun(delivery)
        self._job_id += 1
        self._jobs += 1
        crew.send(job(self._job_id, delivery, content), delivery, (content.fd,) if content.fd >= 0 else ())
        self._rounds.unqueue(message)

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
        if self._rounds.parked:
            for entry in self._rounds.unpark():
                self._take_up(entry)
        if self._more:
            self._refill()
        if self._draining is not None:
            deliveries = self._jobs - self._probes.running
            if not (deliveries or self._rounds.settler.busy or self._rounds.unsettled):
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
            else:
                while (crew := pool.spare()) is not None and (delivery := take(name, ASSURED)) is not None:
                    self._send(crew, delivery)
        if self._probes.pending:
            self._hand_out_probes()

    def _hand_out_probes(self) -> None:
        for name, pool in self._pools.items():
            while (crew := pool.pick()) is not None:
                delivery = self._scheduler.take_below(name, self._probes.may)
                if delivery is None:
                    break
                self._send(crew, delivery)

    def _refill(self) -> None:
        limit = self._params.qmgr_message_active_limit
        room = min(limit - self._rounds.active, _PAGE)
        if room < min(_PAGE, max(limit // 8, 1)) or self._draining is not None or len(self._rounds.parked) >= _PARKED:
            return  # a page at a time: each look into the ledger costs a query
        entries = self._ledger.due(self._scanned, room)
        self._more = len(entries) == room
        for entry in entries:
            if self._rounds.room_for(len(entry.open)):
                self._take_up(entry, flushed=self._flushing or entry.due > self._scanned)
            else:
                self._rounds.park(entry)
        if self._more:
            self._soon()
        else:
            self._flushing = False

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
