from msgspec.structs import replace
from tests.unit.schedule.route import Route

from postwarden.mail.decision import BUILT_IN, Rule
from postwarden.mail.envelope import Envelope, Recipient
from postwarden.mail.queue import Entry
from postwarden.mail.status import Status
from postwarden.schedule.planning import Plan, Planner
from postwarden.schedule.scheduler import TransportLimits

LIMITS = {
    "smtp": TransportLimits("smtp", "carrier", recipients=3),
    "relay": TransportLimits("relay", "carrier", recipients=0),
    "local": TransportLimits("local", "agent", recipients=1),
}


class Resolver:
    def resolve(self, recipient: str, sender: str | None = None) -> Route:
        _local, _, domain = recipient.partition("@")
        if domain == "fault":
            raise LookupError
        transport = {"here": "local", "inside": "relay", "lost": "lost", "held": "held"}.get(domain, "smtp")
        return Route(transport, domain, recipient.replace("old", "new"))


def plan(*addresses: str, skip: tuple[int, ...] = (), delimiter: str = "+-") -> Plan:
    recipients = tuple(Recipient(address) for address in addresses)
    envelope = Envelope("ID", 0.0, "", recipients, 1)
    still = tuple(n for n in range(len(addresses)) if n not in skip)
    planner = Planner(Resolver(), LIMITS.get, faults=(LookupError,), delimiter=delimiter, deferred_transports=("held",))
    return planner.plan(Entry((1, 1), envelope, still, 0, 0))


def shape(made: Plan) -> list[tuple[str, str, str, tuple[int, ...]]]:
    return [(g.limits.name, g.nexthop, g.key, g.indices) for g in made.groups]


def test_groups_of_at_most_the_recipient_limit() -> None:
    made = plan(*(f"u{n}@x" for n in range(7)), "v@y")
    assert shape(made) == [
        ("smtp", "x", "x", (0, 1, 2)),
        ("smtp", "x", "x", (3, 4, 5)),
        ("smtp", "x", "x", (6,)),
        ("smtp", "y", "y", (7,)),
    ]


def test_no_limit_and_only_what_is_open() -> None:
    assert shape(plan(*(f"u{n}@inside" for n in range(4)), skip=(1,))) == [("relay", "inside", "inside", (0, 2, 3))]


def test_a_destination_for_each_mailbox() -> None:
    made = plan("Ann@here", "ann+list@here", "bob-x@here", "+odd@here")
    assert [g.key for g in made.groups] == ["ann@here", "ann@here", "bob@here", "+odd@here"]
    assert {g.nexthop for g in made.groups} == {"here"}


def test_what_cant_be_routed_is_refused_and_the_rest_goes() -> None:
    made = plan("a@fault", "b@lost", "c@x", "d@inside", "e@here")
    assert [(index, status.code) for index, status in made.refused] == [(0, "4.3.0"), (1, "4.3.0")]
    assert len(made.groups) == 3


def test_one_recipient_alone() -> None:
    assert shape(plan("A@X")) == [("smtp", "X", "x", (0,))]
    assert plan("a@fault").refused == [(0, Status("4.3.0", "address resolver failure"))]


def test_the_resolver_s_form_of_an_address_is_delivered_to() -> None:
    made = plan("old@x", "plain@x")
    assert [r.address for r in made.groups[0].recipients] == ["new@x", "plain@x"]
    assert [g.recipients[0].address for g in plan("old@x").groups] == ["new@x"]


def test_the_end_of_the_line_is_a_mailbox_of_ours_alone() -> None:
    planner = Planner(
        Resolver(), LIMITS.get, faults=(LookupError,), end_of_line=lambda address: address.startswith("double-bounce@")
    )
    recipients = (Recipient("double-bounce@here"), Recipient("double-bounce@x"), Recipient("ann@here"))
    made = planner.plan(Entry((1, 1), Envelope("ID", 0.0, "", recipients, 1), (0, 1, 2), 0, 0))
    assert made.refused == [(0, Status("2.0.0", "undeliverable postmaster notification discarded"))]
    assert [group.indices for group in made.groups] == [(1,), (2,)]


def filtered(content_filter: str, nexthop: str = "", flushed: bool = False) -> Plan:
    """Of a message to people at two domains, and one whom nobody can route."""
    recipients = (Recipient("old@x"), Recipient("v@y"), Recipient("w@fault"))
    planner = Planner(
        Resolver(), LIMITS.get, faults=(LookupError,), deferred_transports=("held", "relay"), filter_nexthop=nexthop
    )
    envelope = Envelope("ID", 0.0, "", recipients, 1, filter=content_filter)
    return planner.plan(Entry((1, 1), envelope, (0, 1, 2), 0, 0), flushed=flushed)


def test_a_content_filter_gets_the_whole_message() -> None:
    made = filtered("smtp:[127.0.0.1]:10024")
    assert shape(made) == [("smtp", "[127.0.0.1]:10024", "[127.0.0.1]:10024", (0, 1, 2))]
    assert [r.address for r in made.groups[0].recipients] == ["old@x", "v@y", "w@fault"]
    assert made.refused == []


def test_a_content_filter_without_a_next_hop() -> None:
    assert [g.nexthop for g in filtered("smtp:").groups] == ["x", "y", "fault"]
    assert [g.nexthop for g in filtered("smtp", "filter.example").groups] == ["filter.example"]


def test_a_content_filter_that_is_not_there_keeps_the_mail() -> None:
    assert [status.code for _, status in filtered("lost:x").refused] == ["4.3.0"] * 3
    assert [status.code for _, status in filtered("relay:x").refused] == ["4.3.2"] * 3
    assert filtered("relay:x", flushed=True).refused == []


def test_a_transport_of_a_table_is_named_with_its_entry() -> None:
    rule = Rule("hash:/etc/postfix/transport", "inside", BUILT_IN)

    class Tables(Resolver):
        def resolve(self, recipient: str, sender: str | None = None) -> Route:
            route = super().resolve(recipient, sender)
            return replace(route, table="transport_maps", rule=rule) if route.transport == "relay" else route

    planner = Planner(Tables(), LIMITS.get, faults=(LookupError,))
    for addresses, expected in ((("a@x",), []), (("a@inside",), ["a@inside"]), (("a@inside", "b@x"), ["a@inside"])):
        envelope = Envelope("ID", 0.0, "", tuple(map(Recipient, addresses)), 1)
        made = planner.plan(Entry((1, 1), envelope, tuple(range(len(addresses))), 0, 0))
        assert [one.before for one in made.remade] == expected
        assert all((one.after, one.rule) == (("relay:inside",), rule) for one in made.remade)
