"""A gateway whose tables are asked of a server: one that takes its time, one that is down and comes back."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.passable import passable
from tests.tableservers import Memcached, TableServer, socketmap
from tests.talk import Session as Talk
from tests.whole import Gateway, Sink, running, until

pytestmark = pytest.mark.slow

OPEN: list["Session"] = []


class Session(Talk):
    """Closed at the end of its test."""

    def __init__(self, port: int) -> None:
        super().__init__(port)
        OPEN.append(self)


class Directory:
    """Socketmaps of several names. What is `slow` the access map finds when it may."""

    def __init__(self, **values: str) -> None:
        """`name_key=value`, the domain of a key left out."""
        self.values = {name.replace("_", " ", 1) + "@sink.example": value for name, value in values.items()}
        self.began: list[str] = []
        self.go = threading.Event()

    def __call__(self, question: bytes) -> bytes:
        text = question.decode()
        if text.startswith("access slow"):
            self.began.append(text)
            self.go.wait(90)
        value = self.values.get(text)
        return b"NOTFOUND " if value is None else b"OK " + value.encode()


@pytest.fixture(scope="module")
def directory() -> Directory:
    return Directory(alias_other="target@sink.example", access_bad="REJECT by table")


@pytest.fixture(scope="module")
def server(directory: Directory) -> Iterator[TableServer]:
    with TableServer(socketmap(directory)) as made:
        yield made


@pytest.fixture(scope="module")
def routes() -> Iterator[TableServer]:
    with TableServer(socketmap(b"NOTFOUND ")) as made:
        yield made


@pytest.fixture(scope="module")
def sink() -> Iterator[Sink]:
    made = Sink()
    yield made
    made.close()


@pytest.fixture(scope="module")
def gateway(
    tmp_path_factory: pytest.TempPathFactory, server: TableServer, routes: TableServer, sink: Sink
) -> Iterator[Gateway]:
    base = tmp_path_factory.mktemp("slow")
    passable(base)
    table = f"socketmap:inet:127.0.0.1:{server.port}"
    settings = {
        "mynetworks": "192.0.2.0/24",
        "relay_domains": f"sink.example, {table}:relay",
        "smtpd_recipient_restrictions": f"check_recipient_access {table}:access",
        "virtual_alias_maps": f"{table}:alias",
        "virtual_alias_domains": "",
        "transport_maps": (
            f"socketmap:inet:127.0.0.1:{routes.port}:transport, inline:{{sink.example=smtp:[127.0.0.1]:{sink.port}}}"
        ),
        "smtpd_junk_command_limit": "10000",
        "minimal_backoff_time": "1s",
        "maximal_backoff_time": "2s",
        "queue_run_delay": "1s",
    }
    with running(Gateway(base, sink.port, **settings)) as made:
        yield made


@pytest.fixture(autouse=True)
def closing() -> Iterator[None]:
    yield
    while OPEN:
        OPEN.pop().close()


def begun(port: int) -> Session:
    session = Session(port)
    session.say("EHLO mail.example")
    session.say("MAIL FROM:<a@far.example>")
    return session


def send(port: int, *recipients: str) -> str:
    session = begun(port)
    for recipient in recipients:
        session.say(f"RCPT TO:<{recipient}>")
    session.say("DATA")
    return session.say("Subject: x\r\n\r\nbody\r\n.")


def test_others_hear_at_once_while_a_look_up_is_under_way(gateway: Gateway, directory: Directory) -> None:
    slow = [begun(gateway.port) for _ in range(8)]  # some with each receiver
    others = [begun(gateway.port) for _ in range(8)]
    for number, session in enumerate(slow):
        session.write(f"RCPT TO:<slow{number}@sink.example>")
    until(lambda: len(directory.began) >= len(slow))
    # None of them has an answer before all this was said.
    for number in range(100):
        assert others[number % len(others)].say("NOOP").startswith("250")
        begun(gateway.port).close()
    directory.go.set()
    for session in slow:
        assert session.reply().startswith("250")


def test_answers_reach_every_stage(gateway: Gateway, sink: Sink) -> None:
    assert "by table" in begun(gateway.port).say("RCPT TO:<bad@sink.example>")
    assert send(gateway.port, "other@sink.example").startswith("250")
    until(lambda: "to=<target@sink.example>, orig_to=<other@sink.example>" in gateway.log())
    until(lambda: "status=sent" in gateway.log())


def test_a_table_that_is_down_puts_mail_off_and_recovers(gateway: Gateway, server: TableServer) -> None:
    server.stop()
    until(lambda: begun(gateway.port).say("RCPT TO:<a@sink.example>").startswith("451 4.3."))
    session = begun(gateway.port)
    assert session.say("NOOP").startswith("250")
    server.start()
    until(lambda: send(gateway.port, "other@sink.example").startswith("250"))
    assert "internal error" not in gateway.log()


def test_mail_that_can_not_be_routed_waits(gateway: Gateway, routes: TableServer) -> None:
    session = begun(gateway.port)
    # The table that was down in another test rests for a second.
    until(lambda: session.say("RCPT TO:<waits@sink.example>").startswith("250"))
    session.say("DATA")
    routes.stop()
    assert session.say("Subject: x\r\n\r\nbody\r\n.").startswith("250")
    about = "to=<waits@sink.example>"
    until(lambda: any(about in line and "status=deferred" in line for line in gateway.log().splitlines()))
    routes.start()
    until(lambda: any(about in line and "status=sent" in line for line in gateway.log().splitlines()))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has files that others may not read")
def test_a_definition_that_only_root_may_read(tmp_path: Path, sink: Sink) -> None:
    passable(tmp_path)
    secret = tmp_path / "secret.cf"
    with TableServer(Memcached(**{"one:a@sink.example": "REJECT one", "two:a@sink.example": "REJECT two"})) as cache:

        def define(prefix: str) -> None:
            new = tmp_path / "new"
            new.write_text(f"memcache = inet:127.0.0.1:{cache.port}\nkey_format = {prefix}:%s\n")
            new.chmod(0o600)
            new.rename(secret)

        define("one")
        (tmp_path / "us").mkdir()
        settings = {"smtpd_recipient_restrictions": f"check_recipient_access memcache:{secret}"}
        with running(Gateway(tmp_path / "us", sink.port, **settings)) as made:
            assert "one" in begun(made.port).say("RCPT TO:<a@sink.example>")
            define("two")
            until(lambda: "two" in begun(made.port).say("RCPT TO:<a@sink.example>"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has files that others may not read")
def test_a_definition_that_a_reload_brings_is_handed_to_the_courier(tmp_path: Path, sink: Sink) -> None:
    passable(tmp_path)
    secret = tmp_path / "secret.cf"
    with TableServer(Memcached(**{"b@sink.example": "discard:by table"})) as cache:
        secret.write_text(f"memcache = inet:127.0.0.1:{cache.port}\n")
        secret.chmod(0o600)
        (tmp_path / "us").mkdir()
        with running(Gateway(tmp_path / "us", sink.port)) as made:
            made.write_main_cf(transport_maps=f"memcache:{secret}")
            made.command("reload")
            until(lambda: "reload" in made.log())
            until(lambda: send(made.port, "b@sink.example").startswith("250"))
            until(lambda: "to=<b@sink.example>" in made.log())
            assert "status=sent (by table)" in made.log(), made.log()
