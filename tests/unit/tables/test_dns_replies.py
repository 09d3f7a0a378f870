"""Filters of DNS replies: what a pattern sees, and what is left when the filter fails."""

from collections.abc import Callable

import pytest

from postwarden.mail.decision import Pending
from postwarden.tables.dns_replies import FilteredResolver, record_text
from postwarden.tables.maps import Maps
from postwarden.tables.table import Found
from postwarden.testing.resolver import FakeResolver
from postwarden.wire.dns import Kind, Record
from postwarden.wire.dns_answer import Answer, Outcome

ZONE = "two.example A 192.0.2.1\ntwo.example A 192.0.2.2\n"


@pytest.mark.parametrize(
    ("record", "text"),
    [
        (Record("a.example", Kind.A, 300, "192.0.2.1"), "a.example. 300 IN A 192.0.2.1"),
        (Record("a.example", Kind.AAAA, 300, "2001:db8::1"), "a.example. 300 IN AAAA 2001:db8::1"),
        (Record("a.example", Kind.MX, 5, "m.example", 10), "a.example. 5 IN MX 10 m.example."),
        (Record("a.example", Kind.MX, 5, "", 0), "a.example. 5 IN MX 0 ."),
        (Record("s", Kind.SRV, 5, "t", 1, 2, 3), "s. 5 IN SRV 1 2 3 t."),
        (Record("a.example", Kind.TXT, 5, b"v=\xff"), "a.example. 5 IN TXT v=\ufffd"),
        (Record("9.in-addr.arpa", Kind.PTR, 5, "h.example"), "9.in-addr.arpa. 5 IN PTR h.example."),
    ],
)
def test_a_record_as_text(record: Record, text: str) -> None:
    assert record_text(record) == text


class Asked:
    """A table that ignores one address; the first time that it is asked it has to ask somebody else."""

    name, fixed = "asked:x", True

    def __init__(self, *, slow: bool) -> None:
        self.slow = slow

    def get(self, key: str) -> Found | None:
        if self.slow:
            self.slow = False
            raise Pending(lambda: None)  # type: ignore[arg-type,return-value]
        return Found("IGNORE", key, self.name) if key.endswith(".1") else None

    def stale(self) -> bool:
        return False

    def reload(self) -> None:
        return


def looked_up(*, slow: bool, fetch: Callable[..., None] | None = None) -> list[Answer]:
    answers: list[Answer] = []
    said: list[str] = []
    resolver = FilteredResolver(
        FakeResolver(ZONE),
        Maps([Asked(slow=slow)]),
        "x_dns_reply_filter",
        say=said.append,
        warn=said.append,
        fetch=fetch,
    )
    resolver.lookup("two.example", Kind.A, answers.append)
    return answers


def test_one_of_two_is_left() -> None:
    [answer] = looked_up(slow=False)
    assert [record.data for record in answer.records] == ["192.0.2.2"]


def test_a_slow_table_is_waited_for() -> None:
    waiting: list[Callable[[], None]] = []
    answers = looked_up(slow=True, fetch=lambda ask, done: waiting.append(done))
    assert not answers
    waiting[0]()
    assert len(answers) == 1 and len(answers[0].records) == 1


def test_without_anybody_who_waits_nothing_is_left() -> None:
    [answer] = looked_up(slow=True)
    assert (answer.outcome, answer.records) == (Outcome.UNFILTERED, ())
