"""mysql:, pgsql: and ldap: tables beside Debian's postmap, both asking the same MariaDB, PostgreSQL and OpenLDAP."""

import os
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.databases import MariaDb, Postgres, Server, Slapd, needs
from tests.directory import ELSEWHERE, ENTRIES, SCHEMA, SETTINGS
from tests.fuzz.rounds import rounds
from tests.realpostfix import needs_postfix

from postwarden.config.errors import ConfigError
from postwarden.tables.keys import folded
from postwarden.tables.opening import open_table
from postwarden.tables.remote.defined import DefinedTable
from postwarden.tables.table import Table, TableError

pytestmark = [pytest.mark.long, pytest.mark.postfix, needs_postfix]
missing = [
    kind for kind in ("mysql", "pgsql", "ldap")
    if kind not in subprocess.run(["postconf", "-m"], capture_output=True, text=True, check=False).stdout.split()
]  # fmt: skip

ROWS = (
    ("u@x.com", "one@y.z", None), ("u@x.com", "two", "w2"), ("bare", "b", ""), ("é@x.com", "é", None),
    ("o'q@x.com", "quoted", None), ("back\\@x.com", "bs", None), ("%s@x.com", "percent", None), 
    ("none@x.com", None, None),
)  # fmt: skip
HOSTILE = (
    "x' or '1'='1", "x\\' or 1=1 -- ", "'; drop table a; -- ", "\\", "'", "''", '"', "%s", "%", "_", "a\tb",
    "u@x.com\n",
    "*", ")(cn=*", "(", "é", "\u212a@x.com", "𝔲@x.com", "\x1a", "/*", "-- ", "#", "x'\\", "¿'", "\u0800'",
    "中' or 1=1 -- ", "",
)  # fmt: skip
ADDRESSES = ("u@x.com", "U@X.COM", "bare", "none", "none@x.com", "é@x.com", "o'q@x.com", "back\\@x.com", "%s@x.com")


