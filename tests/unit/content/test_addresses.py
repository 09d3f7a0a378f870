import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postwarden.content.addresses import addresses_in, needs_look, rewritten


def complete(address: str) -> str:
    return address if "@" in address else f"{address}@here.example"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("user", "user@here.example"),
        ("a, b@c.example", "a@here.example, b@c.example"),
        ("Joe  User\r\n <user>", "Joe User <user@here.example>"),
        ('"Joe, User" <user>', '"Joe, User" <user@here.example>'),
        ("(c1) user (c2)", "user@here.example (c1) (c2)"),
        ("friends: a, Joe <d>;", "friends: a@here.example, Joe <d@here.example>;"),
        ("nobody:;, user", "nobody: ;, user@here.example"),
        ("a b", "a@here.example, b@here.example"),
        ("user @ far.example , x", "user@far.example, x@here.example"),
        ("Jörg <user>", "Jörg <user@here.example>"),
        ("(a (nested) c) user", "user@here.example (a (nested) c)"),
    ],
)
def test_short_addresses_are_completed(value: str, expected: str) -> None:
    assert rewritten(f"To: {value}\r\n".encode(), complete, 10240) == f"To: {expected}\r\n".encode()


@pytest.mark.parametrize(
    "value", ["a@b.example", "  Joe   <a@b.example> , (c) c@d.example", "<>", "undisclosed-recipients:;", "", "(only)"]
)
def test_a_field_without_a_change_stays_as_it_is(value: str) -> None:
    field = f"to:{value}\r\n".encode()
    assert rewritten(field, complete, 10240) == field


def test_a_long_list_is_folded() -> None:
    field = b"Cc: " + b", ".join([b"abcdefghijkl"] * 6) + b"\r\n"
    lines = rewritten(field, complete, 10240).split(b"\r\n")
    assert lines[1].startswith(b"\tabcdefghijkl@")
    assert all(len(line) < 71 for line in lines)


def test_a_field_with_too_many_tokens_passes() -> None:
    field = b"To: " + b"a," * 50 + b"\r\n"
    assert rewritten(field, complete, 10) == field


def test_bytes_that_are_no_utf8_survive() -> None:
    assert rewritten(b"To: \xff <a>\r\n", complete, 100) == b"To: \xff <a@here.example>\r\n"


def test_right_sides_of_tables() -> None:
    assert addresses_in('a b, "c d"@x.example, Name <e@f.example>, (com) g') == [
        "a",
        "b",
        "c d@x.example",
        "e@f.example",
        "g",
    ]


@pytest.mark.parametrize(
    "piece", ["<", " ", "(", ")", '"', "\\", ",", ":", ";", "[", "@", "a ", "a,", "<a>", "( ", '" ', "\r\n "]
)
def test_a_field_made_to_be_slow_is_not(piece: str) -> None:
    """100 KB in well under a second: a look that goes back over what it saw would take minutes."""
    field = f"To: {piece * (100_000 // len(piece))}<\r\n".encode()
    started = time.process_time()
    needs_look(field)
    rewritten(field, complete, 10240)
    assert time.process_time() - started < 2


PIECES = st.sampled_from(
    [
        "a",
        "b@c.example",
        "<",
        ">",
        "(",
        ")",
        '"',
        "\\",
        ",",
        ";",
        ":",
        " ",
        "\r\n ",
        "[",
        "]",
        "@",
        ".",
        "ü",
        "<d>",
        "!",
    ]
)
VALUES = st.lists(PIECES, max_size=14).map("".join)


@given(VALUES)
def test_any_field_stays_one_field(value: str) -> None:
    """Nothing that a header holds may end it, or begin another one."""
    field = f"To: {value}x\r\n".encode()
    out = rewritten(field, complete, 1000)
    assert out.endswith(b"\r\n")
    assert all(line[:1] in b" \t" for line in out.split(b"\r\n")[1:-1])
    assert b"\r" not in out.replace(b"\r\n", b"")
    assert b"\n" not in out.replace(b"\r\n", b"")


@given(VALUES)
def test_what_is_not_looked_at_has_nothing_to_change(value: str) -> None:
    field = f"To: {value}\r\n".encode()
    if not needs_look(field):
        assert rewritten(field, complete, 1000) == field


def test_lines_are_measured_in_octets() -> None:
    listed = "a, " + ", ".join(["jürgen@müller.example"] * 3)
    folded = rewritten(f"To: {listed}\r\n".encode(), lambda address: address if "@" in address else "a@b.example", 99)
    assert max(map(len, folded.split(b"\r\n"))) <= 70
    assert folded.count(b"\r\n\t") == 1
