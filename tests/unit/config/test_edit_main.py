import pytest

from postwarden.config.edit_main import edit_main
from postwarden.config.physical import split_lines

MAIN = b"# top\na = 1\n  x\n# mid\n  y\n\nb=2\n c d\na =3\n#end"


@pytest.mark.parametrize(
    ("edit", "comment", "expected"),
    [
        ({"b": "7"}, False, b"# top\na = 1\n  x\n# mid\n  y\n\nb = 7\na =3\n#end"),
        ({"a": "new"}, False, b"# top\na = new\n# mid\n\nb=2\n c d\na = new\n#end"),
        ({"a": None}, False, b"# top\n# mid\n\nb=2\n c d\n#end"),
        ({"a": None}, True, b"# top\n#a = 1\n#  x\n# mid\n#  y\n\nb=2\n c d\n#a =3\n#end"),
        ({"n": "1", "b": None}, False, b"# top\na = 1\n  x\n# mid\n  y\n\na =3\n#end\nn = 1\n"),
        ({"nosuch": None}, False, MAIN),
    ],
)
def test_only_what_is_meant_changes(edit: dict[str, str | None], comment: bool, expected: bytes) -> None:
    assert edit_main(MAIN, edit, comment=comment)[0] == expected


def test_names_that_are_there_twice_are_told() -> None:
    assert edit_main(MAIN, {"a": "1", "b": "1"})[1] == ["a"]


def test_a_line_of_another_form_is_kept_or_replaced_by_its_first_word() -> None:
    assert edit_main(b"a 1\n= 3\n\xff\r\n  c", {"x": "y"})[0] == b"a 1\n= 3\n\xff\r\n  c\nx = y\n"
    assert edit_main(b"a 1\n= 3\n", {"a": "2"})[0] == b"a = 2\n= 3\n"


def test_a_line_that_continues_nothing_belongs_to_nothing() -> None:
    lines = list(split_lines(b"  a = 1\n#a\nb=1\n  2"))
    assert [line.statement for line in lines] == [0, 0, 1, 1]
    assert b"".join(line.data for line in lines) == b"  a = 1\n#a\nb=1\n  2"
