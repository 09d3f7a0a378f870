import asyncio
import threading
import weakref
from collections.abc import Awaitable, Callable
from functools import partial

import pytest

from postwarden.net import asking
from postwarden.net.asking import AskError, Threads


def run(scene: Callable[[Threads], Awaitable[None]]) -> None:
    async def inside() -> None:
        async with asyncio.timeout(20):
            await scene(Threads(asyncio.get_running_loop()))

    asyncio.run(inside())


class Heard:
    def __init__(self) -> None:
        self.all: list[tuple[object, Exception | None]] = []
        self.thread = 0

    def __call__(self, value: object, error: Exception | None) -> None:
        self.all.append((value, error))
        self.thread = threading.get_ident()


def test_a_call_is_made_in_a_thread_and_heard_on_the_loop() -> None:
    async def scene(threads: Threads) -> None:
        heard = Heard()
        await threads.ask("a", threading.get_ident, heard)()
        assert len(heard.all) == 1
        assert heard.all[0][0] not in (threading.get_ident(), None)
        assert heard.thread == threading.get_ident()

    run(scene)


def test_what_it_raises_is_heard() -> None:
    async def scene(threads: Threads) -> None:
        heard = Heard()
        await threads.ask("a", lambda: 1 // 0, heard)()
        assert isinstance(heard.all[0][1], ZeroDivisionError)

    run(scene)


def test_many_may_wait_for_one_and_one_that_is_cancelled_harms_nobody() -> None:
    async def scene(threads: Threads) -> None:
        go = threading.Event()
        heard = Heard()
        fetch = threads.ask("a", lambda: go.wait(60), heard)
        waiting = [asyncio.ensure_future(fetch()) for _ in range(3)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        go.set()
        await asyncio.gather(*waiting[1:])
        assert heard.all == [(True, None)]

    run(scene)


def test_a_lane_that_hangs_stops_no_other() -> None:
    async def scene(threads: Threads) -> None:
        go = threading.Event()
        before = threading.active_count()
        stuck = [threads.ask("stuck", lambda: go.wait(60), Heard()) for _ in range(100)]
        heard = Heard()
        await threads.ask("other", lambda: "here", heard)()
        assert heard.all == [("here", None)]
        assert threading.active_count() < before + 100
        go.set()
        for fetch in stuck:
            await fetch()

    run(scene)


def test_calls_of_a_lane_are_made_at_once_up_to_its_threads() -> None:
    async def scene(threads: Threads) -> None:
        barrier = threading.Barrier(asking.THREADS, timeout=60)
        heard = Heard()
        for fetch in [threads.ask("a", barrier.wait, heard) for _ in range(asking.THREADS)]:
            await fetch()
        assert [error for _, error in heard.all] == [None] * asking.THREADS

    run(scene)


def test_who_does_not_answer_in_time_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "SECONDS", 0.02)
    monkeypatch.setattr(asking, "_SWEEP", 0.01)

    async def scene(threads: Threads) -> None:
        go = threading.Event()
        heard = Heard()
        await threads.ask("a", lambda: go.wait(60), heard)()
        assert isinstance(heard.all[0][1], AskError)
        go.set()
        await threads.ask("a", lambda: "later", Heard())()
        assert len(heard.all) == 1

    run(scene)


def test_one_that_hangs_keeps_nothing_of_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "_SWEEP", 0.01)

    class Answer:
        pass

    async def scene(threads: Threads) -> None:
        go = threading.Event()
        stuck = threads.ask("stuck", lambda: go.wait(60), Heard())
        answer = Answer()
        gone = weakref.ref(answer)
        await threads.ask("a", partial(id, answer), Heard())()
        del answer
        for _ in range(5000):
            if gone() is None:
                break
            await asyncio.sleep(0.01)
        assert gone() is None
        go.set()
        await stuck()

    run(scene)


def test_more_than_can_wait_are_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "WAITING_LIMIT", 5)

    async def scene(threads: Threads) -> None:
        go = threading.Event()
        heard = Heard()
        fetches = [threads.ask("a", lambda: go.wait(60), heard) for _ in range(50)]
        await fetches[-1]()
        assert isinstance(heard.all[0][1], AskError)
        go.set()
        for fetch in fetches:
            await fetch()
        assert len(heard.all) == 50

    run(scene)


def test_a_thread_without_work_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "_IDLE", 0.01)

    async def scene(threads: Threads) -> None:
        before = threading.active_count()
        await threads.ask("a", lambda: None, Heard())()
        for _ in range(5000):
            if threading.active_count() <= before:
                break
            await asyncio.sleep(0.01)
        assert threading.active_count() <= before
        heard = Heard()
        await threads.ask("a", lambda: "again", heard)()
        assert heard.all == [("again", None)]

    run(scene)
