"""What to deliver next: destinations, their windows, and turns.

A destination is (transport, next hop); a transport that takes one recipient a delivery has one destination for each
recipient instead, as Postfix has it, so that one mailbox never holds up another. Within a destination deliveries leave
first in, first out; a transport's destinations take turns, and so do the transports of one pool of deliverers: a dead
or slow destination delays nobody else. A destination that fails as a whole for `cohorts` windows in a row is suspended
for `minimal_backoff_time`; what waits for it, and what comes meanwhile, is deferred at once with its status.

Pure: no clock, no I/O. Times are seconds that never go back.
"""

import heapq
from collections import deque
from typing import Generic, TypeVar

from msgspec import Struct

from postwarden.ipc.queue_records import DestinationFigures
from postwarden.mail.status import Status
from postwarden.schedule.feedback import Feedback, Window

T = TypeVar("T")


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


class Transport(Generic[T]):
    __slots__ = ("busy", "destinations", "limits", "listed", "ready")

    def __init__(self, limits: TransportLimits) -> None:
        self.limits = limits
        self.destinations: dict[str, Destination[T]] = {}
        self.ready: deque[Destination[T]] = deque()
        """Those with something to do and room in their window, in turn."""
        self.busy = 0
        self.listed = False


class Destination(Generic[T]):
    __slots__ = ("busy", "key", "listed", "resting", "suspended", "todo", "transport", "until", "window")

    def __init__(self, transport: Transport[T], key: str) -> None:
        self.transport = transport
        self.key = key
        self.window = Window(transport.limits.initial)
        self.todo: deque[T] = deque()
        self.busy = 0
        self.listed = False
        self.resting = False
        """Waits for its rate delay."""
        self.suspended: Status | None = None
        self.until = 0.0

    @property
    def ready(self) -> bool:
        return bool(self.todo) and not self.resting and self.busy < self.window.size


class Scheduler(Generic[T]):
    """Deliveries of any kind `T` in, the next one out."""

    def __init__(self, backoff: float) -> None:
        self.backoff = backoff
        """Seconds for which a destination is suspended."""
        self._transports: dict[str, Transport[T]] = {}
        self._pools: dict[str, deque[Transport[T]]] = {}
        self._wakes: list[tuple[float, int, Destination[T]]] = []
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

    def add(self, delivery: T, transport: str, key: str) -> Destination[T] | Status:
        """Queue a delivery. Returns its destination, to be handed back with `finished`; the status of a suspended
        destination instead means that the delivery was not queued and is to be deferred."""
        home = self._transports[transport]
        destination = home.destinations.get(key)
        if destination is None:
            destination = home.destinations[key] = Destination(home, key)
        elif destination.suspended is not None:
            return destination.suspended
        destination.todo.append(delivery)
        self.waiting += 1
        if not destination.listed:
            self._list(destination)
        return destination

    def take(self, pool: str) -> T | None:
        """The next delivery for this pool of deliverers, counted as begun; None when there is none."""
        turn = self._pools.get(pool)
        while turn:
            transport = turn.popleft()
            transport.listed = False
            if transport.limits.pool != pool:
                self._turn(transport)
                continue
            processes = transport.limits.processes
            if processes and transport.busy >= processes:
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
            destination = transport.ready.popleft()
            destination.listed = False
            if not destination.ready:
                continue
            delivery = destination.todo.popleft()
            self.waiting -= 1
            destination.busy += 1
            transport.busy += 1
            if transport.limits.rate_delay:
                destination.resting = True
            elif destination.ready:
                transport.ready.append(destination)
                destination.listed = True
            return delivery
        return None

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
            self._wake(destination, now + limits.rate_delay)
        self._release(destination)
        if destination.suspended is None:
            self._forget(destination)
            return []
        dropped = list(destination.todo)
        destination.todo.clear()
        self.waiting -= len(dropped)
        return dropped

    def again(self, destination: Destination[T], delivery: T) -> bool:
        """A delivery that was taken did not happen, for a reason that is not the destination's: it is next again.
        False when the destination has been suspended meanwhile: the delivery is not queued and is to be deferred."""
        destination.resting = False
        queued = destination.suspended is None
        if queued:
            destination.todo.appendleft(delivery)
            self.waiting += 1
        self._release(destination)
        return queued

    def remove(self, destination: Destination[T], delivery: T) -> bool:
        """A delivery that was added is not to take place. False when it has begun, or is not there."""
        try:
            destination.todo.remove(delivery)
        except ValueError:
            return False
        self.waiting -= 1
        self._forget(destination)
        return True

    def _release(self, destination: Destination[T]) -> None:
        transport = destination.transport
        destination.busy -= 1
        transport.busy -= 1
        if not destination.listed:
            self._list(destination)
        if transport.ready and not transport.listed:
            self._turn(transport)

    def _list(self, destination: Destination[T]) -> None:
        if not destination.ready:
            return
        transport = destination.transport
        destination.listed = True
        transport.ready.append(destination)
        if not transport.listed:
            self._turn(transport)

    def _turn(self, transport: Transport[T]) -> None:
        processes = transport.limits.processes
        if not processes or transport.busy < processes:
            transport.listed = True
            self._pools[transport.limits.pool].append(transport)

    def _forget(self, destination: Destination[T]) -> None:
        """An idle destination's window is forgotten, as in Postfix: it begins anew with the next delivery."""
        idle = not destination.todo and not destination.busy and not destination.resting
        home = destination.transport.destinations
        if idle and destination.suspended is None and home.get(destination.key) is destination:
            del home[destination.key]

    def destinations(self, now: float, epoch: float) -> tuple[DestinationFigures, ...]:
        """Those that have something to do or can't be used, at the time `now`, which is `epoch` on the calendar."""
        resting = {id(destination): due for due, _, destination in self._wakes if destination.resting}
        return tuple(
            DestinationFigures(
                transport.limits.name,
                destination.key,
                len(destination.todo),
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

    def _wake(self, destination: Destination[T], due: float) -> None:
        self._order += 1
        heapq.heappush(self._wakes, (due, self._order, destination))

    @property
    def next_wake(self) -> float | None:
        """When `wake` has something to do; None: not foreseen."""
        return self._wakes[0][0] if self._wakes else None

    def wake(self, now: float) -> None:
        """End the suspensions and rests that are over."""
        while self._wakes and self._wakes[0][0] <= now:
            destination = heapq.heappop(self._wakes)[2]
            self._revive(destination, destination.until <= now)

    def flush(self) -> None:
        """End all suspensions now: each destination is tried again."""
        wakes, self._wakes = self._wakes, []
        for _, _, destination in wakes:
            self._revive(destination, True)

    def _revive(self, destination: Destination[T], unsuspend: bool) -> None:
        if destination.suspended is not None and unsuspend:
            destination.suspended = None
            destination.window.revive(destination.transport.limits.initial)
        destination.resting = False
        if not destination.listed:
            self._list(destination)
        self._forget(destination)
