"""The client libraries by ctypes: every function that we call, with servers that answer well and badly."""

import contextlib
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests import fakedatabases as fake
from tests.fakedatabases import FakeServer

from postwarden.tables.opening import open_table
from postwarden.tables.remote import libldap, libmysql, libpq
from postwarden.tables.remote.library import LibraryMissing
from postwarden.tables.table import Table, TableError

pytestmark = pytest.mark.slow
LIBRARIES = {"mysql": libmysql.library, "pgsql": libpq.library, "ldap": libldap.library}


def there(kind: str) -> bool:
    try:
        LIBRARIES[kind]()
    except LibraryMissing:
        return False
    return True


needs = {kind: pytest.mark.skipif(not there(kind), reason=f"needs Debian's postfix-{kind}") for kind in LIBRARIES}
KINDS = [pytest.param(kind, marks=needs[kind]) for kind in LIBRARIES]

DEFINITIONS = {
    "mysql": "hosts = 127.0.0.1:{port}\nuser = u\npassword = p\ndbname = d\nquery = select '%s'\n",
    "pgsql": "hosts = 127.0.0.1:{port}\nuser = u\npassword = p\ndbname = d\nquery = select '%s'\n",
    "ldap": "server_host = 127.0.0.1:{port}\nsearch_base = dc=x\nquery_filter = (a=%s)\n"
    "result_attribute = m\ntimeout = 1\n",
}


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("mysql", "pgsql"):
        for name in ("QUERY_SECONDS", "CONNECT_SECONDS"):
            monkeypatch.setattr(f"postwarden.tables.remote.{module}.{name}", 1)


@pytest.fixture
def serve() -> Iterator[Callable[[Callable[[socket.socket], None]], FakeServer]]:
    servers: list[FakeServer] = []

    def start(talk: Callable[[socket.socket], None]) -> FakeServer:
        servers.append(FakeServer(talk))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


Serve = Callable[[Callable[[socket.socket], None]], FakeServer]


def table(here: Path, kind: str, port: int, more: str = "") -> Table:
    (here / "t.cf").write_text(DEFINITIONS[kind].format(port=port) + more)
    return open_table(f"{kind}:./t.cf", str(here))


def value(found: Table, key: str) -> str | None:
    hit = found.get(key)
    return None if hit is None else hit.value


def good(kind: str) -> Callable[[socket.socket], None]:
    """Answers each query with itself, twice, and a NULL."""
    if kind == "mysql":
        return fake.mysql(lambda query: fake.my_rows((query, b"\0x"), (None, b"")))
    if kind == "pgsql":
        return fake.postgres(lambda query: fake.pg_rows((query, b"x"), (None, b"")))
    done = fake.ldap_result(0x65)
    return fake.ldap(lambda search: [fake.ldap_entry(b"cn=a", m=[b"v", b"\xc3\xa9"], n=[b"no"]), done])


@pytest.mark.parametrize("kind", KINDS)
def test_answers_and_a_connection_that_is_kept(tmp_path: Path, serve: Serve, kind: str) -> None:
    server = serve(good(kind))
    found = table(tmp_path, kind, server.port)
    expected = {"mysql": "select 'it\\'s \\\\',\0x", "pgsql": "select 'it''s \\',x", "ldap": "v,é"}[kind]
    assert [value(found, "It's \\") for _ in range(3)] == [expected] * 3
    assert server.connections == 1


@needs["mysql"]
def test_errors_of_mysql(tmp_path: Path, serve: Serve) -> None:
    server = serve(fake.mysql(lambda query: fake.my_error(b"wrong <" + query + b">")))
    with pytest.raises(TableError, match="query failed: wrong <select 'a'>"):
        table(tmp_path, "mysql", server.port).get("a")
    server = serve(fake.mysql(lambda query: fake.my_ok()))
    with pytest.raises(TableError, match="no result set"):
        table(tmp_path, "mysql", server.port).get("a")
    assert value(table(tmp_path, "mysql", server.port, "require_result_set = no\n"), "a") is None


@needs["mysql"]
def test_mysql_gives_no_file_away(tmp_path: Path, serve: Serve) -> None:
    (tmp_path / "secret").write_text("geheim")
    heard = bytearray()

    def talk(connection: socket.socket) -> None:
        polite = fake.mysql(lambda query: fake.my(1, b"\xfb" + str(tmp_path / "secret").encode()))
        with contextlib.suppress(EOFError):
            polite(Recorder(connection, heard))  # type: ignore[arg-type]

    server = serve(talk)
    with pytest.raises(TableError):
        table(tmp_path, "mysql", server.port).get("a")
    assert b"select" in heard
    assert b"geheim" not in heard


class Recorder:
    def __init__(self, connection: socket.socket, heard: bytearray) -> None:
        self._connection, self._heard = connection, heard
        self.sendall = connection.sendall

    def recv(self, size: int) -> bytes:
        data = self._connection.recv(size)
        self._heard += data
        return data


