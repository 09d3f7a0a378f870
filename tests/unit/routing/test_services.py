"""SRV records, names of aliases, search lists and filters of replies: what leads from a next hop to hosts beside MX."""

import random
from collections import Counter

import pytest
from tests.unit.routing.asked import Asked

from postwarden.net.names import Names
from postwarden.routing.opening import open_finder
from postwarden.routing.services import arranged
from postwarden.tables.opening import Tables
from postwarden.testing.config import settings
from postwarden.testing.resolver import FakeResolver, Zone
from postwarden.wire.dns import Kind, Record

ZONE = """
_submission._tcp.example.com SRV 20 0 2587 late.example.com
_submission._tcp.example.com SRV 10 5 1587 early.example.com
early.example.com A 192.0.2.1
late.example.com A 192.0.2.2
_submission._tcp.none.example SRV 0 0 0 .
_submission._tcp.broken.example SERVFAIL
_submission._tcp.gone.example SRV 0 0 587 nowhere.example
_odd._tcp.example.com SRV 0 0 4711 early.example.com
example.com MX 10 mx.example.com
broken.example MX 10 mx.example.com
plain.example MX 10 mx.example.com
mx.example.com A 192.0.2.3
alias.example CNAME real.example
real.example A 192.0.2.4
short.corp.example A 192.0.2.5
deep.net.corp.example A 192.0.2.6
"""


class Way(Asked):
    def __init__(self, zone: Zone | str = ZONE, command: str = "smtp", **parameters: str) -> None:
        made = settings("", f"{command} unix - - n - - {command}\n", inet_protocols="ipv4", **parameters)
        self.said: list[str] = []
        self.warned: list[str] = []
        self.resolver = FakeResolver(zone)
        self.finder = open_finder(
            made,
            made.services[0],
            Names(self.resolver, FakeResolver(zone), search=lambda: ("corp.example", "far.example")),
            Tables.of(made),
            own=(),
            say=self.said.append,
            warn=self.warned.append,
        )


SERVERS = ["early.example.com[192.0.2.1]:1587", "late.example.com[192.0.2.2]:2587"]


@pytest.mark.parametrize("command", ["smtp", "lmtp"])
def test_a_service_is_found_with_its_ports(command: str) -> None:
    way = Way(command=command, use_srv_lookup="submission")
    assert way.hosts("example.com:submission") == SERVERS
    assert {host.domain for host in way.find("example.com:submission")} == {"example.com"}  # type: ignore[union-attr]


def test_a_service_that_has_no_port_of_its_own() -> None:
    assert Way(use_srv_lookup="odd, submission").hosts("example.com:odd") == ["early.example.com[192.0.2.1]:4711"]
    assert "unknown port 'odd'" in Way(use_srv_lookup="submission").trouble("example.com:odd")


def test_brackets_numbers_and_other_services_know_no_srv() -> None:
    way = Way(use_srv_lookup="submission")
    assert way.hosts("[mx.example.com]:submission") == ["mx.example.com[192.0.2.3]:587"]
    assert way.hosts("example.com:587") == ["mx.example.com[192.0.2.3]:587"]
    assert way.hosts("example.com") == ["mx.example.com[192.0.2.3]:25"]
    assert Way().hosts("example.com:submission") == ["mx.example.com[192.0.2.3]:587"]
    assert not any(kind is Kind.SRV for _, kind in way.resolver.asked)


def test_the_default_port_is_a_service_too() -> None:
    way = Way(use_srv_lookup="smtp", allow_srv_lookup_fallback="yes")
    assert way.hosts("example.com") == ["mx.example.com[192.0.2.3]:25"]
    assert way.resolver.asked[0] == ("_smtp._tcp.example.com", Kind.SRV)


@pytest.mark.parametrize(
    ("domain", "trouble"),
    [
        ("plain.example", "5.4.4 Host or domain name not found. Name service error for "
                          "name=_submission._tcp.plain.example type=SRV: Host not found"),
        ("none.example", "5.1.0 Domain none.example does not offer service submission (null SRV)"),
        ("broken.example", "4.4.3 Host or domain name not found. Name service error for "
                           "name=_submission._tcp.broken.example type=SRV: Host not found, try again"),
        ("gone.example", "5.4.4 Host or domain name not found. Name service error for name=nowhere.example type=A: "
                         "Host not found"),
    ],
)  # fmt: skip
def test_without_a_fallback_nothing_else_is_tried(domain: str, trouble: str) -> None:
    way = Way(use_srv_lookup="submission")
    assert way.trouble(f"{domain}:submission") == trouble
    assert not any(kind is Kind.MX for _, kind in way.resolver.asked)


