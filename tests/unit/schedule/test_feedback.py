import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postwarden.schedule.feedback import Feedback, FeedbackError, Window, parse_feedback


@pytest.mark.parametrize(
    ("text", "at_four"),
    [("1", 1.0), ("0.5", 0.5), ("0", 0.0), ("1/concurrency", 0.25), (" 0.5 / sqrt_concurrency ", 0.25)],
)
def test_forms(text: str, at_four: float) -> None:
    assert parse_feedback(text).at(4) == at_four


@pytest.mark.parametrize("text", ["", "2", "-1", "1/2", "1/concurrency/2", "1.2.3", ".", "x", "1 / windows"])
def test_what_is_no_feedback(text: str) -> None:
    with pytest.raises(FeedbackError):
        parse_feedback(text)


@given(st.text(max_size=20))
def test_any_text_is_a_value_or_an_error(text: str) -> None:
    with contextlib.suppress(FeedbackError):
        assert 0.0 <= parse_feedback(text).base <= 1.0


@given(
    st.lists(st.booleans(), max_size=200),
    st.floats(0.0, 1.0),
    st.sampled_from(("", "concurrency", "sqrt_concurrency")),
    st.integers(0, 5),
)
def test_a_window_stays_in_its_bounds(events: list[bool], base: float, divisor: str, cohorts: int) -> None:
    feedback = Feedback(base, divisor)
    window = Window(5)
    for success in events:
        if success:
            window.succeeded(feedback, 20, window.size, 5)
        elif window.failed(feedback, cohorts):
            assert cohorts
            assert window.size == 0
            window.revive(5)
        assert 1 <= window.size <= 20


def test_a_limit_below_the_window_holds_at_once_it_can() -> None:
    window = Window(5)
    window.succeeded(Feedback(1.0), 6, 5, 5)
    window.succeeded(Feedback(1.0), 6, 5, 5)
    assert window.size == 6


def test_a_dead_destination_after_two_cohorts() -> None:
    window = Window(2)
    none = Feedback(0.0)
    assert [window.failed(none, 2) for _ in range(4)] == [False, False, False, True]
