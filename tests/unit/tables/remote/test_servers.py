import threading
from collections import deque

import pytest

from postwarden.tables.remote.servers import (
    IDLE_SECONDS,
    PAUSE_SECONDS,
    RETRY_SECONDS,
    Host,
    ServerError,
    Servers,
    Unreachable,
)
from postwarden.tables.table import TableError


class Link:
    def __init__(self, host: Host) -> None:
        self.host = host
        self.open = True
        self.dead = False

    def close(self) -> None:
        assert self.open
        self.open = False


class World:
    """Servers that are up or down, and a clock."""

    def __init__(self, *hosts: Host, ordered: bool = False) -> None:
        self.time = 1000.0
        self.down: set[str] = set()
        self.links: list[Link] = []
        self.attempts: list[str] = []
        self.servers: Servers[Link] = Servers(hosts, self.connect, now=lambda: self.time, ordered=ordered)

    def connect(self, host: Host) -> Link:
        self.attempts.append(host.name)
        if host.name in self.down:
            raise ServerError("refused")
        self.links.append(Link(host))
        return self.links[-1]

    def ask(self) -> str:
        return self.servers.ask(self.name_of)

    def name_of(self, link: Link) -> str:
        assert link.open
        if link.dead or link.host.name in self.down:
            raise ServerError("gone")
        return link.host.name

    @property
    def open(self) -> int:
        return sum(link.open for link in self.links)


A, B = Host("a", "a"), Host("b", "b")


def test_a_connection_is_kept_and_closed_after_a_while() -> None:
    world = World(A)
    assert [world.ask() for _ in range(3)] == ["a"] * 3
    assert world.attempts == ["a"]
    world.time += IDLE_SECONDS - 1
    world.servers.sweep()
    assert world.open == 1
    world.time += 1
    world.servers.sweep()
    assert world.open == 0
    assert world.ask() == "a"
    assert len(world.attempts) == 2


def test_another_one_answers_and_the_failed_one_rests() -> None:
    world = World(A, B, ordered=True)
    world.down = {"a"}
    assert world.ask() == "b"
    assert world.attempts == ["a", "b"]
    world.time += RETRY_SECONDS - 1
    world.servers.sweep()
    assert world.ask() == "b"
    assert "a" not in world.attempts[2:]
    world.down = set()
    world.time += IDLE_SECONDS
    assert world.ask() == "a"


def test_unix_sockets_before_all_others() -> None:
    local = Host("unix:/s", "/s", local=True)
    for _ in range(20):
        assert World(A, B, local).ask() == "unix:/s"
    assert {World(A, B).ask() for _ in range(60)} == {"a", "b"}


def test_all_are_down_and_one_recovers() -> None:
    world = World(A, B)
    world.down = {"a", "b"}
    with pytest.raises(Unreachable, match=r"refused.*refused"):
        world.ask()
    assert sorted(world.attempts) == ["a", "b"]
    with pytest.raises(Unreachable, match="rests, since it failed: refused"):
        world.ask()
    assert len(world.attempts) == 2, "nobody is asked again at once"
    world.down = set()
    world.time += PAUSE_SECONDS
    assert world.ask() in ("a", "b")


def test_a_dead_connection_that_was_kept_is_nobodys_failure() -> None:
    world = World(A)
    world.ask()
    world.links[0].dead = True
    assert world.ask() == "a"
    assert len(world.attempts) == 2
    assert world.open == 1


def test_an_error_of_a_new_connection_is_told_and_the_server_does_not_rest() -> None:
    world = World(A)

    def wrong(link: Link) -> str:
        raise ServerError("syntax")

    with pytest.raises(Unreachable, match="a: syntax"):
        world.servers.ask(wrong)
    assert world.open == 0
    assert world.ask() == "a"


def test_who_was_late_rests_and_is_not_asked_twice() -> None:
    world = World(A, B, ordered=True)
    world.ask()
    asked: list[str] = []

    def late(link: Link) -> str:
        asked.append(link.host.name)
        if link.host.name == "a":
            raise ServerError("late", late=True)
        return "b"

    assert world.servers.ask(late) == "b"
    assert asked == ["a", "b"]
    assert world.attempts == ["a", "b"]


def test_an_answer_of_no_use_keeps_the_connection() -> None:
    world = World(A)

    def too_much(link: Link) -> str:
        raise TableError("t", "too much")

    for _ in range(2):
        with pytest.raises(TableError):
            world.servers.ask(too_much)
    assert world.attempts == ["a"]


def test_a_bug_closes_the_connection() -> None:
    world = World(A)
    with pytest.raises(ZeroDivisionError):
        world.servers.ask(lambda link: str(1 // 0))
    assert world.open == 0


def test_closing_waits_for_what_is_under_way() -> None:
    world = World(A)

    def closes(link: Link) -> str:
        world.servers.close()
        assert link.open
        return "x"

    world.ask()
    assert world.servers.ask(closes) == "x"
    assert world.open == 0


def test_nothing_of_another_process_is_used_or_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(A)
    world.ask()
    monkeypatch.setattr("os.getpid", lambda: -1)
    assert world.ask() == "a"
    assert len(world.attempts) == 2
    assert world.open == 2


def test_no_hosts() -> None:
    with pytest.raises(Unreachable, match="no servers"):
        World().ask()


def test_one_thread_probes_and_the_others_do_not_wait() -> None:
    world = World(A)
    world.down = {"a"}
    with pytest.raises(Unreachable):
        world.ask()
    world.time += PAUSE_SECONDS
    world.down = set()
    connecting, go = threading.Event(), threading.Event()
    results: deque[str] = deque()
    connect = world.servers._connect

    def slowly(host: Host) -> Link:
        connecting.set()
        assert go.wait(60)
        return connect(host)

    world.servers._connect = slowly
    thread = threading.Thread(target=lambda: results.append(world.ask()))
    thread.start()
    assert connecting.wait(60)
    with pytest.raises(Unreachable, match="rests"):
        world.ask()
    go.set()
    thread.join(60)
    assert list(results) == ["a"]


def test_at_most_as_many_connections_as_are_in_use_at_once() -> None:
    world = World(A)
    inside = threading.Barrier(4)

    def together(link: Link) -> str:
        inside.wait(60)
        return "x"

    for _ in range(3):
        threads = [threading.Thread(target=lambda: world.servers.ask(together)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert len(world.links) == 4
    assert world.open == 4
