import os
import sqlite3
from pathlib import Path

import pytest

from postwarden.config.errors import ConfigError
from postwarden.mail.decision import Origin
from postwarden.tables.opening import Tables, open_table, warnings
from postwarden.tables.sqlite import first_statement
from postwarden.tables.table import TableError
from postwarden.tables.template import Templates

ROWS = [
    ("u@x.com", "one@y.z"), ("u@x.com", "two"), ("bare", "b"), ("e@x.com", ""), ("n@x.com", None),
    ("o'q@x.com", "quoted"), ("i@x.com", 5), ("@x.com", "at"), ("x@b.c.d", "p"), ("vd@x.com", "@dom"),
    ("vd@x.com", "loc@"), ("é@x.com", b"\xc3\xa9"), ("bad@x.com", b"\xff"),
]  # fmt: skip
QUERY = "query = select v from a where k='%s'\n"


def fill(path: Path, rows: list[tuple[str, object]] = ROWS) -> None:
    connection = sqlite3.connect(path)
    connection.execute("create table a(k, v)")
    connection.executemany("insert into a values(?, ?)", rows)
    connection.commit()
    connection.close()


@pytest.fixture
def here(tmp_path: Path) -> Path:
    fill(tmp_path / "t.db")
    return tmp_path


def value(here: Path, text: str, key: str) -> str | None:
    (here / "s.cf").write_text(f"dbpath = {here}/t.db\n{text}")
    found = open_table("sqlite:./s.cf", str(here)).get(key)
    return None if found is None else found.value


