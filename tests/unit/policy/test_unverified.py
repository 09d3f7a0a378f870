"""Restrictions that ask whether an address takes mail. What smtpd(8) says word for word is compared in
tests/interop/test_unverified.py."""

import asyncio
from collections.abc import Callable

import pytest
from msgspec.structs import replace

from postwarden.addressing.resolve import open_resolver
from postwarden.config.errors import ConfigError
from postwarden.mail.decision import Decision, settle
from postwarden.mail.envelope import Client
from postwarden.mail.session import Findings, SessionFacts
from postwarden.mail.verified import BOUNCE, DEFER, FAIL, IN_PROGRESS, OK, Verified
from postwarden.policy.judge import Judge
from postwarden.policy.outside import NOBODY
from postwarden.tables.opening import Tables
from postwarden.testing.config import settings
from postwarden.testing.verifier import FakeVerifier

STRANGER = Client("mail.far.example", "198.51.100.7", 4000, "mail.far.example", "far.example", "ESMTP")
JOE = "joe@mx.example.com"
NO_USER = Verified(BOUNCE, "host mx[::1] said: 550 no such user")
DOWN = Verified(DEFER, "connect to mx[::1]:25: Connection refused")


class Place:
    def __init__(self, *known: Verified, **parameters: str) -> None:
        own = {"local_recipient_maps": "", "smtpd_relay_restrictions": "reject_unauth_destination"}
        chosen = settings(**own | parameters)
        tables = Tables.of(chosen)
        joes = (JOE, "joe@far.example")
        self.verifier = FakeVerifier(dict.fromkeys(joes, known[0]) if known else {}, Verified(OK, "250 Ok"))
        outside = replace(NOBODY, verifier=self.verifier, now=lambda: 20780.5 * 86400)
        self.judge = Judge(chosen, "", tables, open_resolver(chosen, tables), outside)
        self.facts = SessionFacts(STRANGER, sender="joe@far.example", findings=Findings())

    def settled(self, decide: Callable[[], Decision]) -> Decision:
        self.facts.findings.known.clear()
        return asyncio.run(settle(decide))

    def decide(self, recipient: str = JOE, **more: object) -> Decision:
        facts = replace(self.facts, **more)
        return self.settled(lambda: self.judge.recipient(facts, recipient))

    def says(self, recipient: str = JOE, **more: object) -> str:
        decision = self.decide(recipient, **more)
        return decision.verdict.value if decision.reply is None else str(decision.reply)


def recipient(*known: Verified, words: str = "reject_unverified_recipient", **parameters: str) -> Place:
    return Place(*known, smtpd_recipient_restrictions=words, **parameters)


@pytest.mark.parametrize(
    ("known", "said"),
    [
        (Verified(OK), "dunno"),
        (NO_USER, "550 5.1.1 <joe@mx.example.com>: Recipient address rejected: undeliverable address: host mx[::1]"
         " said: 550 no such user"),
        (DOWN, "450 4.1.1 <joe@mx.example.com>: Recipient address rejected: unverified address: connect to mx[::1]"
         ":25: Connection refused"),
        (IN_PROGRESS, "450 4.1.1 <joe@mx.example.com>: Recipient address rejected: unverified address: Address"
         " verification in progress"),
        (Verified(FAIL), "450 4.1.1 <joe@mx.example.com>: Recipient address rejected: address verification problem"),
    ],
)  # fmt: skip
def test_a_recipient(known: Verified, said: str) -> None:
    assert recipient(known, unverified_recipient_reject_code="550").says() == said


def test_nobody_to_ask_lets_nobody_in() -> None:
    chosen = settings(local_recipient_maps="", smtpd_recipient_restrictions="reject_unverified_recipient, permit")
    tables = Tables.of(chosen)
    judge = Judge(chosen, "", tables, open_resolver(chosen, tables))
    facts = SessionFacts(STRANGER, sender="")
    decision = asyncio.run(settle(lambda: judge.recipient(facts, JOE)))
    assert str(decision.reply).endswith("address verification problem")
    assert [effect.note for effect in decision.effects] == ["verify service failure"]


def test_a_sender() -> None:
    place = Place(NO_USER, smtpd_sender_restrictions="reject_unverified_sender", unverified_sender_reject_code="553")
    start = "553 5.1.7 <joe@far.example>: Sender address rejected: undeliverable address: host"
    assert place.says().startswith(start)
    assert place.says(sender="") == "dunno" and place.says(sender="ann@far.example") == "dunno"
    assert place.verifier.asked == [("joe@far.example", 6.0), ("ann@far.example", 6.0)]


def test_by_default_nothing_is_refused_for_good() -> None:
    assert (
        recipient(NO_USER).says().startswith("450 4.1.1 <joe@mx.example.com>: Recipient address rejected: unverified")
    )
    words = "reject_unverified_sender"
    assert Place(NO_USER, smtpd_sender_restrictions=words).says().startswith("450 4.1.7")


