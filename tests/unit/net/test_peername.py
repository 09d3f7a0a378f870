"""Names of clients: address -> name -> address must agree, or the name is "unknown"."""

import pytest

from postwarden.net.peername import NO_LOOKUP, PeerName, PeerNames
from postwarden.testing.clock import VirtualClock
from postwarden.testing.resolver import FakeResolver

ZONE = """
1.2.0.192.in-addr.arpa PTR mail.example.com
mail.example.com A 192.0.2.1
mail.example.com A 192.0.2.111
2.2.0.192.in-addr.arpa PTR liar.example
liar.example A 203.0.113.1
3.2.0.192.in-addr.arpa PTR gone.example
4.2.0.192.in-addr.arpa SERVFAIL
5.2.0.192.in-addr.arpa PTR broken.example
broken.example SERVFAIL
6.2.0.192.in-addr.arpa PTR empty.example
empty.example TXT x
7.2.0.192.in-addr.arpa PTR 192.0.2.7
8.2.0.192.in-addr.arpa PTR -bad-.example
1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa PTR six.example
six.example AAAA 2001:db8::1
"""


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("192.0.2.1", PeerName("mail.example.com", "mail.example.com", 2, 2)),
        ("2001:db8::1", PeerName("six.example", "six.example", 2, 2)),
        ("192.0.2.2", PeerName("unknown", "liar.example", 5, 2,
                               "hostname liar.example does not resolve to address 192.0.2.2")),
        ("192.0.2.3", PeerName("unknown", "gone.example", 5, 2, "hostname gone.example does not resolve to address "
                               "192.0.2.3: Name or service not known")),
        ("192.0.2.4", PeerName("unknown", "unknown", 4, 4)),
        ("192.0.2.5", PeerName("unknown", "broken.example", 4, 2, "hostname broken.example does not resolve to "
                               "address 192.0.2.5: Temporary failure in name resolution")),
        ("192.0.2.6", PeerName("unknown", "empty.example", 5, 2, "hostname empty.example does not resolve to address "
                               "192.0.2.6: No address associated with hostname")),
        ("192.0.2.7", PeerName("unknown", "unknown", 5, 5)),
        ("192.0.2.8", PeerName("unknown", "unknown", 5, 5)),
        ("192.0.2.9", PeerName("unknown", "unknown", 5, 5)),
        ("not an address", NO_LOOKUP),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_verification(address: str, expected: PeerName) -> None:
    names: list[PeerName] = []
    PeerNames(FakeResolver(ZONE), VirtualClock()).verify(address, names.append)
    assert names == [expected]


def test_a_known_client_costs_no_lookup_until_its_ttl_is_over() -> None:
    clock, resolver = VirtualClock(), FakeResolver(ZONE)
    peers = PeerNames(resolver, clock)
    names: list[PeerName] = []
    for _ in range(3):
        peers.verify("192.0.2.1", names.append)
    assert len(names) == 3 and len(resolver.asked) == 2
    clock.advance(301)
    peers.verify("192.0.2.1", names.append)
    assert len(resolver.asked) == 4


def test_a_failure_is_not_remembered_for_longer_than_it_lasts() -> None:
    clock, resolver = VirtualClock(), FakeResolver(ZONE)
    peers = PeerNames(resolver, clock)
    names: list[PeerName] = []
    peers.verify("192.0.2.4", names.append)
    resolver.zone.remove("4.2.0.192.in-addr.arpa")
    resolver.zone.add("4.2.0.192.in-addr.arpa PTR mail.example.com")
    resolver.zone.add("mail.example.com A 192.0.2.4")
    clock.advance(3)
    peers.verify("192.0.2.4", names.append)
    assert names[-1].name == "mail.example.com"


def test_lookups_can_be_turned_off() -> None:
    resolver = FakeResolver(ZONE)
    names: list[PeerName] = []
    PeerNames(resolver, VirtualClock(), enabled=False).verify("192.0.2.1", names.append)
    assert names == [NO_LOOKUP]
    assert not resolver.asked


def test_answers_that_come_later_are_handed_over_later() -> None:
    clock = VirtualClock()
    names: list[PeerName] = []
    PeerNames(FakeResolver(ZONE, clock), clock).verify("192.0.2.1", names.append)
    assert not names
    clock.run()
    assert names[0].name == "mail.example.com"