@pytest.mark.parametrize(
    ("text", "key", "expected"),
    [
        (QUERY, "U@X.com", "one@y.z,two"),
        (QUERY, "bare", "b"),
        (QUERY, "e@x.com", None),
        (QUERY, "n@x.com", None),
        (QUERY, "o'q@x.com", "quoted"),
        (QUERY, "x' or '1'='1", None),
        (QUERY, "i@x.com", "5"),
        (QUERY, "nosuch", None),
        (QUERY, "", None),
        (QUERY, "a\0b", None),
        (QUERY, "a\udcff", None),
        (QUERY, "É@x.com", "é"),
        ("query = select v from a where k='%u@%d'\n", "u@x.com", "one@y.z,two"),
        ("query = select v from a where k='%u@%d'\n", "@x.com", None),
        ("query = select '%1-%2-%d-%u-%s-%S-%U-%D-%%'\n", "X@b.c.d", "d-c-b.c.d-x-x@b.c.d-x@b.c.d-x-b.c.d-%"),
        ("query = select '%1-%2-%d'\n", "x@com", None),
        ("query = select '%1-%2-%d'\n", "x@a..b", "b-a-a..b"),
        ("query = select '%1'\n", "com", None),
        (QUERY + "result_format = [%s|%u|%d|%S|%U|%D|%1|%%]\n", "u@x.com", "[one@y.z|one|y.z|u@x.com|u|x.com|com|%]"),
        (QUERY + "result_format = [%u|%d]\n", "vd@x.com", None),
        (QUERY + "result_format = %U!\n", "bare", "bare!"),
        (QUERY + "result_format = x\n", "u@x.com", "x,x"),
        (QUERY + "expansion_limit = 2\n", "u@x.com", "one@y.z,two"),
        (QUERY + "domain = x.com\n", "u@x.com", "one@y.z,two"),
        (QUERY + "domain = x.com\n", "bare", None),
        (QUERY + "domain = x.com\n", "@x.com", None),
        (QUERY + "domain = .c.d\n", "x@b.c.d", None),
        (QUERY + "domain = !y.com, inline:{x.com=1}\n", "u@x.com", "one@y.z,two"),
        ("table=a\nselect_field=v\nwhere_field=k\nadditional_conditions = and 1\n", "u@x.com", "one@y.z,two"),
        ("query = select v, k from a where k='%s'; select 1\n", "bare", "b"),
        ("query = select\n  '$x;'\n", "a", "$x;"),
    ],
)
def test_answers(here: Path, text: str, key: str, expected: str | None) -> None:
    assert value(here, text, key) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "bad string length 0 < 1: table"),
        ("query = select '%q'\n", "Invalid query template"),
        ("query = select '%\n", "Invalid query template"),
        (QUERY + "result_format = %x\n", "Invalid result template"),
        (QUERY + "result_format =\n", "bad string length 0 < 1: result_format"),
        (QUERY + "expansion_limit = x\n", "bad numerical configuration: expansion_limit = x"),
        (QUERY + "expansion_limit = -1\n", "expansion_limit"),
        (QUERY + "domain = nosuch:x\n", "unsupported dictionary type"),
        (QUERY + "bad\n", 'missing "=" after attribute name: "bad"'),
    ],
)
def test_a_bad_definition_names_file_and_line(here: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        value(here, text, "a")
    assert caught.value.origin.file == f"{here}/s.cf" or caught.value.origin.file == f"{here}/./s.cf"
    assert said in caught.value.text


def test_what_is_said_of_a_definition_names_no_password(here: Path) -> None:
    (here / "s.cf").write_text(QUERY + "password = geheim\npassword = other\ndbpath = x\n")
    found = warnings(open_table("sqlite:./s.cf", str(here)))
    assert "overriding earlier entry: password ..." in [problem.text for problem in found]
    (here / "s.cf").write_text(QUERY + "password geheim\n")
    with pytest.raises(ConfigError) as caught:
        open_table("sqlite:./s.cf", str(here))
    assert 'name: "password ...' in caught.value.text and "geheim" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("query = selec v\n", "a"),
        (QUERY + "expansion_limit = 1\n", "u@x.com"),
        (QUERY, "bad@x.com"),
        ("query = insert into a values('%s', 1)\n", "new"),
        ("query = with recursive r(n) as (select 1 union all select n+1 from r) select max(n) from r\n", "a"),
    ],
)
def test_what_can_not_be_answered_is_temporary(
    here: Path, text: str, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("postwarden.tables.sqlite.QUERY_SECONDS", 0.05)
    with pytest.raises(TableError, match=r"sqlite:\./s\.cf"):
        value(here, text, key)


def test_a_data_base_that_comes_and_changes(here: Path) -> None:
    (here / "s.cf").write_text(f"dbpath = {here}/late.db\n{QUERY}")
    tables = Tables(str(here))
    table = tables.table("sqlite:./s.cf")
    with pytest.raises(TableError, match="No such file"):
        table.get("a")
    assert not (here / "late.db").exists()
    fill(here / "late.db", [("a", "1")])
    assert tables.refresh() == []
    assert (table.get("a") or "") and table.get("a").value == "1"  # type: ignore[union-attr]
    fill(here / "next.db", [("a", "2")])
    os.rename(here / "next.db", here / "late.db")
    assert tables.refresh() == []
    assert table.get("a").value == "2"  # type: ignore[union-attr]
    (here / "s.cf").write_text("dbpath = \n")
    (problem,) = tables.refresh()
    assert str(problem.origin).endswith("s.cf:1")
    assert table.get("a").value == "2"  # type: ignore[union-attr]


def test_a_definition_in_main_cf(here: Path) -> None:
    (here / "main.cf").write_text(
        f"dir = {here}\nusers_dbpath = $dir/t.db\nusers_query = select v from a where k='%s'\n"
    )
    table = open_table("sqlite:users", str(here))
    assert table.get("bare").value == "b"  # type: ignore[union-attr]
    with pytest.raises(ConfigError) as caught:
        open_table("sqlite:others", str(here), Origin("main.cf", 9, ""))
    assert str(caught.value) == "main.cf:9: bad string length 0 < 1: others_dbpath = "


def test_the_first_statement() -> None:
    assert first_statement("select ';'; select 2") == "select ';'"
    assert first_statement("select 1") == "select 1"


def test_a_key_that_lacks_what_the_answer_needs_is_not_asked_for() -> None:
    templates = Templates("q %s", "%D %2")
    assert templates.query("bare") is None
    assert templates.query("a@b") is None
    assert templates.query("a@b.c") == "q a@b.c"
    assert templates.answer("a@b.c", ["x", None, ""]) == ["b.c b"]
