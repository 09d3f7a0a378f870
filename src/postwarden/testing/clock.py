"""A clock that stands still until a test moves it. Nothing sleeps, and what is due runs in order."""

import heapq
from collections import deque
from collections.abc import Callable
from itertools import count


class VirtualTimer:
    def __init__(self, due: float, callback: Callable[[], None]) -> None:
        self.due = due
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        self.callback = None


class VirtualClock:
    """A `net.clock.Clock`. Begins at `start` seconds since the epoch; `monotonic` begins at 1000.

    `run` executes what `call_soon` queued, and what that queues, without moving time. `advance` moves time from timer
    to timer and runs each at its moment. `jump` sets the calendar only, as an operator or NTP does.
    """

    def __init__(self, start: float = 1_700_000_000.0) -> None:
        self._epoch = start - 1000.0
        self._time = 1000.0
        self._soon: deque[Callable[[], None]] = deque()
        self._timers: list[tuple[float, int, VirtualTimer]] = []
        self._order = count()

    def now(self) -> float:
        return self._epoch + self._time

    def monotonic(self) -> float:
        return self._time

    def call_later(self, seconds: float, callback: Callable[[], None]) -> VirtualTimer:
        timer = VirtualTimer(self._time + max(seconds, 0.0), callback)
        heapq.heappush(self._timers, (timer.due, next(self._order), timer))
        return timer

    def call_soon(self, callback: Callable[[], None]) -> None:
        self._soon.append(callback)

    def run(self, limit: int = 1_000_000) -> None:
        """Run until nothing is queued. More than `limit` calls is an endless loop: RuntimeError."""
        for _ in range(limit):
            if not self._soon:
                return
            self._soon.popleft()()
        raise RuntimeError("callbacks queue each other without end")

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass."""
        end = self._time + seconds
        self.run()
        while self._timers and self._timers[0][0] <= end:
            due, _, timer = heapq.heappop(self._timers)
            callback, timer.callback = timer.callback, None
            if callback is not None:
                self._time = max(self._time, due)
                callback()
                self.run()
        self._time = end

    def jump(self, seconds: float) -> None:
        """Set the calendar forward or, if negative, back. Timers and `monotonic` don't notice."""
        self._epoch += seconds

    def next_timer(self) -> float | None:
        """Seconds until the next timer that is not cancelled; None when there is none."""
        while self._timers and self._timers[0][2].callback is None:
            heapq.heappop(self._timers)
        return self._timers[0][0] - self._time if self._timers else None
