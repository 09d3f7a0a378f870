import pytest
from hypothesis import given
from hypothesis import strategies as st

from postwarden.mail.address import domain_of, external, internal, is_dot_atom, split

LOCALS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)


@pytest.mark.parametrize(
    ("address", "written"),
    [
        ("", ""),
        ("joe@example.com", "joe@example.com"),
        ("joe", "joe"),
        ("joe smith@example.com", '"joe smith"@example.com'),
        ('a"b\\c@example.com', '"a\\"b\\\\c"@example.com'),
        ("a@b@example.com", '"a@b"@example.com'),
        (".joe@example.com", '".joe"@example.com'),
        ("joe..s@example.com", '"joe..s"@example.com'),
        ("@example.com", '""@example.com'),
        ("jörg@example.com", "jörg@example.com"),
    ],
)
def test_a_local_part_is_quoted_where_it_must(address: str, written: str) -> None:
    assert external(address) == written
    assert internal(written) == address


@given(LOCALS)
def test_what_is_written_is_read_again(local: str) -> None:
    assert internal(external(f"{local}@example.com")) == f"{local}@example.com"


@given(st.text(max_size=30))
def test_any_text_can_be_read(text: str) -> None:
    assert len(internal(text)) <= len(text)


def test_the_domain_is_what_follows_the_last_at() -> None:
    assert split("a@b@C.example") == ("a@b", "C.example")
    assert split("joe") == ("joe", "")
    assert domain_of("a@b@C.example") == "c.example"
    assert domain_of("joe") == ""


@pytest.mark.parametrize("local", ["", "a.", ".a", "a b", "a@b", "a\x7fb", "a\tb", "(a)", 'a"'])
def test_no_dot_atom(local: str) -> None:
    assert not is_dot_atom(local)
