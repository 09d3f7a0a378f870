"""Next hop to hosts, over a zone. Texts and codes are those of Postfix's SMTP client."""

import random

import pytest
from msgspec import structs
from tests.unit.routing.asked import Asked

from postwarden.mail.host import Host
from postwarden.mail.status import Status
from postwarden.net.hosts import HostsFirst
from postwarden.routing.finder import HostFinder
from postwarden.routing.params import Routing
from postwarden.testing.clock import VirtualClock
from postwarden.testing.resolver import FakeResolver
from postwarden.wire.dns import Kind

ZONE = """
example.com MX 20 second.example.com
example.com MX 10 first.example.com
first.example.com A 192.0.2.1
first.example.com AAAA 2001:db8::1
second.example.com A 192.0.2.2
nomx.example A 192.0.2.3
six.example AAAA 2001:db8::6
null.example MX 0 .
dead.example MX 10 gone.example
empty.example TXT nothing
broken.example SERVFAIL
noaddress.example MX 10 broken.example
half.example MX 10 broken.example
half.example MX 20 gone.example
mixed.example MX 10 gone.example
mixed.example MX 20 second.example.com
refused.example REFUSED
malformed.example FORMERR
circle.example CNAME circle2.example
circle2.example CNAME circle.example
halfbroken.example MX:SERVFAIL
halfbroken.example A 192.0.2.4
numeric.example MX 10 192.0.2.9
xn--bcher-kva.example MX 5 first.example.com
loop.example MX 10 me.example
loop.example MX 20 second.example.com
backup.example MX 10 first.example.com
backup.example MX 20 me.example
backup.example MX 20 second.example.com
behind.example MX 10 gone.example
behind.example MX 20 me.example
me.example A 198.51.100.1
equal.example MX 10 a.example
equal.example MX 10 b.example
equal.example MX 10 c.example
a.example A 192.0.2.11
b.example A 192.0.2.12
c.example A 192.0.2.13
"""
PORTS = {"smtp": 25, "submission": 587, "smtps": 465}
ROUTING = Routing((Kind.A, Kind.AAAA), PORTS, "smtp", shuffle=False)
OWN = ("198.51.100.1", "127.0.0.1")


class Setup(Asked):
    def __init__(self, zone: str = ZONE, hosts: dict[str, tuple[str, ...]] | None = None, **changes: object) -> None:
        self.resolver = FakeResolver(zone)
        self.warnings: list[str] = []

        class Hosts:
            def addresses(self, name: str) -> tuple[str, ...]:
                return (hosts or {}).get(name, ())

            def name(self, reverse: str) -> str:
                return ""

        native = HostsFirst(Hosts(), self.resolver)  # type: ignore[arg-type]
        self.finder = HostFinder(
            structs.replace(ROUTING, **changes),
            self.resolver,
            native,
            own=OWN,
            warn=self.warnings.append,
            rng=random.Random(4),
        )


@pytest.mark.parametrize(
    ("nexthop", "expected"),
    [
        ("example.com", ["first.example.com[192.0.2.1]:25", "first.example.com[2001:db8::1]:25",
                         "second.example.com[192.0.2.2]:25"]),
        ("example.com:587", ["first.example.com[192.0.2.1]:587", "first.example.com[2001:db8::1]:587",
                             "second.example.com[192.0.2.2]:587"]),
        ("nomx.example", ["nomx.example[192.0.2.3]:25"]),
        ("six.example:smtps", ["six.example[2001:db8::6]:465"]),
        ("[first.example.com]", ["first.example.com[192.0.2.1]:25", "first.example.com[2001:db8::1]:25"]),
        ("[second.example.com]:submission", ["second.example.com[192.0.2.2]:587"]),
        ("[192.0.2.7]:2525", ["192.0.2.7[192.0.2.7]:2525"]),
        ("192.0.2.7", ["192.0.2.7[192.0.2.7]:25"]),
        ("[2001:db8::7]:26", ["2001:db8::7[2001:db8::7]:26"]),
        ("[IPv6:2001:db8::7]", ["2001:db8::7[2001:db8::7]:25"]),
        ("mixed.example", ["second.example.com[192.0.2.2]:25"]),
        ("numeric.example", ["192.0.2.9[192.0.2.9]:25"]),
        ("bücher.example", ["first.example.com[192.0.2.1]:25", "first.example.com[2001:db8::1]:25"]),
        ("backup.example", ["first.example.com[192.0.2.1]:25", "first.example.com[2001:db8::1]:25"]),
        ("loop.example:26", ["me.example[198.51.100.1]:26", "second.example.com[192.0.2.2]:26"]),
        ("[me.example]:2525", ["me.example[198.51.100.1]:2525"]),
        ("gone.example, nomx.example", ["nomx.example[192.0.2.3]:25"]),
        ("nomx.example [second.example.com]", ["nomx.example[192.0.2.3]:25", "second.example.com[192.0.2.2]:25"]),
    ],
)  # fmt: skip
def test_hosts_are_found(nexthop: str, expected: list[str]) -> None:
    assert Setup().hosts(nexthop) == expected


