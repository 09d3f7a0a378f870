"""Calls that others make in threads, made when somebody waits for them; and tables that need them."""

from collections.abc import Callable
from typing import TypeVar

from postwarden.net.asking import Fetch
from postwarden.tables.remote.waiting import Waiting, WaitingTable
from postwarden.tables.table import Found, Table
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
