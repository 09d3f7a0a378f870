"""Group commit: a thread that takes everything that waits, commits it at once, and tells the loop once a group.

The thread is needed because a sync blocks. It is one thread a file, so that a group is one write and one sync, and it
takes the interpreter lock as seldom as it can: each time it wants it back from a busy loop costs up to a switch
interval (5 ms), while the loop of a receiver whose sessions all wait for the commit is idle and gives it at once.
"""

import queue
import threading
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

T = TypeVar("T")
R = TypeVar("R")
Result = TypeVar("Result", covariant=True)
Item = TypeVar("Item", contravariant=True)


class Writer(Protocol[Item]):
    def submit(self, item: Item) -> None:
        """Have it committed, in order."""

    def close(self) -> None:
        """Commit what was submitted, then end. Blocks. Nothing may be submitted after."""


class GroupWriter(Generic[T, R]):
    """`commit(group)` runs on the thread, `finished(group, result)` on the loop. If `commit` raises, which is a bug,
    the process ends (SystemExit from the loop): its sessions would wait for ever, and what it answered is safe."""

    def __init__(
        self,
        commit: Callable[[list[T]], R],
        finished: Callable[[list[T], R], None],
        post: Callable[..., object],
        name: str,
    ) -> None:
        self._commit = commit
        self._finished = finished
        self._post = post
        self._waiting: queue.SimpleQueue[T | None] = queue.SimpleQueue()
        self.submit = self._waiting.put
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._waiting.put(None)
        self._thread.join()

    def _run(self) -> None:
        take, size = self._waiting.get, self._waiting.qsize
        running = True
        while running:
            group: list[T] = []
            item = take()
            while item is not None:
                group.append(item)
                if not size():
                    break
                item = take()
            running = item is not None
            if group:
                try:
                    result = self._commit(group)
                except Exception as error:
                    self._post(_end, error)
                    return
                self._post(self._finished, group, result)


def _end(error: Exception) -> None:
    raise SystemExit(70) from error


class Pause:
    """A sleep of a writer's thread that the loop can cut short for good."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def wait(self, seconds: float) -> bool:
        """True if it was cut short: the process ends."""
        return self._event.wait(seconds)

    def end(self) -> None:
        self._event.set()
