"""What to deliver next: destinations, their windows, and turns.

A destination is (transport, next hop); a transport that takes one recipient a delivery has one destination for each
recipient instead, as Postfix has it, so that one mailbox never holds up another. Within a destination deliveries leave
first in, first out among messages of one size; a transport's destinations take turns, and so do the transports of one
pool of deliverers: a dead or slow destination delays nobody else. Messages of few and of many deliveries are in
different lanes, which take turns as well: a mailing to 100,000 recipients holds up a single message for one delivery.

A destination that fails as a whole for `cohorts` windows in a row is suspended for `minimal_backoff_time`; what waits
for it, and what comes meanwhile, is deferred at once with its status.

Pure: no clock, no I/O. Times are seconds that never go back.
"""

import heapq
from bisect import bisect_left
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from msgspec import Struct

from postwarden.ipc.queue_records import DestinationFigures
from postwarden.mail.status import Status
from postwarden.schedule.feedback import Feedback, Window

T = TypeVar("T")

_ANY = 1 << 30
_SIZES = (2, 20, 200)
_TURNS = len(_SIZES) + 1
"""Lanes of mail."""
BELOW = _TURNS
"""The lane of what is no mail (address probes): it is taken only by `take_below`, when there is nothing else to do."""
_LANES = range(_TURNS + 1)


def lane(deliveries: int) -> int:
    """Of a message with so many deliveries by one transport."""
    return bisect_left(_SIZES, deliveries)


class TransportLimits(Struct, frozen=True):
    """What main.cf and master.cf allow one transport."""

    name: str
    pool: str
    """Who delivers: the scheduler keeps turns within a pool, and `take` asks for one."""
    processes: int = 0
    """Deliveries at a time in all; 0: no limit."""
    initial: int = 5
    concurrency: int = 20
    """Deliveries at a time for one destination; 0: no limit."""
    recipients: int = 50
    """Recipients a delivery; 0: no limit."""
    positive: Feedback = Feedback(1.0)
    negative: Feedback = Feedback(1.0)
    cohorts: int = 1
    rate_delay: float = 0.0
    """Seconds between two deliveries to one destination, one at a time."""
    transport_delay: float = 0.0
    """Seconds between two deliveries in all, one at a time."""
    lanes: bool = True
    """Messages of few and of many deliveries take turns; else all are first in, first out."""


class Transport(Generic[T]):
    __slots__ = ("busy", "destinations", "lanes", "limits", "listed", "ready", "resting", "turn")

    def __init__(self, limits: TransportLimits) -> None:
        self.limits = limits
        self.destinations: dict[str, Destination[T]] = {}
        self.lanes: tuple[deque[Destination[T]], ...] = tuple([deque() for _ in _LANES])
        """Destinations with something to do and room in their window, in turn."""
        self.turn = 0
        """The lane whose turn it is."""
        self.ready = 0
        """Entries in all lanes of mail."""
        self.busy = 0
        self.resting = False
        """Waits for its rate delay."""
        self.listed = False


class Destination(Generic[T]):
    __slots__ = (
        "busy",
        "key",
        "listed",
        "rested",
        "resting",
        "suspended",
        "todo",
        "transport",
        "until",
        "waiting",
        "window",
    )

    def __init__(self, transport: Transport[T], key: str) -> None:
        self.transport = transport
        self.key = key
        self.window = Window(transport.limits.initial)
        self.todo: list[deque[T] | None] = [None] * len(_LANES)
        self.waiting = 0
        """Deliveries in all lanes."""
        self.busy = 0
        self.listed = 0
        """Lanes in which it is, a bit each."""
        self.resting = False
        """Waits for the end of its delivery, or for its rate delay until `rested`."""
        self.rested = 0.0
        self.suspended: Status | None = None
        self.until = 0.0

    @property
    def room(self) -> bool:
        return not self.resting and self.busy < self.window.size


