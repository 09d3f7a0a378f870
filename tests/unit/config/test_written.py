import pytest

from postwarden.config.errors import ConfigError
from postwarden.config.physical import split_lines, statements
from postwarden.config.written import fields, name_and_value, read_main, read_master


def test_main_cf_as_it_is_written() -> None:
    data = b"  stray = 1\n# c\na = 1\n# c\n  2 \xff\n\na= 3\n$x = y\n"
    entries, warnings = read_main(data, "m")
    assert {name: entry.value for name, entry in entries.items()} == {"a": "3", "$x": "y"}
    assert warnings == [
        'm: logical line must not start with whitespace: "  stray = 1"',
        "m, line 7: overriding earlier entry: a=1  2 \udcff",
    ]


def test_master_cf_keeps_entries_of_the_same_name() -> None:
    rows, _ = read_master(b"a unix - - - - - smtp -o x=1\na unix - - - - - smtp\n", "m")
    assert [(row.key, row.origin.line) for row in rows] == [("a/unix", 1), ("a/unix", 2)]


@pytest.mark.parametrize(
    "line", [b"a unix - - - - -", b"a tcp - - - - - x", b"a unix - - - - 5? x", b"a unix q - - - - x"]
)
def test_a_bad_entry_is_named(line: bytes) -> None:
    with pytest.raises(ConfigError) as caught:
        read_master(b"#\n" + line, "m")
    assert caught.value.origin.line == 2


def test_fields_keep_braces_together() -> None:
    assert fields("a  {b c} d{e f}g {h") == ["a", "{b c}", "d{e f}g", "{h"]


@pytest.mark.parametrize("text", ["a", "= b", "a b = c", ""])
def test_what_is_no_setting(text: str) -> None:
    with pytest.raises(ValueError, match="missing"):
        name_and_value(text)


def test_statements_know_their_lines() -> None:
    (one, two) = statements(list(split_lines(b"\na\r\n# x\n  b\nc")))
    assert (one.text, one.first, one.last, two.first) == ("a\r  b", 2, 4, 5)