def test_a_code_that_lets_in() -> None:
    place = recipient(DOWN, unverified_recipient_defer_code="250")
    assert place.says() == "dunno"
    place.verifier.known[JOE] = IN_PROGRESS
    assert place.says() == "dunno"
    place.verifier.known[JOE] = Verified(FAIL)
    assert place.says().startswith("450")
    assert recipient(NO_USER, unverified_recipient_reject_code="250").says() == "dunno"
    assert recipient(NO_USER, unverified_recipient_reject_code="354").says().startswith("450 4.7.1")


def test_a_reason_of_the_operators() -> None:
    own = {"unverified_recipient_reject_reason": "not known", "unverified_recipient_reject_code": "550"}
    assert recipient(NO_USER, **own).says().endswith("undeliverable address: not known")
    assert recipient(DOWN, **own).says().endswith("unverified address: not known")
    assert recipient(Verified(FAIL), **own).says().endswith("address verification problem")


def test_what_a_server_says_is_cut_between_characters() -> None:
    place = recipient(Verified(BOUNCE, "ä" * 300))
    assert place.says().endswith(f"unverified address: {'ä' * 125}")
    place.verifier.known[JOE] = Verified(BOUNCE, "x" + "€" * 300)
    assert place.says().endswith(f"unverified address: x{'€' * 83}")
    place = recipient(Verified(BOUNCE, "ä" * 300), unverified_recipient_reject_code="550")
    assert len(place.says().encode()) in (509, 510)


def test_what_is_not_certain_lets_the_rest_refuse() -> None:
    words = "reject_unverified_recipient, reject"
    assert recipient(DOWN, words=words).says().startswith("554 5.7.1")
    assert recipient(DOWN, words=words, unverified_recipient_tempfail_action="defer").says().startswith("450 4.1.1")
    assert recipient(DOWN, words=words, reject_tempfail_action="defer").says().startswith("450 4.1.1")
    with pytest.raises(ConfigError, match="unverified_recipient_tempfail_action = permit"):
        recipient(unverified_recipient_tempfail_action="permit")


def test_warn_if_reject_tables_and_classes() -> None:
    decision = recipient(NO_USER, words="warn_if_reject reject_unverified_recipient").decide()
    assert decision.reply is None
    assert decision.effects[0].action == "reject_warning" and "no such user" in decision.effects[0].note
    table = "check_recipient_access inline:{mx.example.com=reject_unverified_recipient}"
    assert recipient(NO_USER, words=table).says().startswith("450 4.1.1")
    own = {"smtpd_restriction_classes": "checked", "checked": "reject_unverified_recipient"}
    assert recipient(NO_USER, words="checked", **own).says().startswith("450 4.1.1")


def test_one_command_asks_for_an_address_once() -> None:
    words = "reject_unverified_recipient, warn_if_reject reject_unverified_sender"
    place = recipient(words=words, smtpd_client_restrictions=words)
    assert place.says() == "dunno"
    assert [address for address, _ in place.verifier.asked] == [JOE, "joe@far.example"]


def test_addresses_are_asked_for_in_standard_form() -> None:
    place = recipient()
    place.says("joe%mx.example.com")
    place.says("Joe")
    assert [address for address, _ in place.verifier.asked] == ["joe@mx.example.com", "Joe@mx.example.com"]


def test_patience() -> None:
    place = recipient(address_verify_poll_count="${stress?{2}:{11}}", address_verify_poll_delay="5s")
    place.says()
    place.says(stress=True)
    assert [seconds for _, seconds in place.verifier.asked] == [50.0, 5.0]
    place = recipient(address_verify_poll_count="1")
    place.says()
    assert place.verifier.asked == [(JOE, 0.0)]


def test_at_data_and_where_there_is_no_recipient() -> None:
    place = Place(
        NO_USER, smtpd_data_restrictions="reject_unverified_recipient", unverified_recipient_reject_code="550"
    )
    facts = replace(place.facts, recipients=1, recipient=JOE)
    decision = place.settled(lambda: place.judge.data(facts))
    assert str(decision.reply).startswith("550 5.1.1 <joe@mx.example.com>: Recipient address rejected")
    decision = place.settled(lambda: place.judge.data(replace(facts, recipients=2, recipient=None)))
    assert decision.reply is None


def test_postmaster_and_the_sender_of_probes_are_always_heard() -> None:
    place = recipient(words="reject")
    assert place.says("PostMaster") == place.says("Double-Bounce@mx.example.com") == "permit"
    assert place.says("double-bounce").startswith("554")
    place = recipient(words="reject", address_verify_sender="prober@far.example")
    assert place.says("prober@far.example") == "permit" and place.says("double-bounce@mx.example.com").startswith("554")
    place = recipient(words="reject", address_verify_sender="<>")
    assert place.says("double-bounce@mx.example.com").startswith("554")
    place = recipient(words="reject", address_verify_sender_ttl="1d")
    assert place.says("double-bouncePMB@mx.example.com") == "permit"
    assert place.says("double-bounce@mx.example.com").startswith("554")
