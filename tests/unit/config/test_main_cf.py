import pytest

from postwarden.config.errors import ConfigError
from postwarden.config.main_cf import parse_main_cf


def test_entries_with_their_lines() -> None:
    entries, problems = parse_main_cf(b"# x\nmyhostname = mx.example.com\nempty =\nlist = a,\n  b\n", "main.cf")
    assert {name: entry.value for name, entry in entries.items()} == {
        "myhostname": "mx.example.com",
        "empty": "",
        "list": "a,  b",
    }
    assert str(entries["list"].origin) == "main.cf:4"
    assert entries["myhostname"].origin.text == "myhostname = mx.example.com"
    assert problems == []


def test_the_last_of_two_counts_and_is_said() -> None:
    entries, problems = parse_main_cf(b"a = 1\nb = 2\na = 3\nb = 2\n", "main.cf")
    assert entries["a"].value == "3"
    assert [str(problem) for problem in problems] == ["warning: main.cf:3: overriding earlier entry: a=1"]


def test_a_value_may_hold_equal_signs_and_braces() -> None:
    entries, _ = parse_main_cf(b"a=inline:{x=y}\n", "main.cf")
    assert entries["a"].value == "inline:{x=y}"


@pytest.mark.parametrize("line", [b"foo", b"= x", b"foo bar = x", b"$x = y", b"{a} = b"])
def test_other_lines_are_refused_by_file_and_line(line: bytes) -> None:
    with pytest.raises(ConfigError, match=r"^main.cf:2: "):
        parse_main_cf(b"ok = 1\n" + line + b"\n", "main.cf")


def test_a_first_line_that_continues_nothing_is_ignored_and_said() -> None:
    entries, problems = parse_main_cf(b"# x\n  a = 1\n\t\n  # c\nb = 2\n  3\n", "main.cf")
    assert {name: entry.value for name, entry in entries.items()} == {"b": "2  3"}
    assert str(entries["b"].origin) == "main.cf:5"
    (problem,) = problems
    assert str(problem).startswith("warning: main.cf:2: this line begins with white space")
