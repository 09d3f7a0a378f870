"""Substitution in regexp: tables: where it is allowed, and what it may name."""

from pathlib import Path

import pytest

from postwarden.tables.opening import Tables, open_table
from postwarden.tables.regexp import RegexpTable


def written(tmp_path: Path, text: str) -> str:
    (tmp_path / "table").write_text(text)
    return f"regexp:{tmp_path}/table"


def test_a_literal_table_leaves_substituting_rules_out(tmp_path: Path) -> None:
    name = written(tmp_path, "if /x/\n/^a(.*)$/ smtp:$1\nendif\n/^(.*)$/ smtp:$$\n")
    free, literal = open_table(name, "/"), open_table(name, "/", literal=True)
    assert [table.get("ax").value for table in (free, literal)] == ["smtp:x", "smtp:$"]  # type: ignore[union-attr]
    assert isinstance(literal, RegexpTable)
    assert [problem.origin.line for problem in literal.warnings] == [2]
    (tmp_path / "table").write_text("/^a(.*)$/ smtp:mended\n")
    literal.reload()
    assert literal.warnings == ()


def test_one_file_in_two_roles_is_two_tables(tmp_path: Path) -> None:
    name = written(tmp_path, "/^a(.*)$/ $1\n")
    tables = Tables("/")
    assert tables.maps((name,)).find("ab").value == "b"  # type: ignore[union-attr]
    assert tables.maps((name,), literal=True).find("ab") is None


@pytest.mark.parametrize("text", ["/a/ $0", "/a/ $1", "/(a)/ $2", "!/(a)/ $1", "/(a)/ $x"])
def test_bad_references_name_the_line(tmp_path: Path, text: str) -> None:
    table = open_table(written(tmp_path, f"# first\n{text}\n"), "/")
    assert isinstance(table, RegexpTable)
    (problem,) = table.warnings
    assert (problem.origin.file, problem.origin.line) == (f"{tmp_path}/table", 2)
