"""res_search(3)'s order, and whose answer counts."""

import pytest

from postwarden.net.search import Searching
from postwarden.testing.resolver import FakeResolver
from postwarden.wire.dns import Kind
from postwarden.wire.dns_answer import Answer, Outcome

ZONE = "a.one.example A 192.0.2.1\na.two.example A 192.0.2.2\nx.y A 192.0.2.3\nbad.one.example SERVFAIL\n"


def asked(name: str, *, single: bool, every: bool) -> tuple[list[str], Answer]:
    resolver = FakeResolver(ZONE)
    answers: list[Answer] = []
    Searching(resolver, lambda: ("one.example", "two.example"), single=single, every=every).lookup(
        name, Kind.A, answers.append
    )
    [answer] = answers
    return [text for text, _ in resolver.asked], answer


@pytest.mark.parametrize(
    ("name", "single", "every", "names"),
    [
        ("a", True, False, ["a.one.example"]),
        ("b", True, False, ["b.one.example", "b"]),
        ("b", True, True, ["b.one.example", "b.two.example", "b"]),
        ("b", False, True, ["b"]),
        ("x.y", True, True, ["x.y"]),
        ("x.z", True, True, ["x.z", "x.z.one.example", "x.z.two.example"]),
        ("x.z", True, False, ["x.z"]),
        ("bad", True, True, ["bad.one.example"]),
    ],
)
def test_the_order(name: str, single: bool, every: bool, names: list[str]) -> None:
    assert asked(name, single=single, every=every)[0] == names


def test_what_is_said_of_the_name_that_was_asked_counts() -> None:
    assert asked("b", single=True, every=True)[1].name == "b"
    assert asked("x.z", single=True, every=True)[1].name == "x.z"
    assert asked("bad", single=True, every=True)[1].outcome is Outcome.TEMPFAIL
    assert asked("a", single=True, every=False)[1].outcome is Outcome.FOUND


def test_without_domains_nothing_changes() -> None:
    resolver = FakeResolver(ZONE)
    answers: list[Answer] = []
    Searching(resolver, lambda: (), single=True, every=True).lookup("a", Kind.A, answers.append)
    assert [text for text, _ in resolver.asked] == ["a"] and len(answers) == 1