def test_what_each_fallback_is_for() -> None:
    failed, missing = "broken.example:submission", "plain.example:submission"
    usual = ["mx.example.com[192.0.2.3]:587"]
    ignoring = Way(use_srv_lookup="submission", ignore_srv_lookup_error="yes")
    assert ignoring.hosts(failed) == usual
    assert ignoring.trouble(missing).startswith("5.4.4")
    falling = Way(use_srv_lookup="submission", allow_srv_lookup_fallback="yes")
    assert falling.hosts(failed) == falling.hosts(missing) == usual
    assert falling.trouble("none.example:submission").startswith("5.1.0")
    assert "unknown port 'odd'" in Way(use_srv_lookup="odd", allow_srv_lookup_fallback="yes").trouble("x.example:odd")


def test_no_more_servers_than_addresses_are_wanted() -> None:
    assert Way(use_srv_lookup="submission", smtp_mx_address_limit="1").hosts("example.com:submission") == SERVERS[:1]


def test_weights_are_chances() -> None:
    """RFC 2782: within a priority."""
    records = [Record("s", Kind.SRV, 1, str(weight), 10, weight) for weight in (0, 10, 30)]
    records.append(Record("s", Kind.SRV, 1, "worse", 20, 100))
    rng = random.Random(7)
    orders = [arranged(records, rng) for _ in range(4000)]
    assert all(len(order) == 4 and order[3].data == "worse" for order in orders)
    first = Counter(order[0].weight for order in orders)
    assert 2700 < first[30] < 3100 and 800 < first[10] < 1150 and 0 < first[0] < 200


def test_the_name_of_an_alias() -> None:
    """smtp_cname_overrides_servername; validated aliases count in any case, where DNSSEC is asked for."""
    assert Way().hosts("[alias.example]") == ["alias.example[192.0.2.4]:25"]
    assert Way(smtp_cname_overrides_servername="yes").hosts("[alias.example]") == ["real.example[192.0.2.4]:25"]
    secure = Zone(ZONE, secure=True)
    assert Way(secure).hosts("[alias.example]") == ["alias.example[192.0.2.4]:25"]
    assert Way(secure, smtp_dns_support_level="dnssec").hosts("[alias.example]") == ["real.example[192.0.2.4]:25"]
    assert Way(smtp_dns_support_level="dnssec").hosts("[alias.example]") == ["alias.example[192.0.2.4]:25"]


def test_names_that_are_not_complete() -> None:
    """The host keeps the name that was written, as with smtp(8)."""
    assert Way().trouble("[short]").startswith("5.4.4")
    assert Way(smtp_dns_resolver_options="res_defnames").hosts("[short]") == ["short[192.0.2.5]:25"]
    assert Way(smtp_dns_resolver_options="res_dnsrch").trouble("[short]").endswith("name=short type=A: Host not found")
    assert Way(smtp_dns_resolver_options="res_dnsrch").hosts("[deep.net]") == ["deep.net[192.0.2.6]:25"]
    assert Way(smtp_dns_resolver_options="res_defnames").trouble("[deep.net]").startswith("5.4.4")


def test_a_filter_of_replies() -> None:
    """Texts and codes are those of smtp(8) 3.7."""
    rules = r"regexp:{{/^MX\.example.* A / ignore} {/^example\.com\. 300 IN MX 10 mx\.example\.com\.$$/ Ignore}}"
    way = Way(smtp_dns_reply_filter=rules)
    drops = "DNS reply filter drops all results"
    assert way.trouble("example.com") == f"4.7.0 Error looking up name=example.com type=MX: {drops}"
    assert way.trouble("plain.example") == f"4.7.0 Error looking up name=mx.example.com type=A: {drops}"
    assert way.said[0] == "ignoring DNS RR: example.com. 300 IN MX 10 mx.example.com."
    assert way.hosts("[early.example.com]") == ["early.example.com[192.0.2.1]:25"]


@pytest.mark.parametrize(
    ("table", "said"),
    [("static:WHAT", 'smtp_dns_reply_filter: unknown DNS filter action: "WHAT"'), ("fail:x", "smtp_dns_reply_filter:")],
)
def test_a_filter_that_does_not_answer_leaves_nothing(table: str, said: str) -> None:
    way = Way(smtp_dns_reply_filter=table)
    why = "4.4.3 Error looking up name=example.com type=MX: Invalid DNS reply filter syntax"
    assert way.trouble("example.com") == why
    assert way.warned[0].startswith(said)
