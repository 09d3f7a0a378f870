from postwarden.mail.status import Status
from postwarden.schedule.feedback import Feedback
from postwarden.schedule.scheduler import BELOW, Destination, Scheduler, TransportLimits, lane

REFUSED = Status("4.4.1", "connect to dead.example[192.0.2.1]:25: Connection refused")


def smtp(**limits: object) -> Scheduler[str]:
    scheduler: Scheduler[str] = Scheduler(300.0)
    scheduler.configure(TransportLimits("smtp", "carrier", **limits))  # type: ignore[arg-type]
    return scheduler


def add(scheduler: Scheduler[str], key: str, *names: str, transport: str = "smtp") -> Destination[str]:
    for name in names:
        destination = scheduler.add(name, transport, key)
        assert isinstance(destination, Destination)
    return destination


def take_all(scheduler: Scheduler[str], pool: str = "carrier") -> list[str]:
    taken = []
    while (one := scheduler.take(pool)) is not None:
        taken.append(one)
    return taken


def test_first_in_first_out_within_a_destination_and_turns_between_them() -> None:
    scheduler = smtp()
    add(scheduler, "a", "a1", "a2", "a3")
    add(scheduler, "b", "b1", "b2")
    assert take_all(scheduler) == ["a1", "b1", "a2", "b2", "a3"]
    assert scheduler.waiting == 0


def test_a_window_holds_back_and_success_widens_it() -> None:
    scheduler = smtp(initial=2, concurrency=4)
    there = add(scheduler, "a", *(f"m{n}" for n in range(20)))
    assert len(take_all(scheduler)) == 2
    scheduler.finished(there, None, 0.0)
    assert len(take_all(scheduler)) == 2
    for _ in range(3):
        scheduler.finished(there, None, 0.0)
    assert there.window.size == 4
    take_all(scheduler)
    assert there.busy == 4


def test_growth_stays_near_what_is_used() -> None:
    scheduler = smtp(initial=5, concurrency=20)
    there = add(scheduler, "a", *(f"m{n}" for n in range(40)))
    for _ in range(30):
        assert scheduler.take("carrier") is not None
        scheduler.finished(there, None, 0.0)
    assert there.window.size == 6


def test_a_dead_destination_is_suspended_and_delays_nobody() -> None:
    scheduler = smtp(initial=2)
    dead = add(scheduler, "dead", "d1", "d2", "d3", "d4")
    add(scheduler, "alive", "a1")
    assert take_all(scheduler) == ["d1", "a1", "d2"]
    assert scheduler.finished(dead, REFUSED, 10.0) == []
    assert scheduler.finished(dead, REFUSED, 10.0) == ["d3", "d4"]
    assert dead.suspended == Status("4.4.1", f"delivery temporarily suspended: {REFUSED.text}")
    assert scheduler.add("d5", "smtp", "dead") == dead.suspended
    add(scheduler, "alive", "a2")
    assert take_all(scheduler) == ["a2"]
    assert scheduler.next_wake == 310.0
    scheduler.wake(309.0)
    assert isinstance(scheduler.add("d6", "smtp", "dead"), Status)
    scheduler.wake(310.0)
    add(scheduler, "dead", "d7")
    assert take_all(scheduler) == ["d7"]


def test_flush_revives_at_once() -> None:
    scheduler = smtp(initial=1)
    dead = add(scheduler, "dead", "d1")
    take_all(scheduler)
    scheduler.finished(dead, REFUSED, 0.0)
    assert isinstance(scheduler.add("d2", "smtp", "dead"), Status)
    scheduler.flush()
    add(scheduler, "dead", "d3")
    assert take_all(scheduler) == ["d3"]
    assert scheduler.next_wake is None


def test_success_between_failures_forgives_them() -> None:
    scheduler = smtp(initial=2)
    there = add(scheduler, "a", *(f"m{n}" for n in range(9)))
    take_all(scheduler)
    scheduler.finished(there, REFUSED, 0.0)
    assert there.window.size == 1
    scheduler.finished(there, None, 0.0)
    assert there.window.size == 2
    take_all(scheduler)
    scheduler.finished(there, REFUSED, 0.0)
    assert there.suspended is None