@needs["pgsql"]
def test_errors_and_notices_of_pgsql(tmp_path: Path, serve: Serve, capfd: pytest.CaptureFixture[str]) -> None:
    server = serve(fake.postgres(lambda query: fake.pg_error(b"wrong\n" + query)))
    with pytest.raises(TableError, match="query failed: ERROR: wrong select 'a'"):
        table(tmp_path, "pgsql", server.port).get("a")
    notice = fake.pg(b"N", b"SNOTICE\0C00000\0Mhear me\0\0")
    server = serve(fake.postgres(lambda query: notice + fake.pg_rows((b"v",))))
    assert value(table(tmp_path, "pgsql", server.port), "a") == "v"
    assert capfd.readouterr().err == ""
    for strange in (fake.pg(b"I") + fake.PG_READY, fake.pg(b"H", b"\0\0\0"), fake.pg(b"G", b"\0\0\0")):
        server = serve(fake.postgres(lambda query, strange=strange: strange))  # type: ignore[misc]
        with pytest.raises(TableError, match="unexpected kind of result"):
            table(tmp_path, "pgsql", server.port).get("a")


@needs["ldap"]
def test_errors_of_ldap(tmp_path: Path, serve: Serve) -> None:
    for code, said in ((1, "Operations error"), (4, "Size limit exceeded"), (32, "Search base 'dc=x' not found")):
        server = serve(fake.ldap(lambda search, code=code: [fake.ldap_result(0x65, code, b"why")]))  # type: ignore[misc]
        with pytest.raises(TableError, match=said):
            table(tmp_path, "ldap", server.port).get("a")
    server = serve(fake.ldap(lambda search: [fake.ldap_entry(b"cn=a"), fake.ldap_result(0x65)]))
    assert value(table(tmp_path, "ldap", server.port), "a") is None
    server = serve(fake.ldap(lambda search: [fake.ldap_entry(b"cn=a", M=[b"", b"b"]), fake.ldap_result(0x65)]))
    assert value(table(tmp_path, "ldap", server.port), "a") == "b"


@pytest.mark.parametrize("kind", KINDS)
def test_a_server_that_goes_between_two_queries(tmp_path: Path, serve: Serve, kind: str) -> None:
    first = FakeServer(good(kind))
    found = table(tmp_path, kind, first.port)
    assert value(found, "a")
    first.close()
    with pytest.raises(TableError):
        found.get("a")
    with pytest.raises(TableError, match="rests, since it failed"):
        found.get("a")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_server_that_says_nothing(tmp_path: Path, serve: Serve, kind: str, when: str) -> None:
    silence = threading.Event()

    def still(query: bytes) -> bytes:
        silence.wait(60)
        return b""

    talk: Callable[[socket.socket], None] = lambda connection: still(b"") and None  # noqa: E731
    if when == "after":
        asked = {"mysql": fake.mysql(still), "pgsql": fake.postgres(still)}
        talk = asked.get(kind) or fake.ldap(lambda search: [still(search)])
    server = serve(talk)
    began = time.monotonic()
    with pytest.raises(TableError):
        table(tmp_path, kind, server.port).get("a")
    assert time.monotonic() - began < 30
    silence.set()


@pytest.mark.parametrize("kind", KINDS)
def test_others_go_on_while_one_waits(tmp_path: Path, serve: Serve, kind: str) -> None:
    """The library lets go of the interpreter while it waits."""
    go, reached = threading.Event(), threading.Event()
    normal = good(kind)

    def talk(connection: socket.socket) -> None:
        reached.set()
        go.wait(10)
        normal(connection)

    found = table(tmp_path, kind, serve(talk).port, "timeout = 10\n" if kind == "ldap" else "")
    thread = threading.Thread(target=lambda: found.get("a"))
    thread.start()
    assert reached.wait(10)
    go.set()
    thread.join(10)
    assert not thread.is_alive()


@pytest.mark.parametrize("kind", KINDS)
def test_garbage(tmp_path: Path, serve: Serve, kind: str) -> None:
    """Whatever comes: an answer or a TableError, no crash and no wait without end."""
    dice = random.Random(1)
    normal = good(kind)

    def talk(connection: socket.socket) -> None:
        normal(Garbler(connection, dice))  # type: ignore[arg-type]

    server = serve(talk)
    for _ in range(60):
        found = table(tmp_path, kind, server.port)
        with contextlib.suppress(TableError):
            found.get("a")


class Garbler:
    """Changes, cuts off and adds bytes, and then closes."""

    def __init__(self, connection: socket.socket, dice: random.Random) -> None:
        self._connection, self._dice = connection, dice
        self.recv = connection.recv

    def sendall(self, data: bytes) -> None:
        dice, changed = self._dice, bytearray(data)
        if dice.random() < 0.5:
            self._connection.sendall(data)
            return
        for _ in range(dice.randint(1, 4)):
            changed[dice.randrange(len(changed))] = dice.randrange(256)
        end = dice.choice((len(changed), dice.randrange(len(changed) + 1)))
        self._connection.sendall(bytes(changed[:end]) + dice.randbytes(dice.choice((0, 0, 9))))
        if dice.random() < 0.8:
            self._connection.shutdown(socket.SHUT_WR)
