from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postwarden.addressing.resolve import AddressClass, AddressResolver, open_probe_resolver, open_resolver
from postwarden.config.errors import ConfigError
from postwarden.tables.opening import Tables
from postwarden.tables.table import TableError
from postwarden.testing.config import settings

DOMAINS = {
    "relay_domains": "relay.example",
    "virtual_alias_domains": "alias.example",
    "virtual_mailbox_domains": "box.example",
    "virtual_mailbox_maps": "inline:{a@box.example=x}",
}
ADDRESSES = st.text(st.sampled_from('ab.@%!+"\\ []:1<>-ü'), max_size=16) | st.builds(
    "{}@{}".format,
    st.text(st.sampled_from('ab%!@".-'), max_size=8),
    st.sampled_from(["mx.example.com", "relay.example", "alias.example", "far.example", "localhost", "[192.0.2.1]"]),
)


def resolver(**parameters: str) -> AddressResolver:
    chosen = settings(**(DOMAINS | parameters))
    return open_resolver(chosen, Tables.of(chosen))


@pytest.mark.parametrize(
    ("address", "kind", "transport", "nexthop"),
    [
        ("joe", AddressClass.LOCAL, "local", "mx.example.com"),
        ("joe@localhost", AddressClass.LOCAL, "local", "mx.example.com"),
        ("joe@[192.0.2.1]", AddressClass.LOCAL, "local", "mx.example.com"),
        ("joe@[IPv6:::1]", AddressClass.LOCAL, "local", "mx.example.com"),
        ("joe@[192.0.2.2]", AddressClass.DEFAULT, "smtp", "[192.0.2.2]"),
        ("joe@ALIAS.example", AddressClass.VIRTUAL_ALIAS, "error", "5.1.1 User unknown in virtual alias table"),
        ("joe@box.example", AddressClass.VIRTUAL_MAILBOX, "virtual", "box.example"),
        ("joe@relay.example", AddressClass.RELAY, "relay", "relay.example"),
        ("joe@sub.relay.example", AddressClass.RELAY, "relay", "sub.relay.example"),
        ("joe@sub.alias.example", AddressClass.DEFAULT, "smtp", "sub.alias.example"),
        ("joe@far.example.", AddressClass.DEFAULT, "smtp", "far.example"),
        ("", AddressClass.LOCAL, "local", "mx.example.com"),
    ],
)
def test_classes(address: str, kind: AddressClass, transport: str, nexthop: str) -> None:
    found = resolver().resolve(address)
    assert (found.address_class, found.transport, found.nexthop, found.bad) == (kind, transport, nexthop, False)


@pytest.mark.parametrize("domain", ["-a.example", "a..b", "1.2.3.4", "[1.2.3]", "[::1]", "a b", "[", "123"])
def test_what_is_no_domain(domain: str) -> None:
    found = resolver().resolve(f"joe@{domain}")
    assert found.bad
    assert (found.transport, found.nexthop) == ("error", "5.1.3 bad address syntax")


def test_routing_through_a_local_domain_is_followed() -> None:
    found = resolver().resolve("joe%far.example@mx.example.com")
    assert (found.recipient, found.address_class, found.routed) == ("joe@far.example", AddressClass.DEFAULT, False)
    assert resolver().resolve("joe@far.example@localhost").recipient == "joe@far.example"
    assert resolver().resolve("a%mx.example.com@localhost").recipient == "a@mx.example.com"


def test_routing_through_a_foreign_domain_is_marked() -> None:
    for local in ("joe%far.example", "far.example!joe", "joe@far.example"):
        found = resolver().resolve(f"{local}@relay.example")
        assert found.routed
        assert found.address_class is AddressClass.RELAY


TRANSPORTS = (
    "inline:{ {joe+x@relay.example=one:1} {joe@relay.example=two:2} {relay.example=three:3} {.far.example=four}"
    " {empty.example=:} {hop.example=:other.example} {bad.example=error} {bad2.example=error:5.7.9 away}"
    " {alias.example=smtp:x} }"
)


@pytest.mark.parametrize(
    ("address", "transport", "nexthop"),
    [
        ("joe+x@relay.example", "one", "1"),
        ("joe+y@relay.example", "two", "2"),
        ("ann@relay.example", "three", "3"),
        ("ann@sub.relay.example", "relay", "sub.relay.example"),
        ("ann@a.b.far.example", "four", "a.b.far.example"),
        ("ann@empty.example", "smtp", "gate"),
        ("ann@hop.example", "smtp", "other.example"),
        ("ann@bad.example", "error", "Address is undeliverable"),
        ("ann@bad2.example", "error", "5.7.9 away"),
        ("ann@alias.example", "error", "5.1.1 User unknown in virtual alias table"),
        ("ann@else.example", "smtp", "gate"),
    ],
)
def test_transport_maps(address: str, transport: str, nexthop: str) -> None:
    found = resolver(transport_maps=TRANSPORTS, recipient_delimiter="+", relay_transport="relay", relayhost="gate")
    if "sub.relay" in address:
        nexthop = "gate"
    answer = found.resolve(address)
    assert (answer.transport, answer.nexthop) == (transport, nexthop)


