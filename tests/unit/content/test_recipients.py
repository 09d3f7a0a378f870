import pytest
from hypothesis import given
from hypothesis import strategies as st

from postwarden.content.mapping import Limits, Unreasonable, expand

LIMITS = Limits(20, 10, 60)


def expanded(aliases: dict[str, list[str]], address: str, limits: Limits = LIMITS) -> list[str]:
    return expand(lambda one: aliases.get(one.lower()), address, limits)


def test_results_are_expanded_again() -> None:
    assert expanded({"a": ["b", "c"], "b": ["d"], "c": ["e", "f"]}, "a") == ["d", "e", "f"]


def test_an_address_may_stand_for_itself_and_others() -> None:
    assert expanded({"a": ["A", "b"]}, "a") == ["A", "b"]
    assert expanded({"a": ["b"], "b": ["b", "c"]}, "a") == ["b", "c"]


@pytest.mark.parametrize(
    "aliases",
    [{"a": ["b"], "b": ["a"]}, {"a": [f"x{n}" for n in range(30)]}, {"a": ["b" * 61]}],
)
def test_what_never_ends_is_given_up(aliases: dict[str, list[str]]) -> None:
    with pytest.raises(Unreasonable):
        expanded(aliases, "a")


NAMES = st.sampled_from("abcdef")


@given(st.dictionaries(NAMES, st.lists(NAMES, min_size=1, max_size=4)), NAMES)
def test_any_table_ends(aliases: dict[str, list[str]], address: str) -> None:
    try:
        found = expanded(aliases, address)
    except Unreasonable:
        return
    assert found
    assert len(found) <= LIMITS.addresses + 4
    assert all(one not in aliases or one in aliases[one] for one in found)
