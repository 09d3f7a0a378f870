"""RFC 3461 4: xtext; RFC 6533 3: addresses that are no ASCII."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postwarden.mail.xtext import from_orcpt, from_xtext, to_orcpt, to_xtext


@pytest.mark.parametrize(
    ("text", "written"),
    [("abc", "abc"), ("a+b=c", "a+2Bb+3Dc"), ("a b", "a+20b"), ("ü", "+C3+BC"), ("", ""), ("\udcff", "+FF")],
)
def test_xtext(text: str, written: str) -> None:
    assert to_xtext(text) == written
    assert from_xtext(written) == text


@given(st.text(st.characters(exclude_categories=("Cs",))))
def test_xtext_gives_back_what_it_took(text: str) -> None:
    written = to_xtext(text)
    assert from_xtext(written) == text
    assert all("!" <= c <= "~" and c != "=" for c in written)


@pytest.mark.parametrize("text", ["+", "+2", "+zz", "a+2bc"])
def test_what_is_no_escape_stays(text: str) -> None:
    assert from_xtext(text) == text


@pytest.mark.parametrize(
    ("orcpt", "kind", "address"),
    [
        ("rfc822;a+2Bb@x", "rfc822", "a+b@x"),
        ("utf-8;r\\x{FC}@x", "utf-8", "rü@x"),
        ("utf-8;r\\x{5C}@x", "utf-8", "r\\@x"),
        ("x400;/a=b", "x400", "/a=b"),
        ("", "", ""),
    ],
)
def test_orcpt(orcpt: str, kind: str, address: str) -> None:
    assert from_orcpt(orcpt) == (kind, address)
    if kind in ("rfc822", "utf-8"):
        assert to_orcpt(kind, address) == orcpt


def test_a_surrogate_is_no_character() -> None:
    assert from_orcpt("utf-8;\\x{D800}") == ("utf-8", "\\x{D800}")
