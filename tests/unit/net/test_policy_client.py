from collections.abc import Callable

import pytest

from postwarden.net.policy_client import Endpoint, Limits, PolicyServer, PolicyServers, port_number
from postwarden.net.stream import Handler
from postwarden.testing.clock import VirtualClock
from postwarden.testing.remote import MemoryDial
from postwarden.testing.resolver import FakeResolver
from postwarden.testing.stream import Answering

Answer = Callable[[bytes], bytes | None]


class Far(Answering):
    """A policy server's end of one connection. `answer` gives bytes, or None: hang up."""

    def __init__(self, answer: Answer, requests: list[bytes]) -> None:
        self._answer = answer
        self._requests = requests
        self._data = b""

    def received(self, data: bytes) -> None:
        self._data += data
        while b"\n\n" in self._data:
            request, _, self._data = self._data.partition(b"\n\n")
            self._requests.append(request)
            reply = self._answer(request)
            if reply is None:
                self.stream.close()
            else:
                self.stream.write(reply)


class Place:
    """One client, and the server that it asks."""

    def __init__(
        self, answer: Answer | OSError | None = None, limits: Limits | None = None, host: str = "192.0.2.7"
    ) -> None:
        self.clock = VirtualClock()
        self.requests: list[bytes] = []
        self.ends: list[Far] = []
        self.warnings: list[str] = []
        self.heard: list[str | None] = []
        self.answer = answer
        self.dial = MemoryDial(self.clock, {("192.0.2.7", 9): self._accept if callable(answer) else answer})
        resolver = FakeResolver("policy.example A 192.0.2.8\npolicy.example A 192.0.2.7", self.clock)
        servers = PolicyServers(self.dial, resolver, self.clock, self.warnings.append)
        self.client: PolicyServer = servers.server(Endpoint("there", host, 9), limits or Limits())

    def _accept(self) -> Handler:
        assert callable(self.answer)
        self.ends.append(Far(self.answer, self.requests))
        return self.ends[-1]

    def ask(self, text: bytes = b"x=y", instance: str = "1") -> list[str | None]:
        self.client.ask(text + b"\n\n", instance, self.heard.append)
        self.clock.run()
        return self.heard


def ok(request: bytes) -> bytes:
    return b"action=OK\n\n"


def test_a_connection_is_kept() -> None:
    place = Place(ok)
    place.ask()
    assert place.ask(b"z=") == ["OK", "OK"]
    assert place.requests == [b"x=y", b"z="] and len(place.ends) == 1 and place.warnings == []


def test_requests_at_once_have_connections_of_their_own() -> None:
    place = Place(ok)
    for _ in range(3):
        place.client.ask(b"x=y\n\n", "1", place.heard.append)
    place.clock.run()
    assert place.heard == ["OK"] * 3 and len(place.ends) == 3
    place.ask()
    assert len(place.ends) == 3


def test_a_message_stays_on_its_connection() -> None:
    place = Place(ok)
    for instance in ("1", "2", "3"):
        place.client.ask(instance.encode() + b"\n\n", instance, place.heard.append)
    place.clock.run()
    streams = [end.stream for end in place.ends]
    for instance in ("2", "1", "3", "2"):
        place.ask(b"again", instance)
    assert len(place.ends) == 3
    assert [len(stream.written) for stream in streams] == [22, 33, 22]  # type: ignore[attr-defined]


def test_nobody_listens() -> None:
    place = Place(ConnectionRefusedError(111, ""))
    assert place.ask() == []
    place.clock.advance(1)
    assert place.heard == [None]
    assert (
        place.warnings
        == ["connect to there: Connection refused", "problem talking to server there: Connection refused"] * 2
    )


def test_nobody_answers_the_connection() -> None:
    place = Place(None, Limits(timeout=5, try_limit=1))
    place.ask()
    place.clock.advance(5)
    assert place.heard == [None] and "timed out" in place.warnings[-1]


def test_a_server_that_says_nothing() -> None:
    place = Place(lambda request: b"", Limits(timeout=5))
    place.ask()
    place.clock.advance(4.9)
    assert place.heard == []
    place.clock.advance(20)
    assert place.heard == [None] and len(place.requests) == 2
    assert place.warnings == ["problem talking to server there: Connection timed out"] * 2


def test_a_server_that_hangs_up_at_once() -> None:
    place = Place(lambda request: None)
    place.ask()
    place.clock.advance(1)
    assert place.heard == [None] and place.warnings == ["problem talking to server there: connection lost"]


def test_a_server_that_tired_of_waiting_is_asked_anew_without_delay() -> None:
    place = Place(ok)
    place.ask()
    place.ends[0]._answer = lambda request: None
    assert place.ask() == ["OK", "OK"] and place.warnings == [] and len(place.ends) == 2


def test_a_server_that_closes_after_each_reply() -> None:
    place = Place(ok)
    place.ask()
    place.ends[0].stream.close()
    place.clock.run()
    assert place.ask() == ["OK", "OK"] and place.warnings == []


@pytest.mark.parametrize(
    "noise", [b"hello\n\n", b"\n\n", b"action=\xff\n\n", b"action=OK\n\naction=OK\n\n", b"x" * 20000]
)
def test_nonsense_is_no_answer(noise: bytes) -> None:
    place = Place(lambda request: noise, Limits(try_limit=3))
    place.ask()
    place.clock.advance(2)
    assert place.heard == [None] and len(place.warnings) == 3


def test_data_that_nobody_asked_for_ends_the_connection() -> None:
    place = Place(ok)
    place.ask()
    place.ends[0].stream.write(b"action=OK\n\n")
    place.clock.run()
    assert place.ask() == ["OK", "OK"] and len(place.ends) == 2


@pytest.mark.parametrize("limits", [Limits(request_limit=1), Limits(max_idle=10), Limits(max_ttl=10)])
def test_a_connection_has_an_end(limits: Limits) -> None:
    place = Place(ok, limits)
    place.ask()
    place.clock.advance(11)
    place.ask()
    assert place.heard == ["OK", "OK"] and len(place.ends) == 2


def test_who_finds_all_connections_taken_waits() -> None:
    place = Place(lambda request: b"", Limits(timeout=5, try_limit=1))
    for _ in range(101):
        place.client.ask(b"x=y\n\n", "1", place.heard.append)
    place.clock.run()
    assert len(place.requests) == 100
    place.ends[0].stream.write(b"action=OK\n\n")
    place.clock.run()
    assert place.heard == ["OK"] and len(place.requests) == 101
    place.clock.advance(20)
    assert place.heard == ["OK"] + [None] * 100


def test_nobody_waits_for_ever_for_a_connection() -> None:
    place = Place(None, Limits(timeout=5, try_limit=2, retry_delay=60))
    for _ in range(250):
        place.client.ask(b"x=y\n\n", "1", place.heard.append)
    place.clock.advance(200)
    assert place.heard == [None] * 250


def test_a_host_by_name_has_more_than_one_address() -> None:
    place = Place(ok, host="policy.example")
    assert place.ask() == ["OK"]
    assert [host.address for host in place.dial.dialled] == ["192.0.2.8", "192.0.2.7"]
    place = Place(ok, Limits(try_limit=1), host="nobody.example")
    assert place.ask() == [None] and "connect to there: host not found" in place.warnings


def test_ports() -> None:
    assert port_number("10023") == 10023 and port_number("smtp") == 25
    for text in ("0", "65536", "x y", "-1", "no-such-service"):
        with pytest.raises(ValueError, match="no port"):
            port_number(text)
