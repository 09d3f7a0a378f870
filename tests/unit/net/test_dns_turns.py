"""Questions to name servers take turns by zone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postwarden.net.dns_turns import MAX_OPEN, MAX_WAITING, Turns, zone
from postwarden.net.resolv_conf import ResolverConfig, Server
from postwarden.net.resolver import StubResolver
from postwarden.testing.clock import VirtualClock
from postwarden.testing.dns_server import limited
from postwarden.testing.resolver import Zone
from postwarden.wire.dns import Kind, decode
from postwarden.wire.dns_answer import Answer, Outcome


@pytest.mark.parametrize(
    ("name", "of"),
    [
        ("mx1.Mail.Example.com.", "example.com"),
        ("example.com", "example.com"),
        ("com", "com"),
        ("", ""),
        ("mail.example.co.uk", "example.co.uk"),
        ("a.b.x.de", "b.x.de"),
        ("10.2.0.192.in-addr.arpa", "0.192.in-addr.arpa"),
        ("1." + "0." * 23 + "8.b.d.0.1.0.0.2.ip6.arpa", "8.b.d.0.1.0.0.2.ip6.arpa"),
    ],
)
def test_zones(name: str, of: str) -> None:
    assert zone(name) == of


def test_a_zone_leaves_room_for_the_others() -> None:
    turns: Turns[str] = Turns()
    assert sum(turns.begin(f"h{n}.slow.example", "slow") for n in range(1000)) == MAX_OPEN // 2
    assert sum(turns.begin(f"h{n}.also.example", "also") for n in range(1000)) == MAX_OPEN // 4
    assert all(turns.begin(f"www.good{n}.example", "good") for n in range(30))


def test_zones_that_wait_take_turns() -> None:
    turns: Turns[str] = Turns()
    names = [f"h{n}.z{n}.example" for n in range(MAX_OPEN)]
    assert all(turns.begin(name, name) for name in names)
    for n in range(50):
        assert not turns.begin(f"a{n}.slow.example", f"a{n}.slow.example")
    assert not turns.begin("www.good.example", "www.good.example")
    for name in names[:2]:
        turns.end(name)
    assert [turns.next(), turns.next(), turns.next()] == ["a0.slow.example", "www.good.example", None]


def test_what_waits_is_bounded_for_a_zone_and_for_all() -> None:
    turns: Turns[int] = Turns()
    for n in range(MAX_WAITING * 2):
        if not turns.full("x.slow.example"):
            turns.begin("x.slow.example", n)
    assert turns.full("y.slow.example")
    assert not turns.full("www.good.example")
    for n in range(MAX_WAITING * 2):
        if not turns.full(f"www.z{n}.example"):
            turns.begin(f"www.z{n}.example", n)
    assert turns.full("www.new.example")


@given(st.lists(st.tuples(st.sampled_from(["a", "b", "c"]), st.booleans()), max_size=2000))
def test_each_that_began_is_asked_once_in_the_order_of_its_zone(steps: list[tuple[str, bool]]) -> None:
    turns: Turns[tuple[str, int]] = Turns()
    open_: list[tuple[str, int]] = []
    asked: dict[str, list[int]] = {"a": [], "b": [], "c": []}

    def grant(question: tuple[str, int]) -> None:
        open_.append(question)
        asked[question[0]].append(question[1])

    def finish() -> None:
        turns.end(f"x.{open_.pop(0)[0]}.example")
        while (question := turns.next()) is not None:
            grant(question)

    for number, (name, ends) in enumerate(steps):
        if turns.begin(f"x.{name}.example", (name, number)):
            grant((name, number))
        if ends and open_:
            finish()
    while open_:
        finish()
    assert sum(map(len, asked.values())) == len(steps)
    assert all(numbers == sorted(numbers) for numbers in asked.values())


class Packet:
    def close(self) -> None:
        return


class HalfDead:
    """The servers of one zone are silent."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self._zone = Zone("*.good.example A 192.0.2.1")

    def datagram(self, server: Server, packet: bytes, received: object) -> Packet:
        query = decode(packet)
        if not query.name.endswith("slow.example"):
            reply = self._zone.reply(query)
            assert reply is not None and callable(received)
            self._clock.call_later(0.01, lambda: received(limited(reply, query, "udp")))
        return Packet()

    stream = datagram


def test_a_zone_with_dead_servers_does_not_keep_others_waiting() -> None:
    clock = VirtualClock()
    resolver = StubResolver(lambda: ResolverConfig((("192.0.2.53", 53),)), HalfDead(clock), clock)
    answers: list[Answer] = []
    for n in range(3000):
        resolver.lookup(f"h{n}.slow.example", Kind.A, lambda _: None)
    for n in range(500):
        resolver.lookup(f"h{n}.good.example", Kind.A, answers.append)
    clock.advance(1)
    assert [answer.outcome for answer in answers] == [Outcome.FOUND] * 500
