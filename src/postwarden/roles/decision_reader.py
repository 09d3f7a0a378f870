"""The store of decisions for those who can't read it: the courier looks in its files, in a thread beside the loop.

One question is looked up at a time, and with pauses: Python runs one thread at a time, and mail goes first. A turn is
timed by the wall clock, since on a busy machine the loop is kept waiting for longer than the thread computes: a loop
that never rests keeps three quarters of its speed, and had three fifths with turns in processor time.
"""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial

from postwarden.ipc import queue_records as ask
from postwarden.mail.queue import Damaged
from postwarden.trace.files import BEGIN, Place
from postwarden.trace.records import Record
from postwarden.trace.search import Search, Wanted, refused

_BYTES = 512 << 10
"""Of one answer; the last record goes beyond it."""
_TURN = 0.005
_REST = 2
"""Seconds of a turn, after which it rests twice as long: users who ask without end take a third of one processor."""
_LONGEST = 1000
"""Characters of a name or address that is looked for."""
Found = Iterator[tuple[Record, bytes, Place]]


class _Ended(Exception):
    """The courier ends: nobody waits any more."""


class DecisionReader:
    """For all connections of the control socket."""

    def __init__(self, path: str) -> None:
        """`path`: the store's directory."""
        self._path = path
        self._one = asyncio.Lock()
        self._over = threading.Event()

    def close(self) -> None:
        self._over.set()

    def asking(self) -> "Asking":
        return Asking(self)

    async def read(self, work: Callable[[str, Callable[[], None]], ask.Records]) -> ask.Answer:
        """`work(path, pace)` in a thread."""
        async with self._one:
            loop = asyncio.get_running_loop()
            done: asyncio.Future[ask.Answer] = loop.create_future()

            def settle(answer: ask.Answer) -> None:
                if not done.done():
                    done.set_result(answer)

            def run() -> None:
                try:
                    answer: ask.Answer = work(self._path, _Pace(self._over))
                except _Ended:
                    answer = ask.Refused(ask.BAD, "the mail system is going down")
                except OSError as error:
                    answer = ask.Refused(ask.BAD, f"{error.filename or self._path}: {error.strerror}")
                except Exception as error:  # a bug with one question
                    answer = ask.Refused(ask.BAD, f"internal error: {error!r}")
                with contextlib.suppress(RuntimeError):  # the loop has ended
                    loop.call_soon_threadsafe(settle, answer)

            # A daemon: the courier must not wait for it when it ends.
            threading.Thread(target=run, name="decisions", daemon=True).start()
            return await done


class _Pace:
    def __init__(self, over: threading.Event, turn: float = _TURN) -> None:
        self._over, self._turn = over, turn
        self._began = time.monotonic()

    def __call__(self) -> None:
        spent = time.monotonic() - self._began
        if spent >= self._turn:
            if self._over.wait(_REST * spent):
                raise _Ended
            self._began = time.monotonic()


class Asking:
    """One connection's questions, one at a time: what the first of several found out holds for the next."""

    def __init__(self, reader: DecisionReader) -> None:
        self._reader = reader
        self._search: Search | None = None

    async def answer(self, question: ask.AskHistory | ask.AskRefused) -> ask.Answer:
        """Raises Damaged for a question that can't be one."""
        texts = (question.name,) if isinstance(question, ask.AskHistory) else (
            question.client, question.sender, question.recipient)  # fmt: skip
        if any(len(text) > _LONGEST for text in texts):
            raise Damaged("too long a name")
        if isinstance(question, ask.AskRefused):
            return await self._reader.read(partial(self._refused, question))
        if not question.name.strip("<>"):
            raise Damaged("no name")
        return await self._reader.read(partial(self._history, question))

    def _refused(self, question: ask.AskRefused, path: str, pace: Callable[[], None]) -> ask.Records:
        wanted = Wanted(question.client, question.sender, question.recipient, question.since)
        return _page(refused(path, wanted, question.after or BEGIN, pace))

    def _history(self, question: ask.AskHistory, path: str, pace: Callable[[], None]) -> ask.Records:
        search = self._search
        if search is None or question.after is None or search.asked != question.name:
            search = self._search = Search(question.name)
            search.first_pass(path, pace)
        return _page(search.second_pass(path, question.after or BEGIN, pace))


def _page(found: Found) -> ask.Records:
    records: list[bytes] = []
    size = 0
    for _, data, place in found:
        records.append(data)
        size += len(data)
        if size >= _BYTES:
            return ask.Records(tuple(records), place)
    return ask.Records(tuple(records), None)
