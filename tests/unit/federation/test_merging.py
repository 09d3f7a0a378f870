"""Whose entries count: rights, conflicts, and where names lead."""

import pytest

from postwarden.config.errors import Problem
from postwarden.explain.gateway import Gateway
from postwarden.federation.entries import read_entries
from postwarden.federation.merging import Merged, merge
from postwarden.federation.sources import Federation, Push, Source
from postwarden.mail.decision import BUILT_IN
from postwarden.testing.config import settings

ACCOUNTS = {"joe": 1001, "ann": 1002, "root": 0, "www-data": 33}


def source(name: str = "sales", **changes: object) -> Source:
    values: dict[str, object] = {
        "arrives": Push(f"/{name}"), "names": ("sales", "sales-*", "all"), "domains": (),
        "hosts": ("mail.sales.example",),
        "files": (), "includes": (), "commands": (), "priority": 100, "shrink_limit": 20, "end_mark": "",
        "origin": BUILT_IN,
    } | changes  # fmt: skip
    return Source(name, **values)  # type: ignore[arg-type]


def federation(*sources: Source, virtual: str = "") -> Federation:
    return Federation("/f", sources, "hash:/merged", virtual, "/d", 300, (), 100, 1 << 20, 60)


def gateway(**parameters: str) -> Gateway:
    given = {"alias_maps": "inline:{ops=joe}", "relay_domains": "mail.sales.example"} | parameters
    return Gateway(settings(mydestination="mx.example.com, example.com", **given), (), (), ACCOUNTS.get)


def merged(text: str, owner: Source | None = None, *, virtual: str = "", **parameters: str) -> Merged:
    owner = owner or source()
    entries = read_entries(text.encode(), "f", owner.name)
    return merge(federation(owner, virtual=virtual), {owner.name: entries}, gateway(**parameters), {})


def said(problems: tuple[Problem, ...], severity: str = "error") -> list[str]:
    return [f"{p.origin.line}: {p.text}" for p in problems if p.severity == severity]


def test_what_is_permitted_counts_without_a_word() -> None:
    found = merged("sales: joe, ann@mail.sales.example, \\joe\nsales-fr: sales\nowner-sales: ann\nsales-request: ann\n")
    assert sorted(found.entries) == ["owner-sales", "sales", "sales-fr", "sales-request"]
    assert not found.problems


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("plant: joe", "plant: sales may not define this name"),
        ("root: joe", "root: sales may not define this name"),
        ("sales: |/bin/sh", "may not run a command: |/bin/sh"),
        ('sales: joe, "|/bin/sh -c x"', "may not run a command: |/bin/sh -c x"),
        ("sales: /etc/passwd", "may not have mail written to /etc/passwd"),
        ("sales: :include:/etc/shadow", "may not include /etc/shadow"),
        ('sales: ":include:/etc/shadow"', "may not include /etc/shadow"),
        ("sales: x@evil.example", "evil.example, which is none of the hosts"),
        ("sales: x@sub.mail.sales.example", "none of the hosts"),
        ("sales: \\x@evil.example", "evil.example, which is none of the hosts"),
        ("sales: x%evil.example", "evil.example, which is none of the hosts"),
        ("sales: x%evil.example@example.com", "evil.example, which is none of the hosts"),
        ("sales: evil.example!x", "evil.example, which is none of the hosts"),
        ("sales: <@mail.sales.example:x@evil.example>", "evil.example, which is none of the hosts"),
        ("sales: (x@mail.sales.example) x@evil.example", "evil.example, which is none of the hosts"),
        ('sales: "x@mail.sales.example"@evil.example', "evil.example, which is none of the hosts"),
        ("sales: x@[203.0.113.1]", "none of the hosts"),
        ("sales: <>", "an empty address"),
        ("sales: x@-bad-", "no address"),
        ("sales: (nobody)", "nobody is behind this name"),
        ("joe@sales.example: ann", "virtual_table is not set"),
    ],
)
def test_an_intruders_entry_is_left_out_whole(line: str, text: str) -> None:
    found = merged(f"# x\n{line}\nsales-ok: joe\n")
    assert list(found.entries) == ["sales-ok"]
    assert any(text in one and one.startswith("2: left out: ") for one in said(found.problems))


def test_a_pattern_gives_no_name_of_the_system_away() -> None:
    text = (
        "root: joe\npostmaster: joe\nwww-data: joe\nmailer-daemon: joe\nowner-root: joe\nanything: joe\nroot+x: ann\n"
    )
    assert list(merged(text, source(names=("*",)), recipient_delimiter="+").entries) == ["anything"]
    assert "root" in merged(text, source(names=("*", "root"))).entries