NOT_FOUND = "Host or domain name not found. Name service error for name="


@pytest.mark.parametrize(
    ("nexthop", "expected"),
    [
        ("gone.example", f"5.4.4 {NOT_FOUND}gone.example type=AAAA: Host not found"),
        ("[gone.example]", f"5.4.4 {NOT_FOUND}gone.example type=AAAA: Host not found"),
        ("empty.example", f"5.4.4 {NOT_FOUND}empty.example type=AAAA: Host found but no data record of requested type"),
        ("broken.example", f"4.4.3 {NOT_FOUND}broken.example type=MX: Host not found, try again"),
        ("[broken.example]", f"4.4.3 {NOT_FOUND}broken.example type=AAAA: Host not found, try again"),
        ("halfbroken.example", f"4.4.3 {NOT_FOUND}halfbroken.example type=MX: Host not found, try again"),
        ("refused.example", f"4.4.3 {NOT_FOUND}refused.example type=MX: Host not found, try again"),
        ("malformed.example", f"5.4.3 {NOT_FOUND}malformed.example type=MX: Non-recoverable error"),
        ("circle.example", "5.4.4 Name server loop for circle.example"),
        ("null.example", "5.1.0 Domain null.example does not accept mail (nullMX)"),
        ("dead.example", f"5.4.4 {NOT_FOUND}gone.example type=AAAA: Host not found"),
        ("noaddress.example", f"4.4.3 {NOT_FOUND}broken.example type=AAAA: Host not found, try again"),
        ("half.example", f"4.4.4 {NOT_FOUND}gone.example type=AAAA: Host not found"),
        ("a..b", "4.3.5 server configuration error: valid hostname or network address required in destination: a..b"),
        ("[-x-]", "4.3.5 server configuration error: valid hostname or network address required in destination: "
         "[-x-]"),
        ("loop.example", "5.4.6 mail for loop.example loops back to myself"),
        ("[me.example]", "5.4.6 mail for me.example loops back to myself"),
        ("me.example", "5.4.6 mail for me.example loops back to myself"),
        ("[127.0.0.1]", "5.4.6 mail for 127.0.0.1 loops back to myself"),
        ("behind.example", "4.4.4 unable to find primary relay for behind.example"),
        ("loop.example nomx.example", "5.4.6 mail for loop.example loops back to myself"),
        ("example.com:nosuch", "4.3.5 server configuration error: unknown port 'nosuch' in destination: "
         "example.com:nosuch"),
        ("[example.com", "4.3.5 server configuration error: missing ']', or something other than a port after it in "
         "destination: [example.com"),
        (",", '4.3.5 server configuration error: null destination ","'),
    ],
)  # fmt: skip
def test_why_there_is_no_host(nexthop: str, expected: str) -> None:
    assert Setup().trouble(nexthop) == expected


def test_only_families_that_are_enabled() -> None:
    setup = Setup(families=(Kind.A,))
    assert setup.hosts("example.com") == ["first.example.com[192.0.2.1]:25", "second.example.com[192.0.2.2]:25"]
    assert setup.trouble("six.example").endswith("type=A: Host found but no data record of requested type")
    assert setup.trouble("[2001:db8::7]") == "5.4.4 Name service error for 2001:db8::7: invalid host or domain name"
    assert all(kind != Kind.AAAA for _, kind in setup.resolver.asked)


def test_the_preferred_family_goes_first_within_a_preference() -> None:
    assert Setup(preference=Kind.AAAA).hosts("example.com")[0] == "first.example.com[2001:db8::1]:25"


def test_hosts_of_equal_preference_are_shuffled_and_others_are_not() -> None:
    setup = Setup(shuffle=True)
    seen = {tuple(setup.hosts("equal.example")) for _ in range(200)}
    assert len(seen) == 6
    assert {setup.hosts("example.com")[-1] for _ in range(50)} == {"second.example.com[192.0.2.2]:25"}


def test_hosts_know_whether_they_are_the_best() -> None:
    found = Setup().find("example.com")
    assert not isinstance(found, Status)
    assert [(host.preference, host.best, host.domain) for host in found] == [
        (10, True, "example.com"), (10, True, "example.com"), (20, False, "example.com"),
    ]  # fmt: skip


