"""Time. Whoever needs the time or a timer gets a `Clock`; tests hand over one that jumps (`testing.clock`)."""

import asyncio
import time
from collections.abc import Callable
from typing import Protocol


class Timer(Protocol):
    def cancel(self) -> None: ...


class Clock(Protocol):
    def now(self) -> float:
        """Seconds since the epoch, UTC: for people and for what is stored. It may jump."""

    def monotonic(self) -> float:
        """Seconds that never go back: for time-outs and back-off."""

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        """Call once, `seconds` from now, unless cancelled."""

    def call_soon(self, callback: Callable[[], None]) -> None:
        """Call once, after what runs now has returned."""


class LoopClock:
    """The clock of the running asyncio loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.monotonic = loop.time
        self.now = time.time

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        return self._loop.call_later(seconds, callback)

    def call_soon(self, callback: Callable[[], None]) -> None:
        self._loop.call_soon(callback)


class Deadline:
    """A time-out that is moved often and fires seldom: one timer, re-armed only when it runs out too early.

    Moving costs one assignment; a timer of the loop costs 1 µs and a heap entry for each move.
    """

    __slots__ = ("_armed_for", "_callback", "_clock", "_timer", "due")

    def __init__(self, clock: Clock, callback: Callable[[], None]) -> None:
        self._clock = clock
        self._callback = callback
        self._timer: Timer | None = None
        self._armed_for = 0.0
        self.due = 0.0
        """When it fires, on the clock's monotonic scale."""

    def set(self, seconds: float) -> None:
        """Fire `seconds` from now, instead of whenever it would have."""
        self.due = self._clock.monotonic() + seconds
        if self._timer is None or self.due < self._armed_for:
            self._arm(seconds)

    def extend(self, seconds: float, limit: float) -> None:
        """Fire `seconds` later than it would have, but not later than `limit` seconds from now."""
        self.due = min(self.due + seconds, self._clock.monotonic() + limit)

    def clear(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._armed_for = self.due
        self._timer = self._clock.call_later(seconds, self._ring)

    def _ring(self) -> None:
        self._timer = None
        left = self.due - self._clock.monotonic()
        if left > 0.001:
            self._arm(left)
        else:
            self._callback()
