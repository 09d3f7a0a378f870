from pathlib import Path

import pytest

from postwarden.config.errors import ConfigError
from postwarden.mail.decision import Origin
from postwarden.tables.combined import RandomTable, leaves
from postwarden.tables.opening import Tables, open_table, warnings
from postwarden.tables.table import TableError

HERE = Origin("main.cf", 7, "")


def value(name: str, key: str, directory: str = "/", *, fold: bool = True) -> str | None:
    found = open_table(name, directory, HERE, fold=fold).get(key)
    return None if found is None else found.value


@pytest.mark.parametrize(
    ("name", "key", "expected"),
    [
        ("unionmap:{inline:{a=1}, static:x}", "a", "1,x"),
        ("unionmap:{inline:{a=1} static:x}", "b", "x"),
        ("unionmap:{inline:{a=1}}", "b", None),
        ("unionmap:{unionmap:{inline:{a=1},inline:{A=2}},inline:{a=3}}", "A", "1,2,3"),
        ("pipemap:{inline:{a=B}, inline:{b=c}}", "a", "c"),
        ("pipemap:{inline:{a=B}, inline:{c=d}}", "a", None),
        ("pipemap:{inline:{a=B}, fail:x}", "z", None),
        ("randmap:{one}", "a", "one"),
        ("randmap:{{a b}}", "a", "{a b}"),
    ],
)
def test_tables_made_of_tables(name: str, key: str, expected: str | None) -> None:
    assert value(name, key) == expected


@pytest.mark.parametrize("name", ["unionmap:{inline:{a=1}, fail:x}", "pipemap:{inline:{a=B}, fail:x}", "fail:x"])
def test_a_table_that_fails_is_no_answer(name: str) -> None:
    with pytest.raises(TableError):
        value(name, "a")


@pytest.mark.parametrize(
    "name",
    [
        "unionmap:x", "unionmap:{}", "unionmap:{x}", "unionmap:{ {inline:{a=b}} }", "unionmap:{x:y}", "randmap:x",
        "randmap:{}", "pipemap:{", "pipemap:{inline:{a=b}", "unionmap:{" * 30 + "static:x" + "}" * 30, "environ:",
    ],
)  # fmt: skip
def test_bad_names_are_refused_where_they_stand(name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        open_table(name, "/", HERE)
    assert caught.value.origin == HERE


def test_lots_are_drawn_by_weight() -> None:
    seen: list[tuple[str, ...]] = []
    table = RandomTable("randmap:x", "{a, b, a}", HERE, lambda values: seen.append(tuple(values)) or values[1])
    found = table.get("k")
    assert found is not None
    assert (found.value, seen) == ("b", [("a", "b", "a")])


@pytest.mark.parametrize(
    ("parts", "value"),
    [("{ {a = } }", None), ("{ {a = } }, inline:{a=x}", "x"), ("{a=x}, inline:{ {a = } }", "x,"), ("{b=x}", None)],
)
def test_empty_texts_of_a_union(parts: str, value: str | None) -> None:
    found = open_table(f"unionmap:{{inline:{parts}}}", "/").get("a")
    assert (found and found.value) == value


def test_the_first_table_says_whether_parts_are_looked_up() -> None:
    assert open_table("unionmap:{inline:{a=1},static:x}", "/").fixed
    assert not open_table("pipemap:{static:x,inline:{a=1}}", "/").fixed


def test_what_a_union_stands_on_is_read_again(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).write_text("a 1\na 2\n")
    tables = Tables(str(tmp_path))
    table = tables.table("unionmap:{texthash:one, texthash:two}")
    assert [str(problem.origin) for problem in warnings(table)] == [f"{tmp_path}/one:2", f"{tmp_path}/two:2"]
    assert len(list(leaves(table))) == 2
    (tmp_path / "one").write_text("bad\n")
    (tmp_path / "two").write_text("a new\n")
    (problem,) = (p for p in tables.refresh() if p.severity == "error")
    assert str(problem.origin) == f"{tmp_path}/one:1"
    found = table.get("a")
    assert found is not None
    assert (found.value, str(found.origin)) == ("1,new", f"{tmp_path}/one:1")
    assert tables.refresh() == []


def test_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("lower", "x")
    monkeypatch.setenv("UPPER", "y")
    assert value("environ:e", "LOWER") == "x"
    assert value("environ:e", "UPPER") is None
    assert value("environ:e", "UPPER", fold=False) == "y"
    assert value("environ:e", "a=b") is None


def test_debug_tells_each_look_up(tmp_path: Path) -> None:
    (tmp_path / "map").write_text("a 1\n")
    said: list[str] = []
    tables = Tables(str(tmp_path), say=said.append)
    table = tables.table("debug:unionmap:{texthash:map, debug:inline:{b=2}}")
    assert table.fixed
    assert [table.get(key) and table.get(key).value for key in ("A", "z")] == ["1", None]  # type: ignore[union-attr]
    with pytest.raises(TableError):
        tables.table("debug:fail:x").get("a")
    assert said[:2] == [
        'debug:inline:{b=2} lookup: "A" = "not_found"',
        'debug:unionmap:{texthash:map, debug:inline:{b=2}} lookup: "A" = "1"',
    ]
    assert said[-1] == 'debug:fail:x lookup: "a" = "error"'
    (tmp_path / "map").write_text("bad\n")
    assert len(list(leaves(table))) == 2
    (problem,) = tables.refresh()
    assert problem.severity == "error"


@pytest.mark.parametrize("prefix", ["debug:", "proxy:", "proxy:debug:"])
def test_tables_within_tables_have_an_end(prefix: str) -> None:
    with pytest.raises(ConfigError, match="tables within tables"):
        open_table(prefix * 2000 + "static:x", "/", HERE)
