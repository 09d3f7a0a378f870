"""tcp: and socketmap: against little servers on loopback, the bad ones among them."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.ports import free_port
from tests.tableservers import TableServer, line, netstring, socketmap

from postwarden.config.errors import ConfigError
from postwarden.mail.decision import Origin
from postwarden.tables.opening import Tables, open_table
from postwarden.tables.remote import peer
from postwarden.tables.remote.peer import Endpoint, Peer, PeerError
from postwarden.tables.table import Table, TableError
from postwarden.testing.config import settings
from postwarden.wire.lookups import TcpReader, tcp_request

HERE = Origin("main.cf", 3, "")


def value(table: Table, key: str) -> str | None:
    found = table.get(key)
    return None if found is None else found.value


def echo(data: bytes) -> bytes:
    key = data[4:].strip()
    return b"500 none\n" if key.startswith(b"no") else b"200 " + key + b"\n"


def test_tcp_answers() -> None:
    with TableServer(line(echo)) as server:
        table = open_table(f"tcp:127.0.0.1:{server.port}", "/")
        assert [value(table, key) for key in ("A b", "no", "x")] == ["A b", None, "x"]
        assert server.questions[0] == b"get A%20b\n"
        assert server.connections == 1
        assert not table.fixed
        assert not table.stale()
        table.reload()
        assert value(table, "again") == "again"


def test_socketmap_answers(tmp_path: Path) -> None:
    def reply(question: bytes) -> bytes:
        name, _, key = question.partition(b" ")
        return b"NOTFOUND " if key.startswith(b"no") else b"OK " + name + b"=" + key

    with TableServer(socketmap(reply), tmp_path / "sock") as server:
        table = open_table(f"socketmap:unix:{tmp_path}/sock:m", "/")
        assert [value(table, key) for key in ("A b", "no", "x")] == ["m=A b", None, "m=x"]
        assert server.connections == 1
    with TableServer(socketmap(b"OK x")) as server:
        assert value(open_table(f"socketmap:inet:127.0.0.1:{server.port}:m", "/"), "k") == "x"


def test_a_relative_socket_is_one_of_the_queue_directory(tmp_path: Path) -> None:
    tables = Tables.of(settings(queue_directory=str(tmp_path)))
    with TableServer(socketmap(b"OK x"), tmp_path / "srs"):
        assert value(tables.table("socketmap:unix:srs:forward"), "k") == "x"


def test_a_server_that_hangs_up_after_each_reply() -> None:
    with TableServer(line(echo), hang_up=True) as server:
        table = open_table(f"tcp:127.0.0.1:{server.port}", "/")
        assert [value(table, key) for key in ("a", "b", "c")] == ["a", "b", "c"]
        assert server.connections == 3


def test_what_was_not_asked_for_answers_no_later_question() -> None:
    with TableServer(line(lambda data: echo(data) + b"200 evil\n")) as server:
        table = open_table(f"tcp:127.0.0.1:{server.port}", "/")
        assert [value(table, key) for key in ("a", "b", "no")] == ["a", "b", None]


@pytest.mark.parametrize(
    ("reply", "text"),
    [(b"400 not now\n", "not now"), (b"junk\n", "malformed reply: junk"), (b"", "unexpected disconnect")],
)
def test_a_bad_reply_is_a_temporary_error(reply: bytes, text: str) -> None:
    with TableServer(line(reply)) as server:
        with pytest.raises(TableError, match=text):
            open_table(f"tcp:127.0.0.1:{server.port}", "/").get("a")
        assert server.connections == 1


def test_a_server_that_does_not_answer() -> None:
    with TableServer(lambda data: None) as server:
        quick = Peer(Endpoint("it", "127.0.0.1", str(server.port)), 0.05)
        with pytest.raises(PeerError, match=r"no answer in 0\.05 seconds"):
            quick.ask(tcp_request("a"), TcpReader)


def test_one_that_trickles_has_no_more_time() -> None:
    def trickle(data: bytes) -> bytes:
        return b"2"

    with TableServer(trickle) as server:
        quick = Peer(Endpoint("it", "127.0.0.1", str(server.port)), 0.2)
        began = time.monotonic()
        with pytest.raises(PeerError, match="no answer"):
            quick.ask(tcp_request("a"), TcpReader)
        assert time.monotonic() - began < 60


def test_down_and_up_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer, "REST_SECONDS", 0.0)
    server = TableServer(line(echo))
    table = open_table(f"tcp:127.0.0.1:{server.port}", "/")
    assert value(table, "a") == "a"
    server.stop()
    for _ in range(2):
        with pytest.raises(TableError, match="onnect"):
            table.get("a")
    server.start()
    assert value(table, "b") == "b"
    server.stop()


def test_a_server_that_rests_is_not_tried(tmp_path: Path) -> None:
    table = open_table(f"socketmap:unix:{tmp_path}/sock:m", "/")
    with pytest.raises(TableError, match="No such file"):
        table.get("a")
    with TableServer(socketmap(b"OK x"), tmp_path / "sock") as server:
        with pytest.raises(TableError, match="No such file"):
            table.get("a")
        assert server.connections == 0


def test_several_threads_have_a_connection_each() -> None:
    together = threading.Barrier(4, timeout=60)

    def slowly(data: bytes) -> bytes:
        together.wait()
        return echo(data)

    with TableServer(line(slowly)) as server:
        table = open_table(f"tcp:127.0.0.1:{server.port}", "/")
        heard: dict[str, str | None] = {}
        threads = [threading.Thread(target=lambda k=k: heard.update({k: value(table, k)})) for k in "abcd"]  # type: ignore[misc]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert heard == {key: key for key in "abcd"}
        assert server.connections == 4


def test_connections_that_nobody_needs_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    with TableServer(line(echo)) as server:
        table = open_table(f"tcp:127.0.0.1:{server.port}", "/")
        value(table, "a")
        monkeypatch.setattr(peer, "IDLE_SECONDS", -1.0)
        assert not table.stale()
        value(table, "a")
        assert server.connections == 2


@pytest.mark.parametrize(
    "name",
    ["tcp:localhost", "tcp:localhost:", "tcp:127.0.0.1:99999", "socketmap:x", "socketmap:unix:/x",
     "socketmap:inet:host:m", "socketmap:127.0.0.1:1:m", "socketmap:foo:x:n"],
)  # fmt: skip
def test_a_server_that_can_not_be(name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        open_table(name, "/", HERE)
    assert caught.value.origin == HERE


@pytest.mark.parametrize("name", ["tcp:127.0.0.1:1", "socketmap:unix:/x:m", "memcache:/x", "proxy:tcp:127.0.0.1:1"])
def test_what_says_whose_rights_hold_is_not_asked_of_anybody(name: str) -> None:
    table = open_table(name, "/", HERE, sensitive=True)
    with pytest.raises(TableError, match="not allowed for security sensitive data"):
        table.get("root")


def test_names_and_services_by_name(tmp_path: Path) -> None:
    with TableServer(line(echo)) as server:
        assert value(open_table(f"tcp:localhost:{server.port}", "/"), "a") == "a"
        assert value(open_table(f"tcp:[127.0.0.1]:{server.port}", "/"), "a") == "a"
    with pytest.raises(TableError, match=r"connect to no host\.invalid"):
        open_table("tcp:no host.invalid:25", "/").get("a")
    with pytest.raises(TableError):
        open_table("tcp:127.0.0.1:nosuchservice", "/").get("a")
    with pytest.raises(TableError):
        open_table("tcp:" + "x" * 70 + ".example:25", "/").get("a")


def test_proxy_is_for_approved_tables() -> None:
    tables = Tables.of(
        settings(proxy_read_maps="proxy:inline:{a=1}, $virtual_alias_maps", virtual_alias_maps="proxy:inline:{b=2}")
    )
    assert value(tables.table("proxy:inline:{a=1}"), "a") == "1"
    assert value(tables.table("proxy:inline:{b=2}"), "b") == "2"
    other = tables.table("proxy:inline:{c=3}")
    with pytest.raises(TableError, match=r'proxymap service is not configured for table "inline:\{c=3\}"'):
        other.get("c")
    assert value(tables.table("proxy:inline:{c=3}", sensitive=True), "c") == "3"


def test_what_parameters_name_is_approved() -> None:
    tables = Tables.of(settings(relay_domains="proxy:inline:{relay.example=x}"))
    assert value(tables.table("proxy:inline:{relay.example=x}"), "relay.example") == "x"


def test_a_frame_in_pieces() -> None:
    reply = netstring(b"OK " + b"x" * 50_000)
    with TableServer(lambda data: reply if data.endswith(b",") else None) as server:
        found = value(open_table(f"socketmap:inet:127.0.0.1:{server.port}:m", "/"), "k")
        assert found == "x" * 50_000


def test_nobody_listens() -> None:
    def ask(text: str) -> Callable[[], object]:
        return lambda: open_table(text, "/").get("a")

    for text in (f"tcp:127.0.0.1:{free_port()}", f"socketmap:inet:127.0.0.1:{free_port()}:m"):
        with pytest.raises(TableError, match="Connection refused"):
            ask(text)()
