import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from postwarden.config.errors import ConfigError
from postwarden.mail.decision import BUILT_IN
from postwarden.tables.definition import Definition, in_file
from postwarden.tables.opening import Tables, open_table
from postwarden.tables.remote import mysql, pgsql
from postwarden.tables.remote.library import LibraryMissing, load
from postwarden.tables.remote.servers import Host, ServerError
from postwarden.tables.remote.sql import Client, Connect, Row, SqlTable, parted
from postwarden.tables.table import TableError
from postwarden.tables.template import Templates, select

ROWS = [
    ("u@x.com", "one@y.z", None), ("u@x.com", "two", "w"), ("bare", "b", ""), ("o'q@x.com", "quoted", None),
    ("é@x.com", "é", None), ("bad@x.com", b"\xff", None),
]  # fmt: skip
QUERY = "query = select v from a where k='%s'\n"


OPEN: list[sqlite3.Connection] = []


@pytest.fixture(autouse=True)
def closing() -> Iterator[None]:
    yield
    while OPEN:
        OPEN.pop().close()


class SqliteClient:
    """A server of its own in memory."""

    def __init__(self, host: Host) -> None:
        if host.address == "down":
            raise ServerError("refused")
        self.base = sqlite3.connect(":memory:", check_same_thread=False)
        OPEN.append(self.base)
        self.base.execute("create table a(k, v, w)")
        self.base.executemany("insert into a values(?, ?, ?)", ROWS)

    def quoted(self, text: str) -> str:
        return text.replace("'", "''")

    def rows(self, query: str) -> list[Row]:
        try:
            found = self.base.execute(query).fetchall()
        except sqlite3.Error as error:
            raise ServerError(f"query failed: {error}") from error
        return [
            tuple(cell if cell is None or isinstance(cell, bytes) else str(cell).encode() for cell in row)
            for row in found
        ]

    def close(self) -> None:
        self.base.close()


class Table(SqlTable):
    library = ""

    def _templates(self, definition: Definition) -> Templates:
        return select(definition)

    def _connector(self, definition: Definition) -> Connect:
        if self.library:
            raise LibraryMissing(self.library)

        def connect(host: Host) -> Client:
            return SqliteClient(host)

        return connect

    def _host(self, text: str) -> Host:
        return Host(text, *parted(text))


def opener(here: Path, kind: type[Table] = Table) -> Table:
    return kind("fake:./s.cf", "./s.cf", str(here), BUILT_IN, lambda name, origin: open_table(name, str(here), origin))


def table(here: Path, text: str) -> Table:
    (here / "s.cf").write_text(text)
    return opener(here)


@pytest.mark.parametrize(
    ("text", "key", "expected"),
    [
        (QUERY, "U@x.com", "one@y.z,two"),
        (QUERY, "none", None),
        (QUERY, "", None),
        (QUERY, "a\0b", None),
        (QUERY, "a\udcff", None),
        (QUERY, "é@x.com", "é"),
        (QUERY, "É@x.com", "é"),
        (QUERY, "o'q@x.com", "quoted"),
        (QUERY, "x' or '1'='1", None),
        ("query = select v, w from a where k='%s'\n", "u@x.com", "one@y.z,two,w"),
        ("query = select v, w from a where k='%s'\n", "bare", "b"),
        ("query = select null\n", "a", None),
        ("query = select '%u'\n", "@x.com", None),
        ("query = select '%d'\n", "bare", None),
        (f"{QUERY}result_format = [%s]\n", "u@x.com", "[one@y.z],[two]"),
        (f"{QUERY}domain = x.com\n", "u@x.com", "one@y.z,two"),
        (f"{QUERY}domain = y.com\n", "u@x.com", None),
        (f"{QUERY}domain = inline:{{x.com=1}}\n", "u@x.com", "one@y.z,two"),
        (f"{QUERY}expansion_limit = 2\n", "u@x.com", "one@y.z,two"),
        (f"{QUERY}hosts = down, up\n", "bare", "b"),
        ("table=a\nselect_field=v\nwhere_field=k\n", "bare", "b"),
    ],
)
def test_answers(tmp_path: Path, text: str, key: str, expected: str | None) -> None:
    found = table(tmp_path, text).get(key)
    assert (None if found is None else found.value) == expected


