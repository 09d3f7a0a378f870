from functools import partial

import pytest

from postwarden.ipc.records import AddressAsked, AddressKnown
from postwarden.mail.verified import BOUNCE, FAIL, IN_PROGRESS, OK, TODO, Verified
from postwarden.roles.verifier import CourierVerifier
from postwarden.testing.clock import VirtualClock

JOE = "joe@example.com"
FINE, FAILED = Verified(OK, "250 fine"), Verified(FAIL)


class Place:
    """A verifier, the courier that it tells, and what sessions heard."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.verifier = CourierVerifier(self.clock)
        self.asked: list[AddressAsked] = []
        self.there = True
        self.verifier.tell = self._told
        self.heard: list[tuple[str, Verified]] = []

    def _told(self, asked: AddressAsked) -> bool:
        self.asked.append(asked)
        return self.there

    def ask(self, who: str, seconds: float = 6.0, address: str = JOE) -> None:
        self.verifier.ask(address, seconds, partial(self._heard, who))

    def _heard(self, who: str, verified: Verified) -> None:
        self.heard.append((who, verified))

    def says(self, status: str, text: str, at: int = -1) -> None:
        self.verifier.known(AddressKnown(self.asked[at].number, status, text))

    def begun(self) -> None:
        self.says(TODO, IN_PROGRESS.text)


def test_what_is_known_is_heard_at_once() -> None:
    place = Place()
    place.ask("a", 0.0)
    assert [asked.address for asked in place.asked] == [JOE] and place.heard == []
    place.says(OK, "250 fine")
    assert place.heard == [("a", FINE)] and place.verifier.open == 0
    place.clock.advance(100)
    assert len(place.heard) == 1


def test_a_probe_is_waited_for_as_long_as_the_session_has_patience() -> None:
    place = Place()
    place.ask("a")
    place.begun()
    place.clock.advance(5.9)
    assert place.heard == []
    place.clock.advance(0.2)
    assert place.heard == [("a", IN_PROGRESS)] and place.verifier.open == 0
    place.says(OK, "too late")
    assert len(place.heard) == 1


def test_an_outcome_is_heard_as_soon_as_it_is_there() -> None:
    place = Place()
    place.ask("a")
    place.begun()
    place.clock.advance(0.05)
    place.says(BOUNCE, "no")
    assert place.heard == [("a", Verified(BOUNCE, "no"))]


def test_sessions_that_ask_for_one_address_share_a_question() -> None:
    place = Place()
    place.ask("a", 3.0)
    place.begun()
    place.clock.advance(2)
    place.ask("b", 6.0)
    place.ask("other", address="ann@example.com")
    place.ask("hasty", 0.0)
    assert len(place.asked) == 2 and place.heard == [("hasty", IN_PROGRESS)]
    place.clock.advance(1.5)
    assert place.heard[1:] == [("a", IN_PROGRESS)]
    place.says(OK, "250 fine", 0)
    assert place.heard[2:] == [("b", FINE)] and place.verifier.open == 1
    place.ask("c", 3.0)
    assert len(place.asked) == 3 and len({asked.number for asked in place.asked}) == 3


def test_the_hasty_ones_wait_for_the_first_word() -> None:
    place = Place()
    place.ask("a", 0.0)
    place.ask("b", 6.0)
    place.clock.advance(1)
    place.begun()
    assert place.heard == [("a", IN_PROGRESS)]
    place.clock.advance(5)
    assert place.heard[1:] == [("b", IN_PROGRESS)]


@pytest.mark.parametrize("seconds", [0.0, 6.0, 10.0])
def test_a_courier_that_says_nothing_counts_as_none(seconds: float) -> None:
    place = Place()
    place.ask("a", seconds)
    place.clock.advance(9.9)
    assert place.heard == []
    place.clock.advance(0.2)
    assert place.heard == [("a", FAILED)] and place.verifier.open == 0


def test_a_courier_that_says_late_that_it_has_begun() -> None:
    place = Place()
    place.ask("a", 6.0)
    place.clock.advance(8)
    place.begun()
    assert place.heard == [("a", IN_PROGRESS)]


def test_without_a_courier() -> None:
    place = Place()
    place.there = False
    place.ask("a")
    assert place.heard == [("a", FAILED)] and place.verifier.open == 0
    CourierVerifier(place.clock).ask(JOE, 6.0, partial(place._heard, "b"))
    assert place.heard[1:] == [("b", FAILED)]


def test_a_courier_that_goes_away() -> None:
    place = Place()
    place.ask("a")
    place.begun()
    place.ask("b", address="ann@example.com")
    place.verifier.lost()
    assert place.heard == [("a", FAILED), ("b", FAILED)] and place.verifier.open == 0
    place.clock.advance(100)
    assert len(place.heard) == 2


def test_a_word_that_is_none_lets_nobody_in() -> None:
    place = Place()
    place.ask("a")
    place.says("odd", "x")
    place.verifier.known(AddressKnown(99, OK, ""))
    assert place.heard == [("a", FAILED)]


def test_who_hears_may_ask_again() -> None:
    place = Place()

    def again(verified: Verified) -> None:
        place.ask("again")

    place.verifier.ask(JOE, 6.0, again)
    place.ask("a")
    place.says(OK, "250 fine")
    assert place.heard == [("a", FINE)] and len(place.asked) == 2
    place.says(OK, "250 fine")
    assert place.heard[1:] == [("again", FINE)]
