import pytest

from postwarden.config.errors import ConfigError
from postwarden.config.lines import LINE_LIMIT, logical_lines


def lines(data: bytes) -> list[tuple[int, str]]:
    return [(origin.line, origin.text) for origin in logical_lines(data, "f")]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", []),
        (b"\n\n  \n# x\n  # y\n", []),
        (b"a = b", [(1, "a = b")]),
        (b"\n\na = b\n  c\n\td\ne = f\n", [(3, "a = b  c\td"), (6, "e = f")]),
        (b"a = b\n# comment\n\n   c\n", [(1, "a = b   c")]),
        (b"a = b\n   # indented comment\n   c\n", [(1, "a = b   c")]),
        (b"a = b\r\n c\r\nd = e\r\n", [(1, "a = b c"), (3, "d = e")]),
        (b"a = b # no comment\n", [(1, "a = b # no comment")]),
        ("ä = ö\n".encode(), [(1, "ä = ö")]),
        (b"# \xff\na\n", [(2, "a")]),
    ],
)
def test_logical_lines(data: bytes, expected: list[tuple[int, str]]) -> None:
    assert lines(data) == expected


@pytest.mark.parametrize(
    ("data", "where", "word"),
    [
        (b"# c\n  a = b\n", "f:2", "white space"),
        (b"a = b\nc = \xff\n", "f:2", "0xff"),
        (b"a = b\n\nc\n \xc3\n", "f:3", "UTF-8"),
        (b"a\0b\n", "f:1", "NUL"),
        (b"x\n" + b" y" * LINE_LIMIT, "f:1", "no end"),
    ],
)
def test_bad_lines_name_file_and_line(data: bytes, where: str, word: str) -> None:
    with pytest.raises(ConfigError) as caught:
        lines(data)
    assert str(caught.value).startswith(where + ": ")
    assert word in str(caught.value)
