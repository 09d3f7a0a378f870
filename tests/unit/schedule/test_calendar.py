from postwarden.schedule.calendar import Calendar
from postwarden.testing.clock import VirtualClock


def test_time_goes_on_when_the_calendar_is_set_back() -> None:
    clock = VirtualClock()
    calendar = Calendar(clock)
    before = calendar.time()
    clock.advance(10)
    clock.jump(-3600)
    assert calendar.time() == before + 10
    assert calendar.age(clock.now() + 5) == 0.0


def test_jumps_are_counted_and_slewing_is_not() -> None:
    clock = VirtualClock()
    calendar = Calendar(clock)
    for jump, jumps in ((30, 0), (-30, 0), (3600, 1), (-3600, 2)):
        clock.jump(jump)
        clock.advance(1)
        calendar.time()
        assert calendar.jumps == jumps
    clock.advance(1e6)
    calendar.time()
    assert calendar.jumps == 2, "time that was awake is no jump"
