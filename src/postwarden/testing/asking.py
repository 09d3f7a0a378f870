"""Calls that others make in threads, made when somebody waits for them."""

from collections.abc import Callable
from typing import TypeVar

from postwarden.net.asking import Fetch
from postwarden.testing.clock import VirtualClock

T = TypeVar("T")


class AskingOnDemand:
    """An `Asker` without threads: what was asked is called when it is awaited, or by `run`, in the order of asking."""

    def __init__(self, clock: VirtualClock, seconds: float = 0.0) -> None:
        """`seconds`: that each call takes."""
        self._clock = clock
        self._seconds = seconds
        self._waiting: list[Callable[[], None]] = []
        self.asked: list[str] = []
        """Lanes, in order."""
        self.now = clock.monotonic
        self.call_soon = clock.call_soon

    def ask(self, lane: str, call: Callable[[], T], done: Callable[[T | None, Exception | None], None]) -> Fetch:
        self.asked.append(lane)

        def work() -> None:
            self._waiting.remove(work)
            self._clock.advance(self._seconds)
            try:
                value, error = call(), None
            except Exception as raised:
                value, error = None, raised
            done(value, error)

        self._waiting.append(work)

        async def fetch() -> None:
            if work in self._waiting:
                work()

        return fetch

    def run(self) -> int:
        """Make the calls that wait; how many they were."""
        waiting = list(self._waiting)
        for work in waiting:
            work()
        return len(waiting)