def test_cohort_limit_zero_never_suspends() -> None:
    scheduler = smtp(initial=1, cohorts=0)
    there = add(scheduler, "a", *(f"m{n}" for n in range(9)))
    for _ in range(9):
        assert len(take_all(scheduler)) == 1
        scheduler.finished(there, REFUSED, 0.0)
    assert there.suspended is None


def test_fractional_feedback_grows_late_and_shrinks_early() -> None:
    quarter = Feedback(0.25)
    scheduler = smtp(initial=4, positive=quarter, negative=quarter, cohorts=10)
    there = add(scheduler, "a", *(f"m{n}" for n in range(40)))
    sizes = []
    for _ in range(4):
        scheduler.take("carrier")
        take_all(scheduler)
        scheduler.finished(there, None, 0.0)
        sizes.append(there.window.size)
    assert sizes == [4, 4, 4, 5]
    sizes = []
    for _ in range(5):
        take_all(scheduler)
        scheduler.finished(there, REFUSED, 0.0)
        sizes.append(there.window.size)
    assert sizes == [4, 4, 4, 4, 3]


def test_a_transport_keeps_to_its_processes_and_leaves_the_others_alone() -> None:
    scheduler = smtp(processes=3)
    scheduler.configure(TransportLimits("relay", "carrier"))
    a = add(scheduler, "a", "a1", "a2", "a3")
    add(scheduler, "b", "b1", "b2")
    add(scheduler, "a", "r1", transport="relay")
    assert sorted(take_all(scheduler)) == ["a1", "a2", "b1", "r1"]
    scheduler.finished(a, None, 0.0)
    assert take_all(scheduler) == ["b2"]


def test_pools_are_apart() -> None:
    scheduler = smtp()
    scheduler.configure(TransportLimits("local", "agent"))
    add(scheduler, "joe", "l1", transport="local")
    add(scheduler, "a", "a1")
    assert take_all(scheduler, "agent") == ["l1"]
    assert take_all(scheduler, "nobody") == []
    assert take_all(scheduler) == ["a1"]


def test_a_delivery_that_did_not_happen_is_next_again() -> None:
    scheduler = smtp(initial=1)
    there = add(scheduler, "a", "a1", "a2")
    assert take_all(scheduler) == ["a1"]
    assert scheduler.again(there, "a1")
    assert take_all(scheduler) == ["a1"]
    scheduler.finished(there, REFUSED, 0.0)


def test_again_at_a_suspended_destination_is_refused() -> None:
    scheduler = smtp(initial=2)
    there = add(scheduler, "a", "a1", "a2")
    take_all(scheduler)
    for _ in range(2):
        there.window.failed(Feedback(1.0), 1)
    scheduler.finished(there, None, 0.0)
    there.suspended = REFUSED
    assert not scheduler.again(there, "a2")
    assert there.busy == 0


def test_rate_delay_is_one_at_a_time_with_a_rest() -> None:
    scheduler = smtp(rate_delay=5.0)
    there = add(scheduler, "a", "a1", "a2")
    assert take_all(scheduler) == ["a1"]
    scheduler.finished(there, None, 100.0)
    assert take_all(scheduler) == []
    assert scheduler.next_wake == 105.0
    scheduler.wake(105.0)
    assert take_all(scheduler) == ["a2"]


def test_a_rest_that_ends_does_not_end_a_suspension() -> None:
    scheduler = smtp(rate_delay=5.0, initial=1)
    there = add(scheduler, "a", "a1")
    take_all(scheduler)
    scheduler.finished(there, REFUSED, 0.0)
    scheduler.wake(5.0)
    assert there.suspended is not None
    scheduler.wake(300.0)
    assert there.suspended is None


