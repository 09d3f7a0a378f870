from postwarden.config.view import view
from postwarden.mail.envelope import Envelope
from postwarden.schedule import lifetimes
from postwarden.schedule.params import CourierParams
from postwarden.testing.config import settings


def params(**values: str) -> CourierParams:
    return view(CourierParams, settings(**values))


def test_waits_grow_with_age_within_their_bounds() -> None:
    bounds = params(minimal_backoff_time="300", maximal_backoff_time="4000")
    assert [lifetimes.wait(age, bounds) for age in (0, 299, 1000, 9999)] == [300, 300, 1000, 4000]


def test_lifetimes() -> None:
    bounds = params(maximal_queue_lifetime="2d", bounce_queue_lifetime="1d")
    sent, bounce = Envelope("A", 0.0, "joe@example.org", (), 1), Envelope("B", 0.0, "", (), 1)
    assert [lifetimes.over(e, 86400, bounds) for e in (sent, bounce)] == [False, True]
    assert [lifetimes.over(e, 86399, bounds) for e in (sent, bounce)] == [False, False]
    assert lifetimes.over(sent, 2 * 86400, bounds)


def test_late_is_never_unless_it_was_asked_for() -> None:
    assert not lifetimes.late(1e9, params())
    assert lifetimes.late(3600, params(delay_warning_time="1h"))
    assert not lifetimes.late(3598, params(delay_warning_time="1h"))
