from pathlib import Path

import pytest

from postwarden.cli.checking.rows import SIZE_LIMIT, elements, is_table, rows
from postwarden.config.settings import load
from postwarden.mail.decision import Origin
from postwarden.testing.config import settings

HERE = Origin("/etc/postfix/main.cf", 7, "")


def found(directory: Path, name: str, *, aliases: bool = False) -> list[tuple[str, str, int]]:
    return [(row.key, row.value, row.origin.line) for row in rows(load(directory), name, HERE, aliases=aliases)]


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("hash:t", "# x\nA@x.example b,\n  c\nbad\nz y\n", [("a@x.example", "b,  c", 2), ("z", "y", 5)]),
        ("proxy:texthash:t", "a b\n", [("a", "b", 1)]),
        ("cidr:t", "192.0.2.0/24 OK\n", [("192.0.2.0/24", "OK", 1)]),
        ("pcre:t", "/a\\/b (x)/i  NO no\n!/c/ OK\nif /x/\nendif\n", [("/a\\/b (x)/i", "NO no", 1), ("!/c/", "OK", 2)]),
        ("lmdb:t", "a b\n", [("a", "b", 1)]),
        ("ldap:t", "a b\n", []),
        ("unionmap:{hash:t}", "a b\n", []),
        ("hash:nosuch", "a b\n", []),
    ],
)  # fmt: skip
def test_rows_of_files(tmp_path: Path, name: str, text: str, expected: list[tuple[str, str, int]]) -> None:
    (tmp_path / "t").write_text(text)
    assert found(tmp_path, name) == expected


def test_rows_of_aliases(tmp_path: Path) -> None:
    (tmp_path / "t").write_text('root: joe, "|cmd x"\nJoe: sue\n')
    assert found(tmp_path, "hash:t", aliases=True) == [("root", 'joe, "|cmd x"', 1), ("joe", "sue", 2)]


def test_rows_that_are_written_out(tmp_path: Path) -> None:
    assert found(tmp_path, "inline:{a=b {c = d e}}") == [("a", "b", 7), ("c", "d e", 7)]
    assert found(tmp_path, "static:all") == [("*", "all", 7)]
    assert found(tmp_path, "inline:{") == []


def test_a_file_that_changed_is_read_again(tmp_path: Path) -> None:
    (tmp_path / "t").write_text("a b\n")
    assert found(tmp_path, "hash:t") == [("a", "b", 1)]
    (tmp_path / "t").write_text("a bcd\n")
    assert found(tmp_path, "hash:t") == [("a", "bcd", 1)]


def test_a_file_that_is_too_large_is_left_alone(tmp_path: Path) -> None:
    with (tmp_path / "t").open("wb") as file:
        file.write(b"a b\n")
        file.truncate(SIZE_LIMIT + 1)
    assert found(tmp_path, "hash:t") == []


def test_elements_of_a_list(tmp_path: Path) -> None:
    (tmp_path / "list").write_text("# x\nb.example, c.example\n!d.example\n")
    chosen = settings(f"relay_domains = a.example !x.example {tmp_path}/list inline:{{e.example=x}} /nonexistent\n")
    assert [element for element, _ in elements(chosen, "relay_domains")] == [
        "a.example", "b.example", "c.example", "e.example",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("item", "table"),
    [("hash:face", True), ("static:all", True), ("::1", False), ("2001:db8::/32", False), ("[::1]/128", False)],
)
def test_what_is_a_table(item: str, table: bool) -> None:
    assert is_table(item) is table