def test_idle_destinations_leave_nothing_behind() -> None:
    scheduler = smtp()
    for n in range(100):
        there = add(scheduler, f"d{n}", "m")
        take_all(scheduler)
        scheduler.finished(there, None, 0.0)
    assert scheduler._transports["smtp"].destinations == {}


def test_new_limits_hold_from_the_next_delivery_on() -> None:
    scheduler = smtp(processes=1)
    add(scheduler, "a", "a1", "a2")
    assert take_all(scheduler) == ["a1"]
    scheduler.configure(TransportLimits("smtp", "carrier", processes=0))
    assert take_all(scheduler) == ["a2"]


def test_thousand_dead_destinations_and_one_alive() -> None:
    scheduler = smtp(initial=5, processes=100)
    homes = {f"d{n}": add(scheduler, f"d{n}", *(f"d{n}:{m}" for m in range(10))) for n in range(1000)}
    homes["alive"] = add(scheduler, "alive", *(f"alive:{m}" for m in range(10)))
    now, done = 0.0, 0
    for _ in range(200):
        now += 1.0
        for name in take_all(scheduler):
            key = name.partition(":")[0]
            done += key == "alive"
            scheduler.finished(homes[key], None if key == "alive" else REFUSED, now)
    assert done == 10
    assert scheduler.waiting == 0


def big_and_small(**limits: object) -> list[str]:
    """What leaves, one at a time, when a mailing waits before three single messages."""
    scheduler = smtp(processes=1, **limits)
    for n in range(300):
        scheduler.add(f"big{n}", "smtp", f"{n % 100}.example", lane(300))
    for n in range(3):
        scheduler.add(f"small{n}", "smtp", "1.example", lane(1))
    left = []
    for _ in range(10):
        delivery = scheduler.take("carrier")
        assert delivery is not None
        left.append(delivery)
        key = "1.example" if delivery.startswith("small") else f"{int(delivery[3:]) % 100}.example"
        scheduler.finished(scheduler._transports["smtp"].destinations[key], None, 0.0)
    return left


def test_a_mailing_holds_up_a_single_message_for_one_delivery() -> None:
    left = big_and_small()
    assert [left.index(f"small{n}") for n in range(3)] == [0, 2, 4]
    assert [d for d in left if d.startswith("big")] == [f"big{n}" for n in range(7)], "and goes on in its order"


def test_without_slots_all_are_first_in_first_out() -> None:
    assert big_and_small(lanes=False) == [f"big{n}" for n in range(10)]


def test_lanes_by_size() -> None:
    assert [lane(n) for n in (1, 2, 3, 20, 21, 200, 201, 99999)] == [0, 0, 1, 1, 2, 2, 3, 3]


def test_a_transport_may_have_to_rest_after_each_delivery() -> None:
    scheduler = smtp(transport_delay=10.0)
    places = [scheduler.add(str(n), "smtp", f"{n}.example") for n in range(3)]
    for n, place in enumerate(places):
        now = 10.0 * n
        scheduler.wake(now)
        assert scheduler.take("carrier") == str(n)
        assert scheduler.take("carrier") is None
        scheduler.flush()
        assert scheduler.take("carrier") is None, "a flush does not end a rate delay"
        assert not isinstance(place, Status)
        scheduler.finished(place, None, now)
        assert scheduler.take("carrier") is None
        assert scheduler.next_wake == now + 10.0


def test_what_was_added_can_be_removed_until_it_begins() -> None:
    scheduler = smtp()
    place = scheduler.add("a", "smtp", "x.example", 3)
    assert not isinstance(place, Status)
    scheduler.add("b", "smtp", "x.example")
    assert scheduler.remove(place, "a")
    assert not scheduler.remove(place, "a")
    assert scheduler.take("carrier") == "b"
    assert not scheduler.remove(place, "b")
    scheduler.finished(place, None, 0.0)
    assert (scheduler.waiting, scheduler.take("carrier"), scheduler._transports["smtp"].destinations) == (0, None, {})


