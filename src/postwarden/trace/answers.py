"""What name servers and policy servers answered while a command was judged, and what was known of addresses, as facts
that can be kept and read again.

`DNS MX` of a name is `found` and a line for each record, else the outcome in a word; `policy server` of its name is
the action that it wanted, `policy server down` has none; `address verification` of an address is a word of
`mail.verified`, and what a probe met.
"""

from collections.abc import Mapping
from typing import Any

from postwarden.mail.decision import Fact
from postwarden.mail.verified import BOUNCE, DEFER, FAIL, OK, SUBJECT, TODO, Verified
from postwarden.wire.dns import Kind, Record
from postwarden.wire.dns_answer import Answer, Outcome

POLICY = "policy server"
DOWN = "policy server down"
_STATUSES = (OK, DEFER, BOUNCE, TODO, FAIL)
_MOST = 250
"""Answers of one judgement that are kept: whoever publishes more hosts wants to fill the store."""


def answers(known: Mapping[tuple[object, ...], Any]) -> tuple[Fact, ...]:
    """Of `mail.session.Findings.known`."""
    facts = []
    for key, value in known.items():
        if isinstance(value, Answer):
            facts.append(Fact(_subject(value.kind), str(key[1]), _written(value)))
        elif isinstance(value, Verified):
            facts.append(Fact(SUBJECT, str(key[1]), f"{value.status} {value.text}"))
        elif key[0] == "policy":
            facts.append(Fact(DOWN if value is None else POLICY, str(key[1]), value or ""))
    return tuple(facts[:_MOST])


def dns_answer(facts: tuple[Fact, ...], name: str, kind: Kind) -> Answer | None:
    """What `name` was said to have; None: nobody was asked, or what was kept is damaged."""
    subject = _subject(kind)
    for fact in facts:
        if fact.subject == subject and fact.key == name.lower():
            outcome, *lines = fact.answer.split("\n")
            try:
                return Answer(Outcome(outcome), name, kind, tuple(_record(name, kind, line) for line in lines), name)
            except ValueError:
                return None
    return None


def verified(facts: tuple[Fact, ...], address: str) -> Verified | None:
    """What was known of `address`; None: nobody was asked, or what was kept is damaged."""
    for fact in facts:
        if fact.subject == SUBJECT and fact.key == address:
            status, _, text = fact.answer.partition(" ")
            return Verified(status, text) if status in _STATUSES else None
    return None


def _subject(kind: int) -> str:
    return f"DNS {Kind(kind).name}"


def _written(answer: Answer) -> str:
    return "\n".join((answer.outcome.value, *(_line(record) for record in answer.records)))


def _line(record: Record) -> str:
    data = record.data.decode("utf-8", "replace") if isinstance(record.data, bytes) else record.data
    return f"{record.preference} {data}".replace("\n", " ")


def _record(name: str, kind: Kind, line: str) -> Record:
    preference, _, data = line.partition(" ")
    return Record(name, kind, 0, data, int(preference))
