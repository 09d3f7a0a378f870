import asyncio
import time

from postwarden.net.clock import Deadline, LoopClock
from postwarden.testing.clock import VirtualClock


def test_a_deadline_fires_once_at_its_moment() -> None:
    clock, fired = VirtualClock(), []
    deadline = Deadline(clock, lambda: fired.append(clock.monotonic()))
    begin = clock.monotonic()
    deadline.set(10)
    clock.advance(9.9)
    assert not fired
    clock.advance(100)
    assert fired == [begin + 10]


def test_a_deadline_that_is_moved_on_fires_at_the_last_moment_set() -> None:
    clock, fired = VirtualClock(), []
    deadline = Deadline(clock, lambda: fired.append(clock.monotonic()))
    begin = clock.monotonic()
    for _ in range(5):
        deadline.set(10)
        clock.advance(4)
    clock.advance(100)
    assert fired == [begin + 16 + 10]


def test_a_deadline_can_be_moved_forward() -> None:
    clock, fired = VirtualClock(), []
    deadline = Deadline(clock, lambda: fired.append(clock.monotonic()))
    begin = clock.monotonic()
    deadline.set(300)
    deadline.set(5)
    clock.advance(1000)
    assert fired == [begin + 5]


def test_a_deadline_that_is_cleared_does_not_fire_and_can_be_set_again() -> None:
    clock, fired = VirtualClock(), []
    deadline = Deadline(clock, lambda: fired.append(clock.monotonic()))
    deadline.set(5)
    deadline.clear()
    deadline.clear()
    clock.advance(100)
    assert not fired
    deadline.set(5)
    clock.advance(5)
    assert len(fired) == 1


def test_the_loops_clock_tells_the_time_and_calls() -> None:
    async def run() -> list[str]:
        clock, called = LoopClock(asyncio.get_running_loop()), list[str]()
        over = asyncio.Event()
        clock.call_later(3600, lambda: called.append("cancelled")).cancel()
        clock.call_later(0, over.set)
        clock.call_soon(lambda: called.append("soon"))
        assert abs(clock.now() - time.time()) < 60
        assert clock.monotonic() <= clock.monotonic()
        assert not called, "never inside the call"
        await asyncio.wait_for(over.wait(), 20)
        return called

    assert asyncio.run(run()) == ["soon"]