def below(scheduler: Scheduler[str], key: str, *names: str) -> Destination[str]:
    for name in names:
        destination = scheduler.add(name, "smtp", key, BELOW)
        assert isinstance(destination, Destination)
    return destination


def take_below(scheduler: Scheduler[str]) -> list[str]:
    taken = []
    while (one := scheduler.take_below("carrier", lambda limits: True)) is not None:
        taken.append(one)
    return taken


def test_what_is_below_is_never_taken_as_mail() -> None:
    scheduler = smtp()
    below(scheduler, "a", "p1")
    add(scheduler, "a", "m1", "m2")
    assert take_all(scheduler) == ["m1", "m2"]
    assert scheduler.waiting == 1


def test_below_has_three_quarters_of_a_window() -> None:
    scheduler = smtp(initial=4, concurrency=4)
    there = below(scheduler, "a", "p1", "p2", "p3", "p4", "p5")
    below(scheduler, "b", "q1")
    assert take_below(scheduler) == ["p1", "q1", "p2", "p3"]
    add(scheduler, "a", "m1", "m2")
    assert take_all(scheduler) == ["m1"]
    for taken in ([], ["p4"], ["p5"], []):
        scheduler.finished(there, None, 0.0)
        assert take_below(scheduler) == taken
    assert take_all(scheduler) == ["m2"]


def test_below_has_the_only_place_where_nobody_needs_it() -> None:
    scheduler = smtp(initial=1, concurrency=1)
    there = below(scheduler, "a", "p1", "p2")
    assert take_below(scheduler) == ["p1"]
    scheduler.finished(there, None, 0.0)
    assert take_below(scheduler) == ["p2"]


def test_below_keeps_to_the_limits_of_the_transport() -> None:
    scheduler = smtp(processes=1)
    below(scheduler, "a", "p1", "p2")
    assert scheduler.take_below("agent", lambda limits: True) is None
    assert scheduler.take_below("carrier", lambda limits: False) is None
    assert take_below(scheduler) == ["p1"]


def test_below_keeps_to_the_rate_delays() -> None:
    scheduler = smtp(rate_delay=5.0)
    there = below(scheduler, "a", "p1", "p2")
    assert take_below(scheduler) == ["p1"]
    scheduler.finished(there, None, 0.0)
    assert take_below(scheduler) == []
    scheduler.wake(5.0)
    assert take_below(scheduler) == ["p2"]


def test_below_falls_with_its_destination() -> None:
    scheduler = smtp(initial=1)
    there = below(scheduler, "a", "p1", "p2")
    assert take_below(scheduler) == ["p1"]
    assert scheduler.finished(there, REFUSED, 0.0) == ["p2"]
    assert scheduler.waiting == 0


def test_below_can_be_removed() -> None:
    scheduler = smtp()
    there = below(scheduler, "a", "p1")
    assert scheduler.remove(there, "p1")
    assert take_below(scheduler) == []


def test_a_transport_with_few_in_hand_goes_on_while_others_have_all() -> None:
    scheduler = smtp(initial=20)
    for name in ("slow", "local"):
        scheduler.configure(TransportLimits(name, "carrier", initial=20))
    add(scheduler, "a", *(f"a{n}" for n in range(9)))
    add(scheduler, "b", *(f"b{n}" for n in range(9)), transport="slow")
    assert [scheduler.take("carrier") for _ in range(12)].count(None) == 0
    assert scheduler.take("carrier", 5) is None
    local = add(scheduler, "c", *(f"c{n}" for n in range(7)), transport="local")
    assert [scheduler.take("carrier", 5) for _ in range(6)] == ["c0", "c1", "c2", "c3", "c4", None]
    scheduler.finished(local, None, 0.0)
    assert [scheduler.take("carrier", 5) for _ in range(2)] == ["c5", None]
    # Nothing was lost of those that were passed over.
    assert sorted(take_all(scheduler)) == ["a6", "a7", "a8", "b6", "b7", "b8", "c6"]
