"""Whose question to the name servers is next, when there are more than may be open at once.

A zone whose servers are silent keeps each of its questions open for many seconds. So that it can't keep the others
waiting, a zone has at most as many open as there is room left for others: one alone gets half of the room, two get a
third each, and some is always free for a zone that has none. The same holds for those that wait, and zones take turns.
"""

from collections import OrderedDict, deque
from typing import Generic, TypeVar

T = TypeVar("T")

MAX_OPEN = 256
MAX_WAITING = 10_000
_SHORT = 3


class Turns(Generic[T]):
    """Questions by the name that is asked for. Each `begin` that was granted, now or by `next`, wants one `end`."""

    def __init__(self) -> None:
        self._open: dict[str, int] = {}
        self._opened = 0
        self._queues: OrderedDict[str, deque[T]] = OrderedDict()
        self._waiting = 0

    def full(self, name: str) -> bool:
        """There is no room for the name's zone, not even to wait."""
        if not self._waiting:
            return False
        return len(self._queues.get(zone(name), ())) >= MAX_WAITING - self._waiting

    def begin(self, name: str, question: T) -> bool:
        """Whether it may be asked now; else it waits."""
        of = zone(name)
        if of not in self._queues and self._grant(of):
            return True
        self._queues.setdefault(of, deque()).append(question)
        self._waiting += 1
        return False

    def end(self, name: str) -> None:
        """One that was asked is over."""
        of = zone(name)
        self._opened -= 1
        left = self._open[of] - 1
        if left:
            self._open[of] = left
        else:
            del self._open[of]

    def next(self) -> T | None:
        """One that waited and may be asked now."""
        for of in self._queues if self._opened < MAX_OPEN else ():
            if not self._grant(of):
                continue
            queue = self._queues[of]
            question = queue.popleft()
            self._waiting -= 1
            if queue:
                self._queues.move_to_end(of)
            else:
                del self._queues[of]
            return question
        return None

    def clear(self) -> None:
        """Those that wait are forgotten."""
        self._queues.clear()
        self._waiting = 0

    def _grant(self, of: str) -> bool:
        count = self._open.get(of, 0)
        if count >= MAX_OPEN - self._opened:
            return False
        self._open[of] = count + 1
        self._opened += 1
        return True


def zone(name: str) -> str:
    """Whose servers answer for `name`, by the look of it: its registered domain, or the network of a reverse name.
    A guess that joins two zones costs some of their share; one that splits a zone would give it two."""
    labels = name.lower().removesuffix(".").split(".")
    if labels[-1] == "arpa":
        return ".".join(labels[-4:] if labels[-2:-1] == ["in-addr"] else labels[-10:])
    count = 3 if len(labels) > 2 and len(labels[-2]) <= _SHORT and len(labels[-1]) == 2 else 2
    return ".".join(labels[-count:])
