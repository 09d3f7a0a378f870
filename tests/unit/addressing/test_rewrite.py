import pytest
from hypothesis import given
from hypothesis import strategies as st

from postwarden.addressing.params import RewriteParams
from postwarden.addressing.rewrite import Rewriter
from postwarden.config.view import view
from postwarden.testing.config import settings

ADDRESSES = st.text(st.sampled_from('ab.@%!+"\\ []:1<>-ü'), max_size=16)


def rewriter(**parameters: str) -> Rewriter:
    return Rewriter(view(RewriteParams, settings(**parameters)))


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("", ""),
        ("joe", "joe@mx.example.com"),
        ("joe@example.org", "joe@example.org"),
        ("joe@example.org.", "joe@example.org"),
        ("joe@example.org..", "joe@example.org.."),
        ("joe@", "joe@"),
        ("site!joe", "joe@site"),
        ("a!b!joe", "b!joe@a"),
        ("joe%site", "joe@site"),
        ("joe%far%site", "joe%far@site"),
        ("joe smith%site", "joe smith%site@mx.example.com"),
        ("joe%site@example.org", "joe%site@example.org"),
    ],
)
def test_standard_form(address: str, expected: str) -> None:
    assert rewriter().rewrite(address) == expected


def test_an_address_that_needs_nothing_is_the_same_object() -> None:
    address = "joe.smith@example.org"
    assert rewriter().rewrite(address) is address


def test_each_step_can_be_switched_off() -> None:
    assert rewriter(swap_bangpath="no").rewrite("a!b") == "a!b@mx.example.com"
    assert rewriter(allow_percent_hack="no").rewrite("a%b") == "a%b@mx.example.com"
    assert rewriter(append_at_myorigin="no").rewrite("joe") == "joe"
    assert rewriter(append_dot_mydomain="yes").rewrite("joe@host") == "joe@host.example.com"
    assert rewriter(append_dot_mydomain="yes").rewrite("joe@[1.2.3.4]") == "joe@[1.2.3.4]"


@given(ADDRESSES)
def test_standard_form_is_a_fixed_point(address: str) -> None:
    rewrite = rewriter().rewrite
    once = rewrite(address)
    assert not once or "@" in once
    # `a@b..` keeps its dots, and so does what they end: everything else is settled after one step.
    assert rewrite(once) == once


@given(ADDRESSES, st.booleans(), st.booleans())
def test_the_steps_are_those_of_the_rewriting(address: str, at: bool, dot: bool) -> None:
    words = {True: "yes", False: "no"}
    one = rewriter(append_at_myorigin=words[at], append_dot_mydomain=words[dot])
    now = address
    for parameter, before, after in one.steps(address):
        assert parameter and before == now != after
        now = after
    assert now == one.rewrite(address)
