"""Calls that others make in threads, made when somebody waits for them; and tables that need them."""

from collections.abc import Callable
from typing import TypeVar

from postwarden.net.asking import Fetch
from postwarden.tables.remote.waiting import Waiting, WaitingTable
from postwarden.tables.table import Found, Table
from postwarden.testing.clock import VirtualClock

T = TypeVar("T")


class AskingOnDemand:
    """An `Asker` without threads: what was asked is called by `run`, in the order of asking, or when something is
    awaited: then, too, everything."""

    def __init__(self, clock: VirtualClock, seconds: float = 0.0) -> None:
        """`seconds`: that a call takes; they are made side by side."""
        self._clock = clock
        self._seconds = seconds
        self._waiting: list[tuple[str, Callable[[], None]]] = []
        self.asked: list[str] = []
        """Lanes, in order."""
        self.now = clock.monotonic
        self.call_soon = clock.call_soon

    def ask(self, lane: str, call: Callable[[], T], done: Callable[[T | None, Exception | None], None]) -> Fetch:
        self.asked.append(lane)

        def work() -> None:
            self._waiting.remove((lane, work))
            try:
                value, error = call(), None
            except Exception as raised:
                value, error = None, raised
            done(value, error)

        self._waiting.append((lane, work))

        async def fetch() -> None:
            while (lane, work) in self._waiting:
                self.run()

        return fetch

    def run(self, lane: str = "") -> int:
        """Make the calls that wait, of one lane or all; how many they were."""
        waiting = [work for of, work in self._waiting if not lane or of == lane]
        if waiting:
            self._clock.advance(self._seconds)
        for work in waiting:
            work()
        return len(waiting)


class SlowTable:
    """Any table, which now has to be waited for."""

    slow = True

    def __init__(self, table: Table) -> None:
        self.name, self.table = table.name, table

    @property
    def fixed(self) -> bool:
        return self.table.fixed

    def get(self, key: str) -> Found | None:
        return self.table.get(key)

    def stale(self) -> bool:
        return self.table.stale()

    def reload(self) -> None:
        self.table.reload()


def wrap_all(waiting: Waiting, table: Table) -> Table:
    """In the place of `Waiting.wrap`: every table is slow."""
    return WaitingTable(SlowTable(table), waiting)
