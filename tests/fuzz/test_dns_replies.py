"""A name server that may answer anything: each question ends once, in bounded time, and believes no other name."""

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from postwarden.net.dns_exchange import Received
from postwarden.net.resolv_conf import ResolverConfig, Server
from postwarden.net.resolver import StubResolver
from postwarden.testing.clock import VirtualClock
from postwarden.wire.dns import DnsError, Kind, Message, Record, decode, encode
from postwarden.wire.dns_answer import Answer, Outcome

NAMES = ("example.com", "www.example.com", "mail.example.net", "", "a\\.b.example.com")
DATA = {Kind.A: "192.0.2.1", Kind.AAAA: "2001:db8::1", Kind.TXT: b"text"}

records = st.builds(
    lambda name, kind, target, ttl, preference: Record(name, kind, ttl, DATA.get(kind, target), preference),
    st.sampled_from(NAMES),
    st.sampled_from([Kind.A, Kind.AAAA, Kind.CNAME, Kind.MX, Kind.PTR, Kind.SOA, Kind.TXT]),
    st.sampled_from(NAMES),
    st.sampled_from([0, 1, 300, 2**31 - 1]),
    st.sampled_from([0, 10, 300]),
)


@st.composite
def changes(draw: st.DrawFn) -> Callable[[bytes], bytes | None]:
    """What happens to one query: silence, no server, noise, a reply of any content, or a damaged one."""
    what = draw(st.sampled_from(["none", "noise", "reply", "reply", "reply", "damaged", "other"]))
    answers = tuple(draw(st.lists(records, max_size=4)))
    authority = tuple(draw(st.lists(records, max_size=1)))
    rcode, cut = draw(st.sampled_from([0, 0, 0, 1, 2, 3, 4, 5, 9])), draw(st.booleans())
    noise, place, edns = draw(st.binary(max_size=40)), draw(st.integers(0, 400)), draw(st.booleans())

    def change(packet: bytes) -> bytes | None:
        if what == "none":
            return None
        if what == "noise":
            return noise
        query = decode(packet)
        reply = structs.replace(
            query, response=True, rcode=rcode, truncated=cut, answers=answers, authority=authority, edns=edns
        )
        if what == "other":
            reply = structs.replace(reply, ident=query.ident ^ 1, name="example.org")
        wire = encode(reply)
        return wire[:place] + noise + wire[place:] if what == "damaged" else wire

    return change


class Sent:
    closed = False

    def close(self) -> None:
        self.closed = True


class Network:
    def __init__(self, clock: VirtualClock, replies: list[list[Callable[[bytes], bytes | None]]]) -> None:
        self.clock = clock
        self.replies = replies
        self.sent: list[Sent] = []

    def datagram(self, server: Server, packet: bytes, received: Received) -> Sent:
        sent = Sent()
        self.sent.append(sent)
        for change in self.replies[len(self.sent) % len(self.replies)] if self.replies else ():
            data = change(packet)
            self.clock.call_later(0.01, lambda data=data: None if sent.closed else received(data))  # type: ignore[misc]
        return sent

    stream = datagram


@given(
    st.lists(st.lists(changes(), max_size=3), max_size=4),
    st.sampled_from(NAMES[:3]),
    st.sampled_from([Kind.A, Kind.MX, Kind.PTR, Kind.TXT]),
)
def test_each_question_ends_once(replies: list[list[Callable[[bytes], bytes | None]]], name: str, kind: Kind) -> None:
    clock = VirtualClock()
    network = Network(clock, replies)
    config = ResolverConfig((("192.0.2.53", 53), ("192.0.2.54", 53)), timeout=1, trust_ad=True)
    resolver = StubResolver(lambda: config, network, clock)
    answers: list[Answer] = []
    resolver.lookup(name, kind, answers.append)
    clock.advance(11 * 4 * 3 * 1.1)
    assert len(answers) == 1
    assert all(sent.closed for sent in network.sent)
    assert len(network.sent) <= 11 * 12
    answer = answers[0]
    assert answer.name == name
    assert (answer.outcome is Outcome.FOUND) == bool(answer.records)
    assert all(record.kind == kind and record.name == answer.canonical for record in answer.records)


@given(st.binary(max_size=120), st.lists(records, max_size=5).map(tuple))
def test_a_message_that_is_read_can_be_written(data: bytes, answers: tuple[Record, ...]) -> None:
    for wire in (data, encode(Message(1, "example.com", Kind.A, True, answers=answers)) + data):
        try:
            message = decode(wire)
        except DnsError:
            continue
        try:
            again = encode(message)
        except DnsError:
            continue
        assert decode(again).answers == message.answers