def test_the_rule_names_what_decided() -> None:
    chosen = settings("relay_domains = relay.example\n", transport_maps=TRANSPORTS)
    found = open_resolver(chosen, Tables.of(chosen))
    assert str(found.resolve("joe@sub.relay.example").rule.origin) == "/etc/postfix/main.cf:1"
    rule = found.resolve("ann@relay.example").rule
    assert (rule.argument, str(rule.origin)) == ("relay.example", "/etc/postfix/main.cf:2")


def test_who_has_moved() -> None:
    found = resolver(relocated_maps="inline:{joe@relay.example=joe@new.example}").resolve("joe@relay.example")
    assert (found.transport, found.nexthop) == ("error", "5.1.6 User has moved to joe@new.example")


def test_a_table_that_cannot_answer_is_an_error(tmp_path: Path) -> None:
    for parameter in ("transport_maps", "relocated_maps", "mydestination"):
        with pytest.raises(TableError):
            resolver(**{parameter: f"texthash:{tmp_path}/missing"}).resolve("joe@far.example")


def test_a_change_is_seen_after_forget(tmp_path: Path) -> None:
    names = tmp_path / "names"
    names.write_text("one.example\n")
    found = resolver(mydestination=str(names))
    assert not found.local_domain("two.example")
    names.write_text("one.example two.example\n")
    found.forget()
    assert found.local_domain("two.example")
    assert found.resolve("joe@two.example").address_class is AddressClass.LOCAL


@pytest.mark.parametrize("parameter", ["default_transport", "local_transport", "empty_address_recipient"])
def test_values_that_nothing_could_be_done_with(parameter: str) -> None:
    with pytest.raises(ConfigError, match=r"main\.cf:5: "):
        resolver(**{parameter: ""})


@given(ADDRESSES)
def test_any_address_resolves_and_stays_where_it_is(address: str) -> None:
    """The courier resolves what the receiver resolved: both have to come to the same end."""
    find = resolver().resolve
    found = find(address)
    again = find(found.recipient)
    assert "@" in found.recipient
    if not found.bad:
        assert (again.address_class, again.transport, again.nexthop, again.routed) == (
            found.address_class,
            found.transport,
            found.nexthop,
            found.routed,
        )


@pytest.mark.parametrize(
    ("parameters", "address", "name"),
    [
        ({"default_transport": "error"}, "joe@far.example", "default_transport"),
        ({"default_transport": "error", "relayhost": "[gw.example]"}, "joe@far.example", "default_transport"),
        ({"relay_transport": "retry"}, "joe@relay.example", "relay_transport"),
        ({"local_transport": "error"}, "joe", "local_transport"),
        ({"default_transport": "error:5.7.1 not from here"}, "joe@far.example", ""),
        ({"transport_maps": "inline:{far.example=error}"}, "joe@far.example", ""),
        ({"default_transport": "error"}, "joe@alias.example", ""),
        ({"default_transport": "error"}, "joe@bad..example", ""),
    ],
)
def test_a_transport_without_a_word_is_known_by_its_setting(
    parameters: dict[str, str], address: str, name: str
) -> None:
    chosen = resolver(**parameters)
    rule = chosen.wordless(chosen.resolve(address))
    assert (rule.name if rule else "") == name
    assert rule is None or rule.origin.text == f"{name} = {parameters[name]}"


BY_SENDER = {
    "relayhost": "[relay.example]",
    "relay_domains": "rel.example",
    "sender_dependent_default_transport_maps": (
        "inline:{{a@x.example=slow} {b@x.example=slow:hop} {keep@x.example=dunno} {null@x.example=:hop} {<>=nul}}"
    ),
    "sender_dependent_relayhost_maps": "inline:{{@x.example=[x]:587} {keep@x.example=DUNNO} {<>=nobodys}}",
}


@pytest.mark.parametrize(
    ("sender", "transport", "nexthop"),
    [
        ("a@x.example", "slow", "[x]:587"),
        ("b@x.example", "slow", "hop"),
        ("c@x.example", "smtp", "[x]:587"),
        ("keep@x.example", "smtp", "[relay.example]"),
        ("a@y.example", "smtp", "[relay.example]"),
        ("", "nul", "nobodys"),
        (None, "smtp", "[relay.example]"),
    ],
)
def test_mail_goes_by_its_sender(sender: str | None, transport: str, nexthop: str) -> None:
    found = resolver(**BY_SENDER).resolve("r@far.example", sender)
    assert (found.transport, found.nexthop) == (transport, nexthop)


