"""The stub resolver in virtual time, against a network that is made of a zone and of mishaps."""

from collections.abc import Callable

import pytest
from msgspec import structs

from postwarden.net.dns_exchange import Received
from postwarden.net.resolv_conf import ResolverConfig, Server
from postwarden.net.resolver import StubResolver, _tell
from postwarden.testing.clock import VirtualClock
from postwarden.testing.dns_server import limited
from postwarden.testing.resolver import Zone
from postwarden.wire.dns import Kind, Message, Rcode, Record, decode, encode
from postwarden.wire.dns_answer import Answer, Outcome

ONE: Server = ("192.0.2.53", 53)
TWO: Server = ("192.0.2.54", 53)


class Sent:
    def __init__(self) -> None:
        self.closed = False

    def close(self) -> None:
        self.closed = True


class FakeNetwork:
    """Each server is a function from a query to the packets that come back; a missing server is silent."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self.servers: dict[Server, Callable[[str, bytes], list[bytes | None]]] = {}
        self.log: list[tuple[str, Server, Message]] = []
        self.open: list[Sent] = []
        self.delay = 0.0

    def datagram(self, server: Server, packet: bytes, received: Received) -> Sent:
        return self._send("udp", server, packet, received)

    def close(self) -> None:
        return

    def stream(self, server: Server, packet: bytes, received: Received) -> Sent:
        return self._send("tcp", server, packet, received)

    def _send(self, protocol: str, server: Server, packet: bytes, received: Received) -> Sent:
        self.log.append((protocol, server, decode(packet)))
        sent = Sent()
        self.open.append(sent)
        for reply in self.servers.get(server, lambda *_: [])(protocol, packet):
            self.clock.call_later(self.delay, lambda reply=reply: None if sent.closed else received(reply))  # type: ignore[misc]
        return sent


def of_zone(zone: Zone) -> Callable[[str, bytes], list[bytes | None]]:
    def answer(protocol: str, packet: bytes) -> list[bytes | None]:
        query = decode(packet)
        reply = zone.reply(query)
        return [] if reply is None else [limited(reply, query, protocol)]

    return answer


class Bench:
    def __init__(self, zone: str = "", **config: object) -> None:
        self.clock = VirtualClock()
        self.network = FakeNetwork(self.clock)
        self.zone = Zone(zone)
        self.network.servers[ONE] = of_zone(self.zone)
        self.config = structs.replace(ResolverConfig((ONE, TWO), trust_ad=True), **config)
        self.resolver = StubResolver(lambda: self.config, self.network, self.clock)
        self.answers: list[Answer] = []

    def ask(self, name: str, kind: Kind = Kind.A, seconds: float = 0.1) -> Answer:
        before = len(self.answers)
        self.resolver.lookup(name, kind, self.answers.append)
        self.clock.advance(seconds)
        assert len(self.answers) == before + 1, "no answer in time"
        assert all(sent.closed for sent in self.network.open), "a socket was left open"
        return self.answers[-1]


ZONE = """
example.com 100 A 192.0.2.1
example.com 50 A 192.0.2.2
example.com MX 10 mx.example.com
www.example.com 30 CNAME web.example.com
web.example.com 20 CNAME example.com
"""


def test_records_are_found_and_remembered_for_the_shortest_ttl() -> None:
    bench = Bench(ZONE)
    answer = bench.ask("Example.COM")
    assert answer.outcome is Outcome.FOUND
    assert [record.data for record in answer.records] == ["192.0.2.1", "192.0.2.2"]
    assert answer.ttl == 50
    bench.clock.advance(49)
    assert bench.ask("example.com").records == answer.records
    assert len(bench.network.log) == 1
    bench.clock.advance(1)
    bench.ask("example.com")
    assert len(bench.network.log) == 2


def test_what_is_remembered_is_answered_inside_the_call() -> None:
    bench = Bench(ZONE)
    bench.ask("example.com")
    bench.resolver.lookup("example.com", Kind.A, bench.answers.append)
    assert len(bench.answers) == 2


def test_many_who_wait_ask_once() -> None:
    bench = Bench(ZONE)
    for _ in range(50):
        bench.resolver.lookup("example.com", Kind.MX, bench.answers.append)
    bench.clock.advance(1)
    assert len(bench.answers) == 50
    assert len(bench.network.log) == 1


def test_aliases_are_followed_and_shorten_the_ttl() -> None:
    answer = Bench(ZONE).ask("www.example.com")
    assert answer.name == "www.example.com"
    assert answer.canonical == "example.com"
    assert answer.ttl == 20


def test_aliases_without_their_target_are_asked_again() -> None:
    bench = Bench()
    full = Zone(ZONE)

    def bare(protocol: str, packet: bytes) -> list[bytes | None]:
        reply = full.reply(decode(packet))
        assert reply is not None
        return [encode(structs.replace(reply, answers=reply.answers[:1], authority=()))]

    bench.network.servers[ONE] = bare
    answer = bench.ask("www.example.com")
    assert answer.canonical == "example.com"
    assert (answer.name, answer.ttl) == ("www.example.com", 20)
    assert [message.name for _, _, message in bench.network.log] == [
        "www.example.com", "web.example.com", "example.com",
    ]  # fmt: skip


def test_a_loop_of_aliases_ends() -> None:
    bench = Bench("a.example CNAME b.example\nb.example CNAME a.example")
    assert bench.ask("a.example").outcome is Outcome.LOOP
    assert len(bench.network.log) <= 12


def test_what_does_not_exist_is_remembered_as_long_as_the_soa_says() -> None:
    bench = Bench(ZONE)
    assert bench.ask("none.example").outcome is Outcome.NXDOMAIN
    assert bench.ask("example.com", Kind.AAAA).outcome is Outcome.NODATA
    bench.clock.advance(59)
    bench.ask("none.example")
    assert len(bench.network.log) == 2
    bench.clock.advance(2)
    bench.ask("none.example")
    assert len(bench.network.log) == 3


def test_without_a_soa_nothing_negative_is_remembered() -> None:
    bench = Bench()
    bench.network.servers[ONE] = lambda _, packet: [
        encode(structs.replace(decode(packet), response=True, rcode=int(Rcode.NXDOMAIN)))
    ]
    bench.ask("none.example")
    bench.ask("none.example")
    assert len(bench.network.log) == 2


def test_silent_servers_are_asked_in_turn_and_the_end_is_temporary() -> None:
    bench = Bench()
    bench.network.servers.clear()
    start = bench.clock.monotonic()
    bench.resolver.lookup("example.com", Kind.A, bench.answers.append)
    bench.clock.advance(19.9)
    assert not bench.answers
    assert [server for _, server, _ in bench.network.log] == [ONE, TWO, ONE, TWO]
    bench.clock.advance(0.2)
    assert bench.answers[0].outcome is Outcome.TEMPFAIL
    assert bench.clock.monotonic() - start < 21
    assert all(sent.closed for sent in bench.network.open)


def test_a_failure_is_remembered_for_two_seconds_only() -> None:
    bench = Bench("example.com SERVFAIL", servers=(ONE,), attempts=1)
    assert bench.ask("example.com").outcome is Outcome.TEMPFAIL
    bench.ask("example.com")
    assert len(bench.network.log) == 1
    bench.zone.remove("example.com")
    bench.zone.add("example.com A 192.0.2.9")
    bench.clock.advance(2)
    assert bench.ask("example.com").outcome is Outcome.FOUND


def test_the_next_server_helps_at_once_when_one_cannot_be_reached() -> None:
    bench = Bench()
    bench.network.servers[ONE] = lambda *_: [None]
    bench.network.servers[TWO] = of_zone(Zone(ZONE))
    assert bench.ask("example.com").outcome is Outcome.FOUND


def test_a_dead_server_costs_one_question_its_time_and_not_each() -> None:
    bench = Bench()
    bench.network.servers = {TWO: of_zone(Zone("*.example A 192.0.2.1"))}
    for n in range(20):
        bench.resolver.lookup(f"h{n}.example", Kind.A, bench.answers.append)
    bench.clock.advance(5.1)
    assert len(bench.answers) == 20
    for n in range(20, 40):
        assert bench.ask(f"h{n}.example", seconds=0.1).outcome is Outcome.FOUND
    bench.network.servers = {ONE: of_zone(Zone("*.example A 192.0.2.1"))}
    bench.ask("h50.example", seconds=5.1)
    assert bench.ask("h51.example", seconds=0.1).outcome is Outcome.FOUND


@pytest.mark.parametrize("rcode", ["SERVFAIL", "REFUSED", "NOTIMP", "FORMERR"])
def test_the_next_server_helps_when_one_refuses(rcode: str) -> None:
    bench = Bench(f"example.com {rcode}")
    bench.network.servers[TWO] = of_zone(Zone(ZONE))
    assert bench.ask("example.com").outcome is Outcome.FOUND


@pytest.mark.parametrize(
    ("rcode", "outcome"), [("SERVFAIL", Outcome.TEMPFAIL), ("REFUSED", Outcome.TEMPFAIL), ("FORMERR", Outcome.FAILED)]
)
def test_refused_by_all(rcode: str, outcome: Outcome) -> None:
    bench = Bench(f"example.com {rcode}")
    bench.network.servers[TWO] = bench.network.servers[ONE]
    assert bench.ask("example.com").outcome is outcome


def test_a_server_from_before_edns_is_asked_without() -> None:
    bench = Bench()
    zone = Zone(ZONE)

    def old(protocol: str, packet: bytes) -> list[bytes | None]:
        query = decode(packet)
        if query.edns:
            return [encode(Message(query.ident, response=True, rcode=int(Rcode.FORMERR)))]
        return of_zone(zone)(protocol, packet)

    bench.network.servers[ONE] = old
    assert bench.ask("example.com").outcome is Outcome.FOUND
    assert [message.edns for _, _, message in bench.network.log] == [True, False]


def test_a_cut_reply_is_asked_for_over_tcp() -> None:
    bench = Bench("\n".join(f"big.example A 10.0.{n // 250}.{n % 250 + 1}" for n in range(200)))
    assert len(bench.ask("big.example").records) == 200
    assert [protocol for protocol, _, _ in bench.network.log] == ["udp", "tcp"]


@pytest.mark.parametrize("tcp", [[], [None], [b"nonsense"]], ids=["silence", "refused", "garbage"])
def test_when_tcp_fails_the_next_server_is_asked(tcp: list[bytes | None]) -> None:
    zone = Zone("\n".join(f"big.example A 10.0.0.{n + 1}" for n in range(100)))
    bench = Bench()
    bench.network.servers[ONE] = lambda protocol, packet: tcp if protocol == "tcp" else of_zone(zone)("udp", packet)
    bench.network.servers[TWO] = of_zone(zone)
    assert len(bench.ask("big.example", seconds=10).records) == 100


def forged(change: dict[str, object]) -> Callable[[str, bytes], list[bytes | None]]:
    """A forged reply arrives before the true one."""
    zone = Zone(ZONE)

    def answer(protocol: str, packet: bytes) -> list[bytes | None]:
        true = zone.reply(decode(packet))
        assert true is not None
        lie = structs.replace(true, answers=(Record("example.com", Kind.A, 300, "203.0.113.66"),))
        return [encode(structs.replace(lie, **change(lie) if callable(change) else change)), encode(true)]

    return answer


@pytest.mark.parametrize(
    "change",
    [
        lambda message: {"ident": message.ident ^ 1},
        {"name": "example.net"},
        {"kind": int(Kind.MX)},
        {"response": False},
        {"kind": 0, "name": ""},
    ],
    ids=["identifier", "name", "type", "a query", "no question"],
)
def test_a_reply_to_another_question_is_not_believed(change: dict[str, object]) -> None:
    bench = Bench()
    bench.network.servers[ONE] = forged(change)
    assert [record.data for record in bench.ask("example.com").records] == ["192.0.2.1", "192.0.2.2"]


def test_records_that_nobody_asked_for_are_not_believed() -> None:
    bench = Bench()

    def poisoned(protocol: str, packet: bytes) -> list[bytes | None]:
        query = decode(packet)
        record = Record("bank.example", Kind.A, 300, "203.0.113.66")
        return [encode(structs.replace(query, response=True, answers=(record,)))]

    bench.network.servers[ONE] = poisoned
    assert bench.ask("example.com").outcome is Outcome.NODATA
    bench.network.servers[ONE] = of_zone(Zone(""))
    assert bench.ask("bank.example").outcome is Outcome.NXDOMAIN


@pytest.mark.parametrize("trusted", [True, False])
def test_the_ad_bit_counts_only_from_a_resolver_that_may_be_believed(trusted: bool) -> None:
    bench = Bench(trust_ad=trusted)
    bench.network.servers[ONE] = of_zone(Zone(ZONE, secure=True))
    assert bench.ask("www.example.com").authenticated is trusted


def test_an_unvalidated_alias_ends_the_chain_of_trust() -> None:
    bench = Bench()
    first, second = Zone("a.example CNAME b.example\nb.example CNAME c.example"), Zone("c.example A 192.0.2.3")

    def split(protocol: str, packet: bytes) -> list[bytes | None]:
        query = decode(packet)
        reply = (second if query.name == "c.example" else first).reply(query)
        assert reply is not None
        return [encode(structs.replace(reply, authenticated=query.name == "c.example", authority=(), rcode=0))]

    bench.network.servers[ONE] = split
    answer = bench.ask("a.example")
    assert (answer.outcome, answer.authenticated) == (Outcome.FOUND, False)


def test_an_mx_that_is_no_host_name_is_left_out() -> None:
    bench = Bench()
    bench.network.servers[ONE] = lambda _, packet: [
        encode(
            structs.replace(
                decode(packet),
                response=True,
                answers=(
                    Record("e.example", Kind.MX, 9, "a\\.b.example", 5),
                    Record("e.example", Kind.MX, 9, "m.x", 9),
                ),
            )
        )
    ]
    assert [record.data for record in bench.ask("e.example", Kind.MX).records] == ["m.x"]


def test_an_answer_of_bad_names_only_is_invalid() -> None:
    bench = Bench()
    bench.network.servers[ONE] = lambda _, packet: [
        encode(structs.replace(decode(packet), response=True, answers=(Record("e.example", Kind.PTR, 9, "a\\032b"),)))
    ]
    assert bench.ask("e.example", Kind.PTR).outcome is Outcome.INVALID


@pytest.mark.parametrize("name", ["a..b", "x" * 64 + ".example", "bücher.example"])
def test_what_is_no_name_does_not_exist(name: str) -> None:
    bench = Bench()
    assert bench.ask(name).outcome is Outcome.NXDOMAIN
    assert not bench.network.log


def test_localhost_is_this_host_whatever_the_server_says() -> None:
    bench = Bench("localhost A 203.0.113.66")
    assert [record.data for record in bench.ask("localhost").records] == ["127.0.0.1"]
    assert [record.data for record in bench.ask("x.localhost", Kind.AAAA).records] == ["::1"]
    assert not bench.network.log


def test_more_questions_than_sockets_wait_their_turn() -> None:
    bench = Bench("*.example A 192.0.2.1")
    bench.network.delay = 0.01
    for n in range(1000):
        bench.resolver.lookup(f"h{n}.example", Kind.A, bench.answers.append)
    assert len(bench.network.open) == 256
    bench.clock.advance(1)
    assert len(bench.answers) == 1000
    assert {answer.outcome for answer in bench.answers} == {Outcome.FOUND}


def test_a_flood_of_questions_is_answered_with_a_temporary_failure() -> None:
    bench = Bench()
    bench.network.servers.clear()
    for n in range(10_300):
        bench.resolver.lookup(f"h{n}.example", Kind.A, bench.answers.append)
    assert {answer.outcome for answer in bench.answers} == {Outcome.TEMPFAIL}
    assert len(bench.answers) == 10_300 - 10_000 - 256


def test_the_cache_is_bounded() -> None:
    bench = Bench("*.example 3000 A 192.0.2.1")
    for n in range(20_100):
        bench.resolver.lookup(f"h{n}.example", Kind.A, lambda _: None)
        bench.clock.advance(0)
    assert len(bench.resolver._cache) <= 20_000


def test_a_bug_in_one_waiter_leaves_no_other_waiting() -> None:
    heard: list[int] = []

    def broken(answer: object) -> None:
        raise ZeroDivisionError

    answer = Answer(Outcome.NODATA, "a.example", Kind.A)
    with pytest.raises(ZeroDivisionError):
        _tell([broken, lambda answer: heard.append(1), broken, lambda answer: heard.append(2)], answer)
    assert heard == [1, 2]
