from msgspec.structs import replace

from postwarden.roles.generations import Generations, Plan
from postwarden.roles.handover import Handover
from postwarden.testing.config import settings

FIRST = Plan(0, settings(), (), Handover(settings()))


def following(number: int) -> Plan:
    return replace(FIRST, number=number)


def test_a_process_that_dies_is_replaced_by_one_of_its_generation_until_the_next_takes_over() -> None:
    generations = Generations(FIRST)
    assert generations.plan_of(0) is FIRST
    generations.took_over()
    generations.begin(second := following(1), 10.0)
    assert generations.plan_of(0) is FIRST and generations.plan_of(1) is second
    generations.begin(third := following(2), 30.0)
    assert generations.plan_of(0) is FIRST
    assert generations.plan_of(1) is None
    generations.took_over()
    assert generations.plan_of(0) is None and generations.plan_of(2) is third


def test_reloads_that_come_too_fast_become_one() -> None:
    generations = Generations(FIRST)
    assert generations.wait(0.0) == 0.0, "the first start is no reload"
    generations.took_over()
    assert generations.wait(1.0) == 0.0
    generations.begin(following(1), 1.0)
    assert [generations.wait(2.0), generations.wait(3.0)] == [9.0, None]
    assert generations.took_over()
    generations.begin(following(2), 4.0)
    assert not generations.due(), "it was made when the one before took over"
    assert not generations.took_over()
    assert generations.wait(5.0) == 0.0


def test_a_reload_does_not_wait_for_ever_for_one_that_never_takes_over() -> None:
    generations = Generations(FIRST)
    generations.took_over()
    generations.begin(following(1), 0.0)
    assert generations.wait(4.0) == 6.0
    assert generations.due()
    generations.begin(following(2), 10.0)
    assert generations.wait(20.0) == 0.0
