"""Calls that block (a look-up in a data base, getpwnam), made in threads beside the loop.

A lane is whoever is asked: each has few threads of its own, so that one that hangs stops nobody else. Threads are
daemons: a look-up that never comes back must not keep the process from ending.
"""

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from postwarden.net.clock import LoopClock

T = TypeVar("T")
Fetch = Callable[[], Awaitable[None]]

THREADS = 8
"""Of one lane."""
WAITING_LIMIT = 50_000
"""Calls of one lane that wait for a thread: a courier with many messages asks for all their recipients at once."""
SECONDS = 110.0
"""After that nobody waits any more: a client waits five minutes for the answer to RCPT (RFC 5321 4.5.3.2.3)."""
_SWEEP = 1.0
_IDLE = 30.0
"""Seconds without work after which a thread ends; its data base may want its connection back."""


class AskError(Exception):
    """It was not asked, or has not answered in time."""


class Asker(Protocol):
    """Has calls made that must not be made on the loop."""

    def ask(self, lane: str, call: Callable[[], T], done: Callable[[T | None, Exception | None], None]) -> Fetch:
        """Begin `call` in another thread. `done` hears on the loop, once and later, what it gave or raised (AskError:
        no answer). What is returned waits for that; it may be awaited by many, or by nobody."""

    def now(self) -> float:
        """Seconds that never go back."""

    def call_soon(self, callback: Callable[[], None]) -> None:
        """Call once, after what runs now has returned."""


class _Job:
    __slots__ = ("_done", "call", "over", "until")

    def __init__(self, call: Callable[[], object], done: Callable[[object, Exception | None], None], until: float):
        self.call, self._done, self.until = call, done, until
        self.over = asyncio.Event()

    def end(self, value: object, error: Exception | None) -> None:
        if not self.over.is_set():
            self.over.set()
            self._done(value, error)

    async def fetch(self) -> None:
        await self.over.wait()


class _Lane:
    """`_lock` is held for a few instructions only: the loop takes it too."""

    def __init__(self, name: str, post: Callable[[_Job, object, Exception | None], None]) -> None:
        self._name, self._post = name, post
        self._lock = threading.Lock()
        self._work = threading.Condition(self._lock)
        self._jobs: deque[_Job] = deque()
        self._threads = self._idle = 0

    def put(self, job: _Job) -> bool:
        """False: too many wait already."""
        with self._lock:
            if len(self._jobs) >= WAITING_LIMIT:
                return False
            self._jobs.append(job)
            if self._idle >= len(self._jobs):
                self._work.notify()
                return True
            more = self._threads < THREADS
            self._threads += more
            self._work.notify()
        if more:
            self._begin()
        return True

    def _begin(self) -> None:
        try:
            threading.Thread(target=self._run, name=self._name, daemon=True).start()
        except RuntimeError:  # no more threads are to be had; those that run go on
            with self._lock:
                self._threads -= 1

    def _run(self) -> None:
        while True:
            with self._lock:
                while not self._jobs:
                    self._idle += 1
                    told = self._work.wait(_IDLE)
                    self._idle -= 1
                    if not told and not self._jobs:
                        self._threads -= 1
                        return
                job = self._jobs.popleft()
            if job.over.is_set():
                continue
            try:
                value, error = job.call(), None
            except Exception as raised:
                value, error = None, raised
            self._post(job, value, error)
            del job, value, error  # an idle thread must not keep what it worked on


class Threads:
    """The threads of one process."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._lanes: dict[str, _Lane] = {}
        self._open: deque[_Job] = deque()
        self._sweeping = False
        clock = LoopClock(loop)
        self.now, self.call_soon = clock.monotonic, clock.call_soon

    def ask(self, lane: str, call: Callable[[], T], done: Callable[[T | None, Exception | None], None]) -> Fetch:
        found = self._lanes.get(lane)
        if found is None:
            found = self._lanes[lane] = _Lane(lane, self._post)
        job = _Job(call, done, self.now() + SECONDS)  # type: ignore[arg-type]
        if found.put(job):
            self._open.append(job)
            if not self._sweeping:
                self._sweeping = True
                self._loop.call_later(_SWEEP, self._sweep)
        else:
            self._loop.call_soon(job.end, None, AskError("too many look-ups wait"))
        return job.fetch

    def _post(self, job: _Job, value: object, error: Exception | None) -> None:
        """In a thread."""
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(job.end, value, error)

    def _sweep(self) -> None:
        now = self.now()
        # One that hangs must not keep all that came after it, nor what they gave.
        self._open = deque([job for job in self._open if not job.over.is_set()])
        while self._open and self._open[0].until <= now:
            self._open.popleft().end(None, AskError(f"no answer in {SECONDS:.0f} seconds"))
        self._sweeping = bool(self._open)
        if self._sweeping:
            self._loop.call_later(_SWEEP, self._sweep)