@pytest.mark.parametrize(
    ("text", "key", "said"),
    [
        (f"{QUERY}expansion_limit = 1\n", "u@x.com", "Expansion limit exceeded"),
        (
            "query = with recursive r(n) as (select 1 union all select n+1 from r limit 100001) select n from r\n",
            "a",
            "limit",
        ),
        (QUERY, "bad@x.com", "not UTF-8"),
        ("query = selec\n", "a", "localhost: query failed"),
        (f"{QUERY}hosts = down\n", "a", "down: refused"),
        (f"{QUERY}hosts = down:1 down:2\n", "a", "down:[12]: refused; down:[12]: refused"),
        (f"{QUERY}domain = fail:x\n", "u@x.com", "fail"),
    ],
)
def test_what_can_not_be_answered_is_temporary(tmp_path: Path, text: str, key: str, said: str) -> None:
    with pytest.raises(TableError, match=said):
        table(tmp_path, text).get(key)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", ": bad string length 0 < 1: table"),
        ("query = %q\n", ":1: Invalid query template"),
        (f"{QUERY}hosts = a:b\n", ':2: hosts: bad port in "a:b"'),
        (f"{QUERY}hosts = a:0\n", ":2: hosts: bad port"),
        (f"{QUERY}retry_interval = 0\n", ":2: invalid retry_interval"),
        (f"{QUERY}idle_interval = x\n", ":2: bad numerical"),
        (f"{QUERY}domain = nosuch:x\n", ":2: nosuch:x: unsupported"),
    ],
)
def test_a_bad_definition_names_file_and_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        table(tmp_path, text)
    assert said in str(caught.value)


def test_a_changed_definition_is_taken_and_a_bad_one_is_not(tmp_path: Path) -> None:
    found = table(tmp_path, QUERY)
    assert not found.stale()
    assert found.get("bare") is not None
    (tmp_path / "s.cf").write_text("query = select 'new'\n")
    assert found.stale()
    found.reload()
    assert found.get("bare").value == "new"  # type: ignore[union-attr]
    (tmp_path / "s.cf").write_text("nothing = here\n")
    with pytest.raises(ConfigError):
        found.reload()
    assert found.get("bare").value == "new"  # type: ignore[union-attr]


def test_a_definition_that_comes_later(tmp_path: Path) -> None:
    found = opener(tmp_path)
    with pytest.raises(TableError, match="No such file"):
        found.get("bare")
    (tmp_path / "s.cf").write_text(QUERY)
    assert found.stale()
    found.reload()
    assert found.get("bare") is not None


def test_a_definition_handed_over(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(QUERY)
    found = Table(
        "fake:/etc/s.cf", "/etc/s.cf", str(tmp_path), BUILT_IN, lambda name, origin: open_table(name, str(tmp_path)),
        handed={"/etc/s.cf": str(tmp_path / "secret")},
    )  # fmt: skip
    assert found.get("bare") is not None


def test_a_missing_library_is_a_temporary_error_and_a_warning(tmp_path: Path) -> None:
    class Without(Table):
        library = "the library x is needed"

    (tmp_path / "s.cf").write_text(QUERY)
    found = opener(tmp_path, Without)
    with pytest.raises(TableError, match="the library x is needed"):
        found.get("a")
    assert [problem.severity for problem in found.warnings] == ["warning"]
    with pytest.raises(LibraryMissing, match=r"libnothing is needed: install it \(Debian: nothing"):
        load(("libnothing", "libnothing2"), "nothing", {})
    with pytest.raises(LibraryMissing, match="too old"):
        load(("libc.so.6",), "libc6", {"no_such_function": (None, [])})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("h", ("h", "")), ("h:12", ("h", "12")), ("[::1]:12", ("::1", "12")), ("[::1]", ("::1", "")),
        ("::1", ("::1", "")), (":12", ("", "12")),
    ],
)  # fmt: skip
def test_host_and_port(text: str, expected: tuple[str, str]) -> None:
    assert parted(text) == expected