class Scheduler(Generic[T]):
    """Deliveries of any kind `T` in, the next one out."""

    def __init__(self, backoff: float) -> None:
        self.backoff = backoff
        """Seconds for which a destination is suspended."""
        self._transports: dict[str, Transport[T]] = {}
        self._pools: dict[str, deque[Transport[T]]] = {}
        self._wakes: list[tuple[float, int, Destination[T] | Transport[T]]] = []
        self._order = 0
        self.waiting = 0
        """Deliveries that were added and not yet taken."""

    def configure(self, limits: TransportLimits) -> None:
        """Make a transport known, or change what it may do from its next delivery on."""
        transport = self._transports.get(limits.name)
        if transport is None:
            self._transports[limits.name] = Transport(limits)
            self._pools.setdefault(limits.pool, deque())
        else:
            transport.limits = limits
            self._pools.setdefault(limits.pool, deque())
            if transport.ready and not transport.listed:
                self._turn(transport)

    def limits(self, transport: str) -> TransportLimits | None:
        found = self._transports.get(transport)
        return found.limits if found is not None else None

    def add(self, delivery: T, transport: str, key: str, lane: int = 0) -> Destination[T] | Status:
        """Queue a delivery of a message of that `lane`. Returns its destination, to be handed back with `finished`; the
        status of a suspended destination instead means that it was not queued and is to be deferred."""
        home = self._transports[transport]
        destination = home.destinations.get(key)
        if destination is None:
            destination = home.destinations[key] = Destination(home, key)
        elif destination.suspended is not None:
            return destination.suspended
        if lane and lane != BELOW and not home.limits.lanes:
            lane = 0
        todo = destination.todo[lane]
        if todo is None:
            todo = destination.todo[lane] = deque()
        todo.append(delivery)
        destination.waiting += 1
        self.waiting += 1
        if not destination.listed >> lane & 1:
            self._list(destination)
        return destination

    def take(self, pool: str, most: int = _ANY) -> T | None:
        """The next delivery for this pool of deliverers, counted as begun; None when there is none. By a transport that
        has fewer than `most` in hand."""
        turn = self._pools.get(pool)
        passed = 0
        while turn and passed < len(turn):
            transport = turn.popleft()
            if transport.busy >= most:
                turn.append(transport)
                passed += 1
                continue
            transport.listed = False
            if transport.limits.pool != pool:
                self._turn(transport)
                continue
            processes = transport.limits.processes
            if transport.resting or (processes and transport.busy >= processes):
                continue
            delivery = self._take(transport)
            if transport.ready:
                turn.append(transport)
                transport.listed = True
            if delivery is not None:
                return delivery
        return None

    def _take(self, transport: Transport[T]) -> T | None:
        while transport.ready:
            lane = transport.turn
            while not transport.lanes[lane]:
                lane = (lane + 1) % _TURNS
            destination = transport.lanes[lane].popleft()
            transport.ready -= 1
            destination.listed &= ~(1 << lane)
            todo = destination.todo[lane]
            if not todo or not destination.room:
                continue
            transport.turn = (lane + 1) % _TURNS
            delivery = todo.popleft()
            destination.waiting -= 1
            self.waiting -= 1
            destination.busy += 1
            transport.busy += 1
            if transport.limits.transport_delay:
                transport.resting = True
            if transport.limits.rate_delay:
                destination.resting = True
            elif todo and destination.room:
                self._enter(destination, lane)
            return delivery
        return None

    def take_below(self, pool: str, may: Callable[[TransportLimits], bool]) -> T | None:
        """What is no mail, for when `take` has nothing: by a transport that `may` have one more. At most three quarters
        of a destination's window are for it, lest mail that comes next finds no room."""
        for transport in self._transports.values():
            lane, limits = transport.lanes[BELOW], transport.limits
            full = limits.processes and transport.busy >= limits.processes
            if not lane or limits.pool != pool or transport.resting or full or not may(limits):
                continue
            for _ in range(len(lane)):
                destination = lane.popleft()
                destination.listed &= ~(1 << BELOW)
                todo = destination.todo[BELOW]
                # What is left out here is listed again when one of its deliveries has ended.
                size = destination.window.size
                if todo and destination.room and destination.busy < max(1, size - max(1, size // 4)):
                    return self._begin_below(destination, todo)
        return None

    def _begin_below(self, destination: Destination[T], todo: deque[T]) -> T:
        transport = destination.transport
        delivery = todo.popleft()
        destination.waiting -= 1
        self.waiting -= 1
        destination.busy += 1
        transport.busy += 1
        transport.resting = bool(transport.limits.transport_delay)
        destination.resting = bool(transport.limits.rate_delay)
        if todo and destination.room:
            self._enter(destination, BELOW)
        return delivery

    def finished(self, destination: Destination[T], fault: Status | None, now: float) -> list[T]:
        """A delivery is over. `fault`: the destination as a whole could not be used. Returns the deliveries that
        waited for a destination which is now suspended: they are to be deferred with `destination.suspended`."""
        transport = destination.transport
        limits = transport.limits
        if destination.suspended is None:
            if fault is None:
                destination.window.succeeded(limits.positive, limits.concurrency, destination.busy, limits.initial)
            elif destination.window.failed(limits.negative, limits.cohorts):
                destination.suspended = Status(fault.code, f"delivery temporarily suspended: {fault.text}")
                destination.until = now + self.backoff
                self._wake(destination, destination.until)
        if destination.resting:
            destination.rested = now + limits.rate_delay
            self._wake(destination, destination.rested)
        if transport.resting:
            self._wake(transport, now + limits.transport_delay)
        self._release(destination)
        if destination.suspended is None:
            self._forget(destination)
            return []
        dropped = [delivery for todo in destination.todo if todo for delivery in todo]
        destination.todo = [None] * len(_LANES)
        destination.waiting = 0
        self.waiting -= len(dropped)
        return dropped

    def again(self, destination: Destination[T], delivery: T) -> bool:
        """A delivery that was taken did not happen, for a reason that is not the destination's: it is next again.
        False when the destination has been suspended meanwhile: the delivery is not queued and is to be deferred."""
        destination.resting = destination.transport.resting = False
        queued = destination.suspended is None
        if queued:
            first = destination.todo[0]
            if first is None:
                first = destination.todo[0] = deque()
            first.appendleft(delivery)
            destination.waiting += 1
            self.waiting += 1
        self._release(destination)
        return queued

    def remove(self, destination: Destination[T], delivery: T) -> bool:
        """A delivery that was added is not to take place. False when it has begun, or is not there."""
        for todo in destination.todo:
            if not todo:
                continue
            try:
                todo.remove(delivery)
            except ValueError:
                continue
            destination.waiting -= 1
            self.waiting -= 1
            self._forget(destination)
            return True
        return False

    def _release(self, destination: Destination[T]) -> None:
        transport = destination.transport
        destination.busy -= 1
        transport.busy -= 1
        self._list(destination)
        if transport.ready and not transport.listed:
            self._turn(transport)

    def _list(self, destination: Destination[T]) -> None:
        """In each lane where it has something to do."""
        if not destination.waiting or not destination.room:
            return
        for lane, todo in enumerate(destination.todo):
            if todo and not destination.listed >> lane & 1:
                self._enter(destination, lane)
        transport = destination.transport
        if transport.ready and not transport.listed:
            self._turn(transport)

    def _enter(self, destination: Destination[T], lane: int) -> None:
        destination.listed |= 1 << lane
        destination.transport.lanes[lane].append(destination)
        if lane != BELOW:
            destination.transport.ready += 1

    def _turn(self, transport: Transport[T]) -> None:
        processes = transport.limits.processes
        if not transport.resting and (not processes or transport.busy < processes):
            transport.listed = True
            self._pools[transport.limits.pool].append(transport)

    def _forget(self, destination: Destination[T]) -> None:
        """An idle destination's window is forgotten, as in Postfix: it begins anew with the next delivery."""
        idle = not (destination.waiting or destination.busy or destination.resting)
        home = destination.transport.destinations
        if idle and destination.suspended is None and home.get(destination.key) is destination:
            del home[destination.key]

    def destinations(self, now: float, epoch: float) -> tuple[DestinationFigures, ...]:
        """Those that have something to do or can't be used, at the time `now`, which is `epoch` on the calendar."""
        resting = {id(one): due for due, _, one in self._wakes if one.resting}
        return tuple(
            DestinationFigures(
                transport.limits.name,
                destination.key,
                destination.waiting,
                destination.busy,
                destination.window.size,
                epoch + destination.until - now if destination.suspended is not None else 0.0,
                epoch + resting[id(destination)] - now if id(destination) in resting else 0.0,
                destination.suspended,
            )
            for transport in self._transports.values()
            for destination in transport.destinations.values()
        )

    # time

    def _wake(self, one: Destination[T] | Transport[T], due: float) -> None:
        self._order += 1
        heapq.heappush(self._wakes, (due, self._order, one))

    @property
    def next_wake(self) -> float | None:
        """When `wake` has something to do; None: not foreseen."""
        return self._wakes[0][0] if self._wakes else None

    def wake(self, now: float) -> None:
        """End the suspensions and rests that are over."""
        while self._wakes and self._wakes[0][0] <= now:
            one = heapq.heappop(self._wakes)[2]
            if isinstance(one, Transport):
                self._awake(one)
            else:
                if one.rested <= now and not one.busy:
                    one.resting = False
                self._revive(one, one.until <= now)

    def flush(self) -> None:
        """End all suspensions now: each destination is tried again. Rate delays are kept."""
        for _, _, one in self._wakes:
            if isinstance(one, Destination):
                self._revive(one, True)
        self._wakes = [wake for wake in self._wakes if wake[2].resting]
        heapq.heapify(self._wakes)

    def _awake(self, transport: Transport[T]) -> None:
        transport.resting = False
        if transport.ready and not transport.listed:
            self._turn(transport)

    def _revive(self, destination: Destination[T], unsuspend: bool) -> None:
        if destination.suspended is not None and unsuspend:
            destination.suspended = None
            destination.window.revive(destination.transport.limits.initial)
        self._list(destination)
        self._forget(destination)
