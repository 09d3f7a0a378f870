import pytest

from postwarden.testing.clock import VirtualClock


def test_time_stands_still_until_it_is_moved() -> None:
    clock = VirtualClock(start=500.0)
    assert clock.now() == 500.0
    clock.run()
    assert clock.now() == 500.0


def test_timers_ring_in_order_each_at_its_moment() -> None:
    clock, rung = VirtualClock(), []
    start = clock.monotonic()
    clock.call_later(5, lambda: rung.append(("b", clock.monotonic() - start)))
    clock.call_later(2, lambda: rung.append(("a", clock.monotonic() - start)))
    clock.call_later(50, lambda: rung.append(("late", 0)))
    clock.advance(10)
    assert rung == [("a", 2), ("b", 5)]
    assert clock.monotonic() - start == 10
    assert clock.next_timer() == 40


def test_a_cancelled_timer_does_not_ring() -> None:
    clock, rung = VirtualClock(), []
    clock.call_later(1, lambda: rung.append(1)).cancel()
    assert clock.next_timer() is None
    clock.advance(2)
    assert not rung


def test_a_timer_may_set_another_within_the_same_advance() -> None:
    clock, rung = VirtualClock(), []
    clock.call_later(1, lambda: clock.call_later(1, lambda: rung.append(1)))
    clock.advance(2)
    assert rung == [1]


def test_jump_moves_the_calendar_only() -> None:
    clock = VirtualClock()
    now, monotonic = clock.now(), clock.monotonic()
    clock.jump(-3600)
    assert (clock.now(), clock.monotonic()) == (now - 3600, monotonic)


def test_endless_callbacks_are_a_bug_and_named() -> None:
    clock = VirtualClock()

    def again() -> None:
        clock.call_soon(again)

    again()
    with pytest.raises(RuntimeError):
        clock.run(limit=100)
