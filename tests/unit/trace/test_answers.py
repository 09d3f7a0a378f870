"""Answers of others are read back as they were."""

import pytest

from postwarden.mail.decision import Fact
from postwarden.mail.verified import BOUNCE, IN_PROGRESS, SUBJECT, UNASKED, Verified
from postwarden.trace.answers import DOWN, POLICY, answers, dns_answer, verified
from postwarden.wire.dns import Kind, Record
from postwarden.wire.dns_answer import Answer, Outcome


@pytest.mark.parametrize(
    "answer",
    [
        Answer(Outcome.NXDOMAIN, "x.example", Kind.A),
        Answer(Outcome.TEMPFAIL, "x.example", Kind.MX),
        Answer(Outcome.FOUND, "x.example", Kind.MX, (Record("x.example", Kind.MX, 0, "", 0),)),
        Answer(
            Outcome.FOUND,
            "x.example",
            Kind.MX,
            (Record("x.example", Kind.MX, 0, "a.example", 10), Record("x.example", Kind.MX, 0, "b.example", 20)),
        ),
        Answer(Outcome.FOUND, "x.example", Kind.A, (Record("x.example", Kind.A, 0, "192.0.2.1"),)),
    ],
)
def test_dns(answer: Answer) -> None:
    kept = answers({(object(), "x.example", Kind(answer.kind)): answer})
    found = dns_answer(kept, "x.example", Kind(answer.kind))
    assert found is not None
    assert (found.outcome, found.records) == (answer.outcome, answer.records)
    assert dns_answer(kept, "x.example", Kind.TXT) is None
    assert dns_answer(kept, "y.example", Kind(answer.kind)) is None


def test_a_text_that_is_no_text_is_kept_in_one_line() -> None:
    record = Record("x.example", Kind.TXT, 0, b"found\nno such name \xff")
    answer = Answer(Outcome.FOUND, "x.example", Kind.TXT, (record,))
    found = dns_answer(answers({(object(), "x.example", Kind.TXT): answer}), "x.example", Kind.TXT)
    assert found is not None
    assert [one.data for one in found.records] == ["found no such name \N{REPLACEMENT CHARACTER}"]


def test_policy_servers() -> None:
    known: dict[tuple[object, ...], object] = {
        ("policy", "inet:a:1", "RCPT", 1): "DUNNO",
        ("policy", "unix:b", "RCPT", 2): None,
        ("sleep", "RCPT", 3): True,
    }
    assert [(one.subject, one.key, one.answer) for one in answers(known)] == [
        (POLICY, "inet:a:1", "DUNNO"),
        (DOWN, "unix:b", ""),
    ]


@pytest.mark.parametrize("known", [Verified(BOUNCE, "host x said: 550 no  such user "), IN_PROGRESS, UNASKED])
def test_addresses(known: Verified) -> None:
    kept = answers({("address", "joe@far.example"): known})
    assert verified(kept, "joe@far.example") == known
    assert verified(kept, "Joe@far.example") is None


def test_a_word_of_an_address_that_is_none() -> None:
    assert verified((Fact(SUBJECT, "joe@far.example", "fine 250 Ok"),), "joe@far.example") is None
    assert verified((Fact(SUBJECT, "joe@far.example", ""),), "joe@far.example") is None


def test_who_publishes_much_does_not_fill_the_store() -> None:
    names = [f"h{number}.example" for number in range(1000)]
    known: dict[tuple[object, ...], object] = {
        (1, name, Kind.A): Answer(Outcome.NXDOMAIN, name, Kind.A) for name in names
    }
    assert len(answers(known)) == 250