def test_the_address_limit_and_the_balance_of_families() -> None:
    zone = "big.example MX 10 mx.example\n" + "\n".join(
        [f"mx.example AAAA 2001:db8::{n}" for n in range(1, 9)] + ["mx.example A 192.0.2.1"]
    )
    setup = Setup(zone, families=(Kind.A, Kind.AAAA), preference=Kind.AAAA, address_limit=5)
    found = setup.hosts("big.example")
    assert len(found) == 5
    assert found[-1] == "mx.example[192.0.2.1]:25"
    found = Setup(zone, preference=Kind.AAAA, balance=False).hosts("big.example")
    assert len(found) == 5 and not any("192.0.2.1" in host for host in found)


def test_mail_for_a_domain_whose_hosts_have_no_address_may_wait() -> None:
    setup = Setup(defer_if_no_address=True)
    assert setup.trouble("dead.example").startswith("4.4.4 ")
    assert setup.warnings == ["no MX host for dead.example has a valid address record"]


def test_a_failed_mx_lookup_can_be_ignored() -> None:
    assert Setup(ignore_mx_error=True).hosts("halfbroken.example") == ["halfbroken.example[192.0.2.4]:25"]


def test_a_wrong_relayhost_never_bounces_mail() -> None:
    setup = Setup(relayhost="[gone.example]")
    assert setup.trouble("[gone.example]") == f"4.3.5 {NOT_FOUND}gone.example type=AAAA: Host not found"
    assert setup.warnings == ["relayhost configuration problem"]
    assert setup.trouble("gone.example").startswith("5.4.4")


def test_fallback_relays_come_last_and_never_bounce_mail() -> None:
    setup = Setup(fallback=("[second.example.com]", "nomx.example:26"))
    assert setup.hosts("gone.example") == ["second.example.com[192.0.2.2]:25", "nomx.example[192.0.2.3]:26"]
    found = setup.find("nomx.example")
    assert not isinstance(found, Status)
    assert [host.destination for host in found] == [0, 1, 2]
    assert setup.trouble("loop.example").startswith("5.4.6"), "a relay makes a loop worse"
    assert [host for host in setup.hosts("backup.example") if "second" in host] == []
    assert Setup(fallback=("gone2.example",)).trouble("gone.example").startswith("4.3.5")


def test_without_dns_the_hosts_file_is_asked() -> None:
    setup = Setup(hosts={"mail": ("192.0.2.77",)}, dns=False, native=True, only_native=True)
    assert setup.hosts("mail") == ["mail[192.0.2.77]:25"]
    assert setup.trouble("nothere.example") == (
        "5.4.4 unable to look up host nothere.example: Name or service not known"
    )
    assert all(kind != Kind.MX for _, kind in setup.resolver.asked)


def test_the_hosts_file_is_asked_for_what_dns_does_not_have() -> None:
    setup = Setup(hosts={"inside.example": ("192.0.2.78",)}, native=True)
    assert setup.hosts("[inside.example]") == ["inside.example[192.0.2.78]:25"]
    assert setup.trouble("[broken.example]").startswith("4.4.3")
    assert Setup(hosts={"inside.example": ("192.0.2.78",)}).trouble("[inside.example]").startswith("5.4.4")


def test_lmtp_knows_no_mail_exchangers() -> None:
    setup = Setup(lmtp=True, default_port="24", myhostname="me.example")
    assert setup.hosts("first.example.com") == [
        "first.example.com[192.0.2.1]:24", "first.example.com[2001:db8::1]:24",
    ]  # fmt: skip
    assert setup.hosts("inet:[192.0.2.7]:2424") == ["192.0.2.7[192.0.2.7]:2424"]
    assert setup.trouble("example.com").startswith("5.4.4")
    assert setup.find("unix:/run/dovecot/lmtp") == (
        Host("me.example", "", 0, domain="me.example", path="/run/dovecot/lmtp"),
    )


def test_lookups_run_side_by_side_and_the_order_stays() -> None:
    clock = VirtualClock()
    resolver = FakeResolver(ZONE, clock)
    finder = HostFinder(ROUTING, resolver, resolver, own=OWN)
    results: list[tuple[Host, ...] | Status] = []
    finder.find("example.com", results.append)
    clock.run(1_000)
    found = results[0]
    assert not isinstance(found, Status)
    assert [host.address for host in found] == ["192.0.2.1", "2001:db8::1", "192.0.2.2"]


def test_the_ad_bit_is_handed_on_only_when_all_answers_had_it() -> None:
    setup = Setup()
    setup.resolver.zone._secure = True
    found = setup.find("example.com")
    assert not isinstance(found, Status) and all(host.secure for host in found)
    assert not any(host.secure for host in Setup().find("example.com"))  # type: ignore[union-attr]