def test_a_class_with_a_transport_of_its_own_keeps_it() -> None:
    found = resolver(**BY_SENDER)
    relayed = found.resolve("r@rel.example", "a@x.example")
    assert (relayed.transport, relayed.nexthop, relayed.table) == (
        "relay", "[x]:587", "sender_dependent_relayhost_maps",
    )  # fmt: skip
    assert found.resolve("r@mx.example.com", "a@x.example").transport == "local"


def test_a_sender_without_a_transport_puts_off() -> None:
    with pytest.raises(TableError, match="null transport"):
        resolver(**BY_SENDER).resolve("r@far.example", "null@x.example")


def test_users_of_myorigin_are_found_by_name_alone() -> None:
    maps = "inline:{user=slow}"
    found = resolver(myorigin="origin.example", mydestination="", sender_dependent_default_transport_maps=maps)
    assert found.resolve("r@far.example", "user@Origin.example").transport == "slow"
    assert found.resolve("r@far.example", "user@mx.example.com").transport == "smtp"


@given(ADDRESSES)
def test_the_steps_of_routing_lead_to_the_recipient(address: str) -> None:
    found = resolver()
    now = found.rewrite(address)
    for parameter, before, after in found.unrouted(address):
        assert parameter
        assert (before, after != before) == (now, True)
        now = after
    assert now == found.resolve(address).recipient


def test_each_step_of_routing_names_what_made_it() -> None:
    found = resolver()
    assert found.unrouted("joe@far.example") == []
    assert found.unrouted("ann%far.example@mx.example.com") == [
        ("allow_percent_hack", "ann%far.example@mx.example.com", "ann@far.example")
    ]
    assert [step[0] for step in found.unrouted('"ann@far.example"@mx.example.com')] == ["resolve_dequoted_address"]
    assert [step[0] for step in found.unrouted("")] == ["empty_address_recipient", "myhostname"]


def probing(**parameters: str) -> AddressResolver:
    chosen = settings(**(DOMAINS | parameters))
    tables = Tables.of(chosen)
    return open_probe_resolver(chosen, tables, open_resolver(chosen, tables))


def test_probes_go_as_mail_does_unless_they_are_told_otherwise() -> None:
    chosen = settings(**DOMAINS, address_verify_relayhost="$relayhost", relayhost="[out.example]")
    tables = Tables.of(chosen)
    usual = open_resolver(chosen, tables)
    assert open_probe_resolver(chosen, tables, usual) is usual


@pytest.mark.parametrize(
    ("address", "parameters", "transport", "nexthop"),
    [
        ("a@far.example", {"relayhost": "[out.example]", "address_verify_relayhost": ""}, "smtp", "far.example"),
        ("a@far.example", {"address_verify_relayhost": "[in.example]"}, "smtp", "[in.example]"),
        ("a@far.example", {"address_verify_default_transport": "direct"}, "direct", "far.example"),
        ("a@relay.example", {"address_verify_relay_transport": "direct:[x]"}, "direct", "[x]"),
        ("a@box.example", {"address_verify_virtual_transport": "lmtp:unix:/y"}, "lmtp", "unix:/y"),
        ("joe", {"address_verify_local_transport": "error:no"}, "error", "no"),
        (
            "a@far.example",
            {"transport_maps": "inline:{far.example=smtp:x}", "address_verify_transport_maps": ""},
            "smtp",
            "far.example",
        ),
        ("a@far.example", {"address_verify_transport_maps": "inline:{far.example=slow:hop}"}, "slow", "hop"),
        (
            "a@far.example",
            {"address_verify_sender_dependent_relayhost_maps": "inline:{s@x.example=[y]}"},
            "smtp",
            "[y]",
        ),
        (
            "a@far.example",
            {"address_verify_sender_dependent_default_transport_maps": "inline:{s@x.example=slow:hop}"},
            "slow",
            "hop",
        ),
    ],
)
def test_probes_may_go_another_way(address: str, parameters: dict[str, str], transport: str, nexthop: str) -> None:
    found = probing(**parameters).resolve(address, "s@x.example")
    assert (found.transport, found.nexthop) == (transport, nexthop)
    chosen = settings(**(DOMAINS | parameters))
    mail = open_resolver(chosen, Tables.of(chosen)).resolve(address, "s@x.example")
    assert (mail.transport, mail.nexthop) != (transport, nexthop)


def test_what_decided_a_probes_way_is_called_by_its_name() -> None:
    found = probing(address_verify_transport_maps="inline:{far.example=slow:hop}").resolve("a@far.example")
    assert found.table == "address_verify_transport_maps"
    with pytest.raises(ConfigError, match="address_verify_default_transport: null transport"):
        probing(address_verify_default_transport=":hop")