class Place:
    """Where both programs read the definitions."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.tables: list[Table] = []
        self.write("main.cf", f"compatibility_level = 3.6\nqueue_directory = {base}\ndata_directory = {base}\n")
        for name in ("dynamicmaps.cf", "dynamicmaps.cf.d"):
            (base / name).symlink_to(f"/etc/postfix/{name}")

    def write(self, name: str, text: str) -> None:
        (self.base / name).write_text(text)
        # The real one reads a file of this second again and again until it is older.
        os.utime(self.base / name, (0, 0))

    def table(self, kind: str, text: str) -> Table:
        self.write("t.cf", text)
        return self.opened(f"{kind}:{self.base}/t.cf")

    def opened(self, name: str) -> Table:
        table = open_table(name, str(self.base))
        self.tables.append(table)
        return table

    def close(self) -> None:
        """A server takes no more than a hundred connections."""
        for table in self.tables:
            if isinstance(table, DefinedTable) and table._source is not None:
                table._source.servers.close()

    def ours(self, kind: str, text: str, key: str) -> str | None:
        """The value; None: not found; `error`."""
        try:
            found = self.table(kind, text).get(key)
        except (TableError, ConfigError):
            return "error"
        return None if found is None else found.value

    def real(self, kind: str, text: str, key: str) -> str | None:
        self.write("t.cf", text)
        words = ["postmap", "-c", str(self.base), "-q", key, f"{kind}:{self.base}/t.cf"]
        done = subprocess.run(words, capture_output=True, timeout=60, check=False)
        if done.returncode == 0:
            return done.stdout.decode().removesuffix("\n")
        return "error" if b"fatal" in done.stderr else None

    def compare(self, kind: str, text: str, *keys: str) -> list[str | None]:
        values = [self.ours(kind, text, key) for key in keys]
        assert values == [self.real(kind, text, key) for key in keys]
        return values


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    made.close()


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("servers")
    directory.chmod(0o755)
    return directory


@pytest.fixture(scope="module")
def authority(base: Path) -> Path:
    """A directory with ca.pem, cert.pem and key.pem."""
    authority = trustme.CA()
    mine = authority.issue_cert("127.0.0.1", "localhost")
    authority.cert_pem.write_to_path(str(base / "ca.pem"))
    mine.private_key_pem.write_to_path(str(base / "key.pem"))
    mine.cert_chain_pems[0].write_to_path(str(base / "cert.pem"))
    (base / "key.pem").chmod(0o644)
    return base


def filled(quote: str = "'") -> str:
    def cell(value: str | None) -> str:
        if value is None:
            return "null"
        text = value.replace("\\", "\\\\") if quote == "\\" else value
        return "'" + text.replace("'", "''") + "'"

    rows = ", ".join("(" + ", ".join(map(cell, row)) + ")" for row in ROWS)
    return f"create table a(k varchar(200), v varchar(200), w varchar(200)); insert into a values {rows};"


@pytest.fixture(scope="module")
def maria(base: Path, authority: Path) -> Iterator[MariaDb]:
    names = {"ssl-ca": "ca", "ssl-cert": "cert", "ssl-key": "key"}
    server = MariaDb(base / "my", *(f"--{option}={authority}/{file}.pem" for option, file in names.items()))
    server.start()
    server.execute(f"create database mail character set utf8mb4; use mail; {filled(chr(92))}")
    for host in ("127.0.0.1", "localhost"):
        server.execute(f"create user 'pw'@'{host}' identified by 'sec ret'; grant all on mail.* to 'pw'@'{host}';")
    server.execute(
        "create user 'tls'@'127.0.0.1' identified by 'x' require ssl; grant all on mail.* to 'tls'@'127.0.0.1'"
    )
    server.execute("use mail; create procedure one(in p varchar(200)) select v from a where k = p;")
    yield server
    server.stop()


@pytest.fixture(scope="module")
def postgres(base: Path) -> Iterator[Postgres]:
    server = Postgres(base / "pg")
    server.start()
    server.execute("create user pw password 'sec ret'")
    server.execute("create database mail owner pw")
    server.execute(f"{filled()} grant all on a to pw;", "mail")
    server.execute(
        "create function f(text) returns text as 'select v from a where k = $1 limit 1' language sql", "mail"
    )
    yield server
    server.stop()


@pytest.fixture(scope="module")
def slapd(base: Path, authority: Path) -> Iterator[Slapd]:
    tls = f"TLSCertificateFile {authority}/cert.pem\nTLSCertificateKeyFile {authority}/key.pem\n"
    server = Slapd(base / "ldap", SCHEMA, ENTRIES, f"{SETTINGS}{tls}TLSCACertificateFile {authority}/ca.pem\n")
    server.start()
    yield server
    server.stop()


QUERY = "query = select v from a where k = '%s'\n"


def mysql(server: MariaDb, rest: str = QUERY, hosts: str = "") -> str:
    hosts = hosts or f"127.0.0.1:{server.port}"
    return f"hosts = {hosts}\nuser = pw\npassword = sec ret\ndbname = mail\n{rest}"


pgsql = mysql  # the same form


@needs("mariadb-server")
class TestMysql:
    def test_keys_of_all_kinds(self, place: Place, maria: MariaDb) -> None:
        values = place.compare("mysql", mysql(maria), *ADDRESSES, *HOSTILE)
        assert values[:9] == ["one@y.z,two", "one@y.z,two", "b", None, None, "é", "quoted", "bs", "percent"]
        assert set(values[9:]) == {None}
        assert maria.execute("select count(*) from mail.a").strip() == str(len(ROWS))

    @pytest.mark.parametrize("mode", ["NO_BACKSLASH_ESCAPES", "ANSI_QUOTES", "ANSI"])
    def test_hostile_keys_whatever_the_rules_of_quoting(self, place: Place, maria: MariaDb, mode: str) -> None:
        maria.execute(f"set global sql_mode = '{mode}'")
        try:
            assert set(place.compare("mysql", mysql(maria), *HOSTILE)) == {None}
            assert place.ours("mysql", mysql(maria), "back\\@x.com") == "bs"
        finally:
            maria.execute("set global sql_mode = default")

    @pytest.mark.parametrize("charset", ["gbk", "sjis", "latin1", "utf8mb4"])
    def test_hostile_keys_whatever_the_character_set(self, place: Place, maria: MariaDb, charset: str) -> None:
        """Where two bytes may be one character, a backslash is easily lost in one."""
        table = place.table("mysql", mysql(maria, f"{QUERY}charset = {charset}\n"))
        for key in HOSTILE:
            try:
                assert table.get(key) is None, key
            except TableError as error:  # what is no character of the set
                assert "syntax" not in str(error), key
        assert table.get("back\\@x.com") is not None

    def test_any_key_is_one_value(self, place: Place, maria: MariaDb) -> None:
        any_key_is_one_value(place.table("mysql", mysql(maria, "query = select '%s'\n")))

    @pytest.mark.parametrize(
        ("rest", "key"),
        [
            ("query = select v, w from a where k = '%s'\n", "u@x.com"),
            ("query = select v, w from a where k = '%s'\n", "bare"),
            ("query = select 5, 2.5, now() > 0\n", "a"),
            ("query = select '%1-%2-%d-%u-%s-%S-%U-%D-%%'\n", "X@b.c"),
            (f"{QUERY}result_format = [%s|%u|%d|%S|%U|%D|%1|%%]\n", "u@x.com"),
            (f"{QUERY}expansion_limit = 1\n", "u@x.com"),
            (f"{QUERY}expansion_limit = 1\n", "bare"),
            (f"{QUERY}domain = y.com, x.com\n", "u@x.com"),
            (f"{QUERY}domain = y.com\n", "u@x.com"),
            (f"{QUERY}domain = x.com\n", "bare"),
            ("table = a\nselect_field = v\nwhere_field = k\nadditional_conditions = and v like '%%o'\n", "u@x.com"),
            ("query = selec\n", "u@x.com"),
            ("query = call one('%s')\n", "u@x.com"),
            ("query = call one('%s')\n", "nobody"),
            ("query = set @a = '%s'\n", "u@x.com"),
            ("query = set @a = '%s'\nrequire_result_set = no\n", "u@x.com"),
            ("query = select 1; select 2\n", "u@x.com"),
            ("query = select x'ff'\n", "u@x.com"),
            ("query = select x'c3a9'\n", "u@x.com"),
            (f"{QUERY}password = wrong\n", "u@x.com"),
            (f"{QUERY}dbname = wrong\n", "u@x.com"),
            (f"{QUERY}dbname =\n", "u@x.com"),
            ("", "u@x.com"),
            ("query = load data local infile '/etc/hostname' into table a\n", "u@x.com"),
        ],
    )
    def test_definitions(self, place: Place, maria: MariaDb, rest: str, key: str) -> None:
        place.compare("mysql", mysql(maria, rest), key)

    def test_hosts(self, place: Place, maria: MariaDb) -> None:
        there = f"127.0.0.1:{maria.port}"
        for hosts in (
            f"unix:{maria.socket}", f"inet:{there}", f"{there}, unix:/nonexistent", f"127.0.0.1:1 {there}",
            "127.0.0.1:1", "unix:/nonexistent", f"localhost:{maria.port}",
        ):  # fmt: skip
            place.compare("mysql", mysql(maria, hosts=hosts), "u@x.com", "é@x.com")

    def test_option_files(self, place: Place, maria: MariaDb) -> None:
        file = place.base / "my.cnf"
        file.write_text("[client]\ndefault-character-set=utf8mb4\n[bad]\nport=1\n[good]\nuser=pw\n")
        begin = f"hosts = 127.0.0.1\npassword = sec ret\ndbname = mail\noption_file = {file}\n{QUERY}"
        begin = begin.replace("127.0.0.1", f"127.0.0.1:{maria.port}")
        for rest in ("user = pw\n", "option_group = good\n", "", "user = pw\noption_group =\n", "option_group = bad\n"):
            place.compare("mysql", begin + rest, "u@x.com")
        # Where the definition has no password, that of the option file counts here, and an empty one there.
        file.write_text('[client]\nuser=pw\npassword="sec ret"\n')
        text = begin.replace("password = sec ret\n", "")
        assert place.ours("mysql", text, "u@x.com") == "one@y.z,two"

    def test_tls(self, place: Place, maria: MariaDb, authority: Path) -> None:
        account = "user = tls\npassword = x\n"
        for rest in (
            "", f"tls_CAfile = {authority}/ca.pem\n", f"tls_CAfile = {authority}/ca.pem\ntls_verify_cert = yes\n",
            "tls_CAfile = /nonexistent\n", "tls_verify_cert = yes\n",
            f"tls_CAfile = {authority}/ca.pem\n"
            f"tls_cert_file = {authority}/cert.pem\ntls_key_file = {authority}/key.pem\n",
        ):  # fmt: skip
            text = f"hosts = 127.0.0.1:{maria.port}\ndbname = mail\n{account}{QUERY}{rest}"
            place.compare("mysql", text, "u@x.com")

    def test_a_server_that_goes_and_comes(self, place: Place, maria: MariaDb) -> None:
        goes_and_comes(place.table("mysql", mysql(maria)), maria)

    def test_a_server_that_says_nothing(self, place: Place, maria: MariaDb, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("postwarden.tables.remote.mysql.QUERY_SECONDS", 1)
        monkeypatch.setattr("postwarden.tables.remote.mysql.CONNECT_SECONDS", 1)
        says_nothing(place.table("mysql", mysql(maria)), maria)

    def test_many_threads(self, place: Place, maria: MariaDb) -> None:
        many_threads(place.table("mysql", mysql(maria)))

    def test_a_definition_in_main_cf(self, place: Place, maria: MariaDb) -> None:
        lines = mysql(maria).splitlines()
        with (place.base / "main.cf").open("a") as file:
            file.writelines(f"staff_{line}\n" for line in lines)
        found = place.opened("mysql:staff").get("u@x.com")
        assert found is not None
        assert found.value == "one@y.z,two"


@needs("postgresql")
class TestPgsql:
    def test_keys_of_all_kinds(self, place: Place, postgres: Postgres) -> None:
        text = pgsql(postgres)
        keys = [key for key in (*ADDRESSES, *HOSTILE) if key.isascii()]
        values = place.compare("pgsql", text, *keys)
        assert values[:8] == ["one@y.z,two", "one@y.z,two", "b", None, None, "quoted", "bs", "percent"]
        # The real one of 3.7 talks LATIN1, and finds nothing; later ones talk UTF-8.
        assert place.ours("pgsql", text, "é@x.com") == "é"
        assert {place.ours("pgsql", text, key) for key in HOSTILE} == {None}
        assert postgres.execute("select count(*) from a", "mail").strip() == str(len(ROWS))

    def test_any_key_is_one_value(self, place: Place, postgres: Postgres) -> None:
        any_key_is_one_value(place.table("pgsql", pgsql(postgres, "query = select '%s'\n")))

    def test_hostile_keys_with_old_strings(self, place: Place, postgres: Postgres) -> None:
        postgres.execute("alter role pw set standard_conforming_strings = off")
        try:
            assert {place.ours("pgsql", pgsql(postgres), key) for key in HOSTILE} == {None}
            assert place.ours("pgsql", pgsql(postgres), "back\\@x.com") == "bs"
        finally:
            postgres.execute("alter role pw reset standard_conforming_strings")

    @pytest.mark.parametrize(
        ("rest", "key"),
        [
            ("query = select v, w from a where k = '%s'\n", "u@x.com"),
            ("query = select 5, 2.5, true, null, ''\n", "a"),
            (f"{QUERY}expansion_limit = 1\n", "u@x.com"),
            (f"{QUERY}domain = y.com\n", "u@x.com"),
            ("table = a\nselect_field = v\nwhere_field = k\nadditional_conditions = and v like '%%o'\n", "u@x.com"),
            ("select_function = f\n", "u@x.com"),
            ("select_function = f\n", "nobody"),
            (f"{QUERY}select_function = nosuch\n", "u@x.com"),
            ("query = selec\n", "u@x.com"),
            ("query = select 1; select 2\n", "u@x.com"),
            ("query = select 1; selec\n", "u@x.com"),
            ("query = copy a to stdout\n", "u@x.com"),
            ("query = copy a from stdin\n", "u@x.com"),
            ("query = set application_name = 'x'\n", "u@x.com"),
            ("query = do $x$ begin raise notice 'n'; end $x$; select 'after'\n", "u@x.com"),
            ("query = ;\n", "u@x.com"),
            ("query = select 1 / 0\n", "u@x.com"),
            (f"{QUERY}password = wrong\n", "u@x.com"),
            (f"{QUERY}dbname = wrong\n", "u@x.com"),
            (f"{QUERY}dbname =\n", "u@x.com"),
        ],
    )
    def test_definitions(self, place: Place, postgres: Postgres, rest: str, key: str) -> None:
        place.compare("pgsql", pgsql(postgres, rest), key)

    def test_hosts(self, place: Place, postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
        there = f"127.0.0.1:{postgres.port}"
        uri = f"postgresql://pw:sec%20ret@{there}/mail"
        for hosts in (
            f"inet:{there}", f"{there}, unix:/nonexistent", f"127.0.0.1:1 {there}", "127.0.0.1:1", uri, f"{uri}?bad=1",
            f"postgresql://pw:wrong@{there}/mail", f"unix:{postgres.socket}:{postgres.port}",
        ):  # fmt: skip
            place.compare("pgsql", pgsql(postgres, hosts=hosts), "u@x.com")
        monkeypatch.setenv("PGPORT", str(postgres.port))  # postmap drops it, so there is nothing to compare
        assert place.ours("pgsql", pgsql(postgres, hosts=f"unix:{postgres.socket}"), "u@x.com") == "one@y.z,two"

    def test_an_error_does_not_tell_the_password(self, place: Place, postgres: Postgres) -> None:
        hosts = f"postgresql://pw:geheim@127.0.0.1:{postgres.port}/mail?password=geheim"
        with pytest.raises(TableError) as caught:
            place.table("pgsql", pgsql(postgres, hosts=hosts)).get("a")
        assert "geheim" not in str(caught.value)

    def test_a_server_that_goes_and_comes(self, place: Place, postgres: Postgres) -> None:
        goes_and_comes(place.table("pgsql", pgsql(postgres)), postgres)

    def test_a_server_that_says_nothing(
        self, place: Place, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("postwarden.tables.remote.pgsql.QUERY_SECONDS", 1)
        table = place.table("pgsql", pgsql(postgres, "query = select pg_sleep(5)::text || '%s'\n"))
        began = time.monotonic()
        with pytest.raises(TableError, match="timed out"):
            table.get("a")
        assert time.monotonic() - began < 4

    def test_many_threads(self, place: Place, postgres: Postgres) -> None:
        many_threads(place.table("pgsql", pgsql(postgres)))


BASE = "search_base = dc=test\n"
REFERS = f"{BASE}special_result_attribute = memberRef\n"
EVERYONE = (
    "ann@x.com", "ANN", "bob@x.com", "twin@x.com", "none", "a*b(c)\\d@x.com", "é@x.com", "empty@x.com", "opt@x.com",
    "grp@x.com", "term@x.com", "nest@x.com", *(f"url{number}@x.com" for number in range(1, 10)),
)  # fmt: skip


def ldap(server: Slapd, rest: str = BASE) -> str:
    return f"server_host = 127.0.0.1:{server.port}\n{rest}"


@needs("slapd")
class TestLdap:
    def test_keys_of_all_kinds(self, place: Place, slapd: Slapd) -> None:
        values = place.compare("ldap", ldap(slapd), *EVERYONE, *HOSTILE)
        assert values[:7] == ["ann@in.x.com,ann2", "ann@in.x.com,ann2", "bob", "t1,t2", None, "special", "é"]
        assert {place.ours("ldap", ldap(slapd), key) for key in HOSTILE} == {None}

    @pytest.mark.parametrize(
        "rest",
        [
            "result_attribute = mail, maildrop\n",
            "result_attribute = mail\n",
            "result_attribute =\nleaf_result_attribute = mail\n",
            "result_attribute = mail\nterminal_result_attribute = maildrop\n",
            "result_attribute =\nleaf_result_attribute = mail\nterminal_result_attribute = maildrop\n",
            "result_attribute = cn\nleaf_result_attribute = MAIL\n",
            "result_attribute = maildrop;lang-de\n",
        ],
    )
    def test_result_attributes(self, place: Place, slapd: Slapd, rest: str) -> None:
        place.compare("ldap", ldap(slapd, REFERS + rest), *EVERYONE, "nodn@x.com")

    @pytest.mark.parametrize(
        ("rest", "keys"),
        [
            ("recursion_limit = 5\n", ("loop@x.com", "nest@x.com")),
            ("recursion_limit = 2\n", ("nest@x.com", "grp@x.com")),
            ("recursion_limit = 1\n", ("nest@x.com", "ann@x.com")),
            ("recursion_limit = 0\n", ("ann@x.com",)),
            ("expansion_limit = 3\n", ("nest@x.com", "grp@x.com")),
            ("expansion_limit = 1\n", ("twin@x.com", "bob@x.com")),
            ("expansion_limit = 1\nsize_limit = 0\n", ("twin@x.com", "bob@x.com")),
            ("size_limit = 1\n", ("twin@x.com", "bob@x.com")),
        ],
    )
    def test_limits(self, place: Place, slapd: Slapd, rest: str, keys: tuple[str, ...]) -> None:
        place.compare("ldap", ldap(slapd, f"{REFERS}result_attribute = mail\n{rest}"), *keys)

    @pytest.mark.parametrize(
        ("rest", "key"),
        [
            ("search_base = ou=none,dc=test\n", "ann@x.com"),
            ("search_base = nonsense\n", "ann@x.com"),
            ("", "ann@x.com"),
            ("search_base = ou=p,dc=%1\nquery_filter = cn=%u\n", "ann@a.test"),
            ("search_base = ou=p,dc=%1\nquery_filter = cn=%u\n", "ann@a.com"),
            ("search_base = ou=p,dc=%1\nquery_filter = cn=%u\n", "ann"),
            ("search_base = cn=%u,ou=p,dc=test\nquery_filter = objectClass=*\nscope = base\n", "ann"),
            ("search_base = cn=%u,ou=p,dc=test\nquery_filter = objectClass=*\nscope = base\n", '+,=\\"<>;#@x'),
            ("search_base = cn=%u,ou=p,dc=test\nquery_filter = objectClass=*\n", "ann,ou=p@x"),
            (f"{BASE}scope = one\n", "ann@x.com"),
            (f"{BASE}scope = bad\n", "ann@x.com"),
            (f"{BASE}query_filter = (cn=%u\n", "ann@x.com"),
            (f"{BASE}query_filter =\n", "ann@x.com"),
            (f"{BASE}query_filter = (&(cn=%u)(objectClass=*))\nresult_format = %s|%u|%d|%S\n", "ann@x.com"),
            (f"{BASE}result_filter = <%s>\n", "ann@x.com"),
            (f"{BASE}result_filter = <%s>\nresult_format = [%s]\n", "ann@x.com"),
            (f"{BASE}result_attribute = rawdrop\n", "bob@x.com"),
            (f"{BASE}domain = y.com\n", "bob@x.com"),
            (f"{BASE}dereference = 5\n", "bob@x.com"),
            (f"{BASE}dereference = 3\n", "bob@x.com"),
            (f"{BASE}chase_referrals = yes\n", "bob@x.com"),
            (f"{BASE}version = 4\n", "bob@x.com"),
            (f"{BASE}version = 2\n", "bob@x.com"),
            (f"{BASE}version = 1\n", "bob@x.com"),
            (f"{BASE}cache = yes\ncache_size = 5\n", "bob@x.com"),
        ],
    )
    def test_definitions(self, place: Place, slapd: Slapd, rest: str, key: str) -> None:
        place.compare("ldap", ldap(slapd, rest), key)

    @pytest.mark.parametrize(
        "rest",
        [
            "bind = no\n",
            "bind = None\n",
            "bind = maybe\n",
            "bind_dn = cn=root,dc=test\nbind_pw = root\n",
            "bind_dn = cn=root,dc=test\nbind_pw = wrong\n",
            "bind = sasl\nsasl_mechs = DIGEST-MD5\nbind_dn = bob\nbind_pw = pw\n",
            "bind = sasl\nsasl_mechs = SCRAM-SHA-256\nbind_dn = bob\nbind_pw = pw\n",
            "bind = sasl\nsasl_mechs = DIGEST-MD5\nbind_dn = bob\nbind_pw = wrong\n",
            "bind = sasl\nsasl_mechs = DIGEST-MD5\nbind_dn = bob\nbind_pw = pw\nversion = 2\n",
            "bind = sasl\nsasl_mechs = DIGEST-MD5\nbind_dn = bob\nbind_pw = pw\nsasl_minssf = 1\n",
            "bind = sasl\nsasl_mechs = NOSUCH\n",
        ],
    )
    def test_binding(self, place: Place, slapd: Slapd, rest: str) -> None:
        place.compare("ldap", ldap(slapd, BASE + rest), "ann@x.com")

    def test_a_strength_that_is_not_reached(self, place: Place, slapd: Slapd) -> None:
        # The real one goes on without it, whatever its manual says.
        account = "bind = sasl\nsasl_mechs = DIGEST-MD5\nbind_dn = bob\nbind_pw = pw\nsasl_minssf = 999\n"
        assert place.ours("ldap", ldap(slapd, BASE + account), "ann@x.com") == "error"

    def test_aliases_and_referrals(self, place: Place, tmp_path: Path) -> None:
        server = Slapd(tmp_path / "ldap", SCHEMA, ENTRIES + ELSEWHERE, SETTINGS)
        server.start()
        try:
            for number in range(4):
                rest = f"search_base = cn=al,ou=p,dc=test\nquery_filter = (objectClass=*)\ndereference = {number}\n"
                place.compare("ldap", ldap(server, f"{rest}scope = base\n"), "a")
            for base in ("dc=test", "ou=r,dc=test", "ou=dead,dc=test"):
                for chase in ("no", "yes"):
                    rest = f"search_base = {base}\nchase_referrals = {chase}\n"
                    place.compare("ldap", ldap(server, rest), "ann@x.com", "none@x.com")
        finally:
            server.stop()

    def test_servers(self, place: Place, slapd: Slapd) -> None:
        there = f"127.0.0.1:{slapd.port}"
        for hosts in (
            f"ldap://{there}", f"127.0.0.1:1, {there}", f"ldap://127.0.0.1:1 LDAP://{there}", slapd.ldapi,
            f"{slapd.ldapi}\nbind = sasl\nsasl_mechs = EXTERNAL", f"127.0.0.1\nserver_port = {slapd.port}",
            f"http://{there}", "127.0.0.1:1", f"ldaps://127.0.0.1:{slapd.tls_port}",
        ):  # fmt: skip
            place.compare("ldap", f"server_host = {hosts}\n{BASE}", "ann@x.com")

    def test_tls(self, place: Place, slapd: Slapd, authority: Path) -> None:
        trusted = f"tls_require_cert = yes\ntls_ca_cert_file = {authority}/ca.pem\n"
        client = f"tls_cert = {authority}/cert.pem\ntls_key = {authority}/key.pem\n"
        secure = f"server_host = ldaps://127.0.0.1:{slapd.tls_port}\n"
        plain = ldap(slapd, "start_tls = yes\n")
        for rest in ("", trusted, "tls_require_cert = yes\n", "tls_ca_cert_file = /nonexistent\n", trusted + client):
            assert place.compare("ldap", secure + BASE + rest, "ann@x.com") == place.compare(
                "ldap", plain + BASE + rest, "ann@x.com"
            )
        place.compare("ldap", f"{secure}{BASE}start_tls = yes\n", "ann@x.com")

    def test_a_server_that_goes_and_comes(self, place: Place, slapd: Slapd) -> None:
        goes_and_comes(place.table("ldap", ldap(slapd)), slapd, "bob@x.com")

    def test_a_server_that_says_nothing(self, place: Place, slapd: Slapd) -> None:
        says_nothing(place.table("ldap", ldap(slapd, f"{BASE}timeout = 1\n")), slapd, "bob@x.com")
        table = place.table("ldap", ldap(slapd, f"{BASE}timeout = 1\nbind = sasl\nsasl_mechs = DIGEST-MD5\n"))
        slapd.freeze()
        try:
            with pytest.raises(TableError):
                table.get("bob@x.com")
        finally:
            slapd.thaw()

    def test_many_threads(self, place: Place, slapd: Slapd) -> None:
        many_threads(place.table("ldap", ldap(slapd)), "bob@x.com")


def any_key_is_one_value(table: Table) -> None:
    """What is quoted comes back as it was, whatever is in it."""

    @given(
        st.text(
            st.one_of(st.sampled_from("'\\\"%;-\n\r\t\x1a中"), st.characters(codec="utf-8", exclude_characters="\0"))
        )
    )
    @settings(deadline=None, max_examples=rounds(500))
    def check(key: str) -> None:
        found = table.get(key)
        assert (None if found is None else found.value) == (folded(key) or None)

    check()


def goes_and_comes(table: Table, server: Server, key: str = "u@x.com") -> None:
    """Temporary errors while it is away, and right answers soon after it is back; nothing is ever "not found"."""
    assert table.get(key) is not None
    server.stop()
    for _ in range(3):
        with pytest.raises(TableError):
            table.get(key)
    server.start()
    recovers(table, key)
    assert table.get("nobody@x.com") is None
    # A connection that died while nobody looked is nobody's failure.
    server.stop()
    server.start()
    assert table.get(key) is not None


def says_nothing(table: Table, server: Server, key: str = "u@x.com") -> None:
    assert table.get(key) is not None
    server.freeze()
    try:
        began = time.monotonic()
        for _ in range(3):
            with pytest.raises(TableError):
                table.get(key)
        assert time.monotonic() - began < 10
    finally:
        server.thaw()
    recovers(table, key)


def recovers(table: Table, key: str) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            assert table.get(key) is not None
        except TableError:
            assert time.monotonic() < deadline, "it does not recover"
            time.sleep(0.1)
        else:
            return


def many_threads(table: Table, key: str = "u@x.com") -> None:
    wrong: list[object] = []

    def ask() -> None:
        for _ in range(50):
            try:
                found = table.get(key)
                if found is None or table.get("nobody@x.com") is not None:
                    wrong.append(found)
            except TableError as error:
                wrong.append(error)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