@pytest.mark.parametrize("text", ["h:", "h:x", "h:0", "h:65536", "[::1]x", "h:١"])
def test_bad_ports(text: str) -> None:
    with pytest.raises(ValueError, match="bad port"):
        parted(text)


def test_hosts_of_mysql() -> None:
    assert mysql.host("unix:/run/s") == Host("unix:/run/s", "/run/s", local=True)
    assert mysql.host("inet:h:1") == Host("inet:h:1", "h", "1")
    assert mysql.host("h") == Host("h", "h")


def test_hosts_of_pgsql() -> None:
    assert pgsql.host("unix:/run") == Host("unix:/run", "/run", local=True)
    assert pgsql.host("/run") == Host("/run", "/run", local=True)
    assert pgsql.host("inet:h:1") == Host("inet:h:1", "h", "1")
    for uri in (
        "postgresql://u:geheim@h/d", "postgres://h/d?password=geheim&a=b", "postgresql://u:geheim@h,i/d?x=y",
        "postgresql://u:ge/heim@h/d", "postgresql://u@h/d?sslpassword=geheim",
    ):  # fmt: skip
        found = pgsql.host(uri)
        assert found.address == uri
        assert "heim" not in found.name


def test_pgsql_says_no_password_of_a_string_that_the_library_quotes() -> None:
    uri = "postgresql://u:geheim@[::1/d?password=%zz"
    text = pgsql.said(f'connect: no matching "]" in URI: "{uri}", bad token: "%zz"', pgsql.host(uri))
    assert text == 'connect: no matching "]" in URI: "postgresql://u@[::1/d?password", bad token: "..."'


def test_what_mysql_is_told(tmp_path: Path) -> None:
    (tmp_path / "a").write_text(
        "user=u\ndbname=d\ntls_CAfile=/ca\noption_group=\nrequire_result_set=no\ntls_verify_cert=yes\n"
    )
    found = mysql.account(in_file(str(tmp_path / "a"))[0])
    assert (found.user, found.database, found.ca_file, found.option_group) == ("u", "d", "/ca", "")
    assert (found.verify, found.require_result_set, found.tls, found.charset) == (True, False, True, "utf8mb4")
    (tmp_path / "a").write_text("dbname=d\n")
    found = mysql.account(in_file(str(tmp_path / "a"))[0])
    assert (found.option_group, found.verify, found.require_result_set, found.tls) == ("client", False, True, False)
    (tmp_path / "a").write_text("user=u\n")
    with pytest.raises(ConfigError, match="dbname"):
        mysql.account(in_file(str(tmp_path / "a"))[0])


def test_an_answer_names_the_line_of_its_query(tmp_path: Path) -> None:
    for text in (f"# c\n{QUERY}", "table=a\nselect_field=v\nwhere_field=k\n"):
        found = table(tmp_path, text).get("bare")
        assert found is not None
        assert found.origin is not None
        assert (found.origin.file, found.origin.line) == (f"{tmp_path}/./s.cf", 2)


def test_trouble_is_told_once_a_minute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    found = table(tmp_path, f"{QUERY}hosts = down\n")
    assert found.trouble() == ""
    for text in ("down: refused", "down: rests", ""):
        with pytest.raises(TableError):
            found.get("a")
        told = found.trouble()
        assert text in told
        assert bool(text) == bool(told)
    assert found.trouble() == ""
    now[0] += 61
    with pytest.raises(TableError):
        found.get("a")
    assert found.trouble() == "fake:./s.cf: down: rests, since it failed: refused"


def test_trouble_is_heard_where_tables_are_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("postwarden.tables.opening.DEFINED", {"sqlite": Table})
    (tmp_path / "s.cf").write_text(f"{QUERY}hosts = down\n")
    heard: list[str] = []
    tables = Tables(str(tmp_path), say=heard.append)
    with pytest.raises(TableError):
        tables.table("unionmap:{sqlite:./s.cf, fail:x}").get("a")
    assert tables.refresh() == []
    assert heard == ["warning: sqlite:./s.cf: down: refused"]
