"""Routing's view of the configuration."""

import pytest

from postwarden.config.errors import ConfigError
from postwarden.routing.params import routing_of
from postwarden.testing.config import settings
from postwarden.wire.dns import Kind


def test_the_defaults_are_postfixs() -> None:
    routing = routing_of(settings(), "", lmtp=False)
    assert routing.families == (Kind.A, Kind.AAAA)
    assert routing.ports["submissions"] == 465
    assert (routing.default_port, routing.address_limit, routing.preference) == ("smtp", 5, None)
    assert routing.dns and not routing.native and routing.shuffle and routing.balance
    assert routing_of(settings(), "", lmtp=True).default_port == "24"


def test_values_are_compiled() -> None:
    values = {
        "inet_protocols": "ipv4", "smtp_address_preference": "ipv6", "smtp_host_lookup": "dns, native",
        "smtp_fallback_relay": "[a.example], b.example:26", "relayhost": "[r.example]",
    }  # fmt: skip
    routing = routing_of(settings(**values), "", lmtp=False)
    assert (routing.families, routing.preference, routing.native) == ((Kind.A,), Kind.AAAA, True)
    assert routing.fallback == ("[a.example]", "b.example:26") and routing.relayhost == "[r.example]"
    without = routing_of(settings(disable_dns_lookups="yes"), "", lmtp=False)
    assert not without.dns and without.only_native
    again = routing_of(settings(disable_dns_lookups="yes", smtp_dns_support_level="enabled"), "", lmtp=False)
    assert again.dns


@pytest.mark.parametrize(
    ("name", "value"),
    [("inet_protocols", "ipv5"), ("smtp_address_preference", "both"), ("smtp_host_lookup", "nis"),
     ("smtp_dns_support_level", "perhaps"), ("known_tcp_ports", "smtp"), ("lmtp_host_lookup", "nis")],
)  # fmt: skip
def test_a_bad_value_names_its_line(name: str, value: str) -> None:
    with pytest.raises(ConfigError, match=rf"main.cf:3: .*{name}"):
        routing_of(settings("# one\n# two\n", **{name: value}), "", lmtp=name.startswith("lmtp"))
