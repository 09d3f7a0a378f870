"""A gateway that asks MariaDB, PostgreSQL and OpenLDAP, each of which goes and comes."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.databases import MariaDb, Postgres, Server, Slapd, needs
from tests.directory import ENTRIES, SCHEMA, SETTINGS
from tests.passable import passable
from tests.talk import answer, begun, send
from tests.whole import Gateway, Sink, running, until

pytestmark = [pytest.mark.long, needs("mariadb-server"), needs("postgresql"), needs("slapd")]


class World:
    """Recipients are judged by PostgreSQL, virtual aliases are MariaDB's, local ones those of the directory."""

    def __init__(self, base: Path, sink: Sink) -> None:
        self.base = base
        self.maria, self.postgres = MariaDb(base / "my"), Postgres(base / "pg")
        self.slapd = Slapd(base / "ldap", SCHEMA, ENTRIES, SETTINGS)
        self.servers: list[Server] = [self.maria, self.postgres, self.slapd]
        for server in self.servers:
            server.start()
        self.maria.execute(
            "create database mail; create table mail.a(k varchar(99), v varchar(99)); "
            "insert into mail.a values ('list@sink.example', 'one@sink.example');"
            "insert into mail.a values ('list@sink.example', 'two@sink.example');"
            "create user pw@'127.0.0.1' identified by 'secret'; grant select on mail.a to pw@'127.0.0.1';"
        )
        self.postgres.execute("create user pw password 'secret'")
        self.postgres.execute(
            "create table a(k text, v text); grant select on a to pw; "
            "insert into a values('bad@sink.example', 'REJECT says the data base')"
        )
        account = "user = pw\npassword = secret\nquery = select v from a where k = '%s'\n"
        mysql = self.secret("mysql.cf", f"hosts = 127.0.0.1:{self.maria.port}\ndbname = mail\n{account}")
        pgsql = self.secret("pgsql.cf", f"hosts = 127.0.0.1:{self.postgres.port}\ndbname = postgres\n{account}")
        ldap = self.secret(
            "ldap.cf",
            f"server_host = 127.0.0.1:{self.slapd.port}\nsearch_base = dc=test\nresult_format = one@sink.example\n"
            "query_filter = mailacceptinggeneralid=%s\n",
        )
        (base / "us").mkdir()
        self.gateway = Gateway(
            base / "us",
            sink.port,
            smtpd_recipient_restrictions=f"check_recipient_access proxy:pgsql:{pgsql}",
            virtual_alias_maps=f"proxy:mysql:{mysql}",
            alias_maps=f"ldap:{ldap}",
            minimal_backoff_time="1s",
            maximal_backoff_time="2s",
            queue_run_delay="1s",
        )

    def secret(self, name: str, text: str) -> Path:
        """With a password: only root may read it."""
        file = self.base / name
        file.write_text(text)
        file.chmod(0o600)
        return file

    def rcpt(self, recipient: str) -> str:
        return answer(self.gateway.port, recipient)

    def send(self, recipient: str) -> str:
        return send(self.gateway.port, recipient, recipient)


@pytest.fixture(scope="module")
def sink() -> Iterator[Sink]:
    made = Sink()
    yield made
    made.close()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, sink: Sink) -> Iterator[World]:
    base = tmp_path_factory.mktemp("w")
    passable(base)
    made = World(base, sink)
    try:
        with running(made.gateway):
            yield made
    finally:
        for server in made.servers:
            server.stop()


def arrived(sink: Sink, subject: str) -> list[str]:
    """Who got it."""
    wanted = f"Subject: {subject}\r\n".encode()
    return sorted(name for _, names, content in sink.messages if wanted in content for name in names)


def test_each_answers(world: World, sink: Sink) -> None:
    assert "says the data base" in world.rcpt("bad@sink.example")
    assert world.send("list@sink.example").startswith("250")
    until(lambda: arrived(sink, "list@sink.example") == ["one@sink.example", "two@sink.example"])
    assert world.send("ann@mx.example.com").startswith("250")
    until(lambda: set(arrived(sink, "ann@mx.example.com")) == {"one@sink.example"})


@pytest.mark.parametrize("name", ["maria", "postgres", "slapd"])
def test_one_is_away_and_comes_back(world: World, sink: Sink, name: str) -> None:
    server: Server = getattr(world, name)
    recipient = "ann@mx.example.com" if name == "slapd" else "list@sink.example"
    kind = {"maria": "mysql", "postgres": "pgsql", "slapd": "ldap"}[name]
    warning = f"warning: {kind}:{world.base}/{kind}.cf: "
    server.stop()
    until(lambda: world.send(recipient).startswith("451 4.3.") and warning in world.gateway.log())
    server.start()
    until(lambda: world.send(recipient).startswith("250"))
    log = world.gateway.log()
    assert "internal error" not in log
    assert "secret" not in log


def test_one_hangs_and_others_hear_at_once(world: World) -> None:
    world.postgres.freeze()
    try:
        slow = begun(world.gateway.port)
        slow.write("RCPT TO:<nobody-asked@sink.example>")
        other = begun(world.gateway.port)
        for _ in range(50):
            assert other.say("NOOP").startswith("250")
        assert slow.reply().startswith("451 4.3.")
        other.close()
        slow.close()
    finally:
        world.postgres.thaw()
    until(lambda: "says the data base" in world.rcpt("bad@sink.example"))
