"""What is remembered of addresses, for how long, and what replaces what."""

import pytest
from msgspec.structs import replace

from postwarden.config.view import view
from postwarden.mail.verified import BOUNCE, DEFER, OK, Verified
from postwarden.testing.config import settings
from postwarden.verify.cache import PROBE_TTL, Cache, Known
from postwarden.verify.params import VerifyParams

DAY = 86400.0
GOOD, BAD, LATER = Verified(OK, "250 ok"), Verified(BOUNCE, "550 no"), Verified(DEFER, "450 later")


def cache(**parameters: str) -> Cache:
    return Cache(view(VerifyParams, settings(**parameters)))


def test_nothing_is_known_at_first() -> None:
    assert cache().find("a@x", 1.0) is None


@pytest.mark.parametrize("found", [BAD, LATER])
def test_a_bad_address_expires_sooner(found: Verified) -> None:
    made = cache()
    made.learn("bad@x", found, 0.0)
    made.learn("good@x", GOOD, 0.0)
    assert made.find("bad@x", 3 * DAY) == Known(found.status, found.text, 0.0)
    assert made.find("bad@x", 3 * DAY + 1) is None
    assert made.find("good@x", 31 * DAY) == Known(OK, "250 ok", 0.0)
    assert made.find("good@x", 31 * DAY + 1) is None


def test_they_are_asked_for_again_before_they_expire() -> None:
    made = cache()
    made.learn("bad@x", BAD, 0.0)
    made.learn("good@x", GOOD, 0.0)
    for address, wait in (("bad@x", 3 * 3600.0), ("good@x", 7 * DAY)):
        known = made.find(address, wait)
        assert known is not None
        assert not made.stale(known, wait)
        assert made.stale(known, wait + 1)


def test_a_refresh_that_failed_is_not_tried_again_at_once() -> None:
    made = cache()
    made.learn("good@x", GOOD, 0.0)
    now = 8 * DAY
    known = made.find("good@x", now)
    assert known is not None
    known.probed = now
    made.learn("good@x", BAD, now)
    assert made.find("good@x", now) is known
    assert not made.stale(known, now + PROBE_TTL)
    assert made.stale(known, now + PROBE_TTL + 1)


def test_one_refusal_does_not_make_a_good_address_bad() -> None:
    made = cache()
    made.learn("a@x", GOOD, 0.0)
    made.learn("a@x", BAD, 100.0)
    assert made.find("a@x", 100.0) == Known(OK, "250 ok", 0.0)
    made.learn("a@x", GOOD, 200.0)
    assert made.find("a@x", 200.0) == Known(OK, "250 ok", 200.0)


def test_an_address_that_was_good_long_ago_may_be_bad() -> None:
    made = cache()
    made.learn("a@x", GOOD, 0.0)
    made.learn("a@x", BAD, 32 * DAY)
    assert made.find("a@x", 32 * DAY) == Known(BOUNCE, "550 no", 32 * DAY)
    assert len(made) == 1


def test_a_bad_address_that_became_good_is_good() -> None:
    made = cache()
    made.learn("a@x", BAD, 0.0)
    made.learn("a@x", GOOD, 1.0)
    assert made.find("a@x", 1.0) == Known(OK, "250 ok", 1.0)
    assert len(made) == 1


def test_without_the_negative_cache_only_good_ones_are_kept() -> None:
    made = cache(address_verify_negative_cache="no")
    made.learn("a@x", BAD, 0.0)
    made.learn("b@x", GOOD, 0.0)
    assert made.find("a@x", 0.0) is None
    assert made.changed == {"b@x": Known(OK, "250 ok", 0.0)}


def test_a_dictionary_attack_pushes_no_good_address_out() -> None:
    made = Cache(view(VerifyParams, settings()), good=10, bad=20)
    made.learn("good@x", GOOD, 0.0)
    for n in range(1000):
        made.learn(f"bad{n}@x", BAD, float(n))
    assert len(made) == 21
    assert made.find("good@x", 1000.0) is not None
    assert made.find("bad999@x", 1000.0) is not None
    assert made.find("bad979@x", 1000.0) is None


def test_what_is_to_be_written_down_has_a_bound_although_nobody_writes() -> None:
    made = Cache(view(VerifyParams, settings()), good=10, bad=20)
    made.learn("good@x", GOOD, 0.0)
    for n in range(1000):
        made.learn(f"bad{n}@x", BAD, float(n))
        assert len(made.changed) <= 61
    assert dict(made.items()).items() <= made.changed.items()


def test_what_is_pushed_out_is_what_was_updated_longest_ago() -> None:
    made = Cache(view(VerifyParams, settings()), good=2, bad=2)
    for address in ("a@x", "b@x", "a@x", "c@x"):
        made.learn(address, GOOD, 0.0)
    assert [address for address, _ in made.items()] == ["a@x", "c@x"]
    assert made.changed["b@x"] is None


def test_long_texts_are_cut() -> None:
    made = cache()
    made.learn("a@x", Verified(BOUNCE, "x" * 10_000), 0.0)
    known = made.find("a@x", 0.0)
    assert known is not None
    assert len(known.text) == 500


def test_clean_forgets_what_has_expired() -> None:
    made = cache()
    made.learn("bad1@x", BAD, 0.0)
    made.learn("bad2@x", BAD, DAY)
    made.learn("good@x", GOOD, 0.0)
    made.changed.clear()
    assert made.clean(3 * DAY + 1) == (2, 1)
    assert made.changed == {"bad1@x": None}
    assert made.clean(3 * DAY + 1) == (2, 0)


def test_what_was_written_down_comes_back() -> None:
    made = cache()
    made.learn("new@x", GOOD, 5 * DAY)
    rows = [
        ("old@x", Known(BOUNCE, "550 no", 0.0)),
        ("bad@x", Known(BOUNCE, "550 no", 4 * DAY)),
        ("new@x", Known(BOUNCE, "550 no", 4 * DAY)),
        ("good@x", Known(OK, "250 ok", 4.5 * DAY)),
    ]
    assert made.restore(rows, 5 * DAY) == (2, 1)
    assert made.changed["old@x"] is None
    assert {address: known.status for address, known in made.items()} == {"bad@x": BOUNCE, "good@x": OK, "new@x": OK}
    assert [address for address, known in made.items() if known.status == OK] == ["good@x", "new@x"]


def test_what_was_written_in_the_future_is_of_now() -> None:
    made = cache()
    made.restore([("a@x", Known(OK, "", 1e12))], 5.0)
    assert made.find("a@x", 5.0) == Known(OK, "", 5.0)


def test_no_more_comes_back_than_there_is_room_for() -> None:
    made = Cache(view(VerifyParams, settings()), good=2, bad=2)
    made.restore([(f"a{n}@x", Known(OK, "", float(n))) for n in range(5)], 10.0)
    assert [address for address, _ in made.items()] == ["a3@x", "a4@x"]
    assert made.changed == {"a0@x": None, "a1@x": None, "a2@x": None}


def test_other_times_count_from_the_next_question_on() -> None:
    made = cache()
    made.learn("a@x", BAD, 0.0)
    made.params = replace(made.params, address_verify_negative_expire_time=5)
    assert made.find("a@x", 6.0) is None
