"""Between coroutines, as `mail.decision.Pending` has them, and code with callbacks: each way one task, one callback."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

T = TypeVar("T")


class Waiting(Protocol):
    def wait(self, fetch: Callable[[], Awaitable[None]], done: Callable[[Exception | None], None]) -> None:
        """Run `fetch()`, then call `done` once, from the loop, with what it raised."""


class LoopWaiting:
    """On the running asyncio loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        # The loop itself keeps only weak references to tasks.
        self._tasks: set[asyncio.Task[None]] = set()

    def wait(self, fetch: Callable[[], Awaitable[None]], done: Callable[[Exception | None], None]) -> None:
        task = self._loop.create_task(self._run(fetch, done))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, fetch: Callable[[], Awaitable[None]], done: Callable[[Exception | None], None]) -> None:
        try:
            await fetch()
        except Exception as error:
            done(error)
        else:
            done(None)


async def called_back(start: Callable[[Callable[[T], None]], None]) -> T:
    """What `start(done)` calls `done` with, once, in this call or later."""
    said: list[T] = []
    future: asyncio.Future[T] | None = None

    def done(value: T) -> None:
        if future is None:
            said.append(value)
        elif not future.done():
            future.set_result(value)

    start(done)
    if said:
        return said[0]
    future = asyncio.get_running_loop().create_future()
    return await future