def test_pipes_files_and_lists_where_they_are_granted() -> None:
    owner = source(commands=("/usr/bin/x -a",), files=("/srv/sales/*",), includes=("/srv/lists/sales*",))
    good = 'sales: "|/usr/bin/x -a", /srv/sales/box, :include:/srv/lists/sales-all\n'
    assert "sales" in merged(good, owner).entries
    for bad in ('"|/usr/bin/x -a; id"', '"|/usr/bin/x"', "/srv/sales/../../etc/passwd", ":include:/srv/lists/plant"):
        assert not merged(f"sales: {bad}\n", owner).entries


def test_addresses_of_own_domains() -> None:
    owner = source(domains=("sales.example",), names=("sales",))
    names = ("joe@sales.example", "@sales.example", "x@other.example", "joe@example.com", "sales@example.com")
    text = "".join(f"{name}: joe\n" for name in names)
    found = merged(text, owner, virtual="hash:/v")
    assert sorted(found.entries) == ["@sales.example", "joe@sales.example"]
    found = merged(text, source(domains=("example.com",), names=("sales",)), virtual="hash:/v")
    assert sorted(found.entries) == ["sales@example.com"]
    assert not merged(
        "joe@sales.example: /x\n", source(domains=("sales.example",), files=("/*",)), virtual="h:/v"
    ).entries


def both(one: Source, two: Source, installed: dict[str, str] | None = None, value: str = "ann") -> Merged:
    given = {
        one.name: read_entries(b"all: joe\n", "one", one.name),
        two.name: read_entries(f"all: {value}\n".encode(), "two", two.name),
    }
    return merge(federation(one, two), given, gateway(), installed or {})


def test_a_conflict_is_decided_by_priority_then_by_who_has_it_then_by_order() -> None:
    one, two = source("one"), source("two")
    assert both(one, two).entries["all"].source == "one"
    assert both(one, two, {"all": "two"}).entries["all"].source == "two"
    assert both(one, source("two", priority=1), {"all": "one"}).entries["all"].source == "two"
    (text,) = said(both(one, two, {"all": "two"}).problems)
    assert text == "1: conflict: all: two has it now, at two:1; this line is left out"


def test_two_owners_that_say_the_same_do_not_quarrel() -> None:
    found = both(source("one"), source("two"), value="joe")
    assert not said(found.problems)
    assert said(found.problems, "warning") == ["1: all: one says the same at one:1"]


def test_where_names_lead() -> None:
    text = "sales: sales-nobody\nsales-a: sales-b\nsales-b: sales-c, joe\nsales-c: sales-a\n"
    found = merged(f"{text}sales-d: ops, joe+x\nsales-d: ann\n", recipient_delimiter="+")
    assert not said(found.problems)
    assert said(found.problems, "warning") == [
        "6: sales-d: stands there twice: the first counts",
        "1: sales: dead end: sales-nobody is neither an alias nor a user here",
        "2: sales-a: loop: sales-a -> sales-b -> sales-c -> sales-a",
    ]


def test_an_alias_in_its_own_list_is_the_user() -> None:
    assert not merged("sales-x: \\joe\njoe: joe, ann\n", source(names=("joe", "sales-*"))).problems
    found = merged("sales: sales\n")
    assert said(found.problems, "warning") == ["1: sales: dead end: sales is neither an alias nor a user here"]


def test_targets_that_are_not_relayed_or_leave() -> None:
    owner = source(hosts=("other.example", "x.example.com"))
    found = merged("sales: a@other.example\nsales-x: a@x.example.com\n", owner, relay_domains="")
    assert said(found.problems, "warning") == [
        "1: sales: mail leaves the organization: a@other.example",
        "2: sales-x: x.example.com is neither in mydestination nor in relay_domains: a@x.example.com",
    ]


def test_a_name_that_the_gateway_has_itself() -> None:
    found = merged("ops: ann\n", source(names=("ops",)))
    assert ["ops: the gateway's own tables have it" in text for text in said(found.problems, "warning")] == [True]


def test_a_long_chain_is_no_deep_recursion() -> None:
    text = "".join(f"sales-{n}: sales-{n + 1}\n" for n in range(20_000)) + "sales-20000: joe\n"
    assert not merged(text).problems
