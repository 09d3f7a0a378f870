"""Where mail to an address goes: the tree of what it becomes, and the way out of each of its ends."""

import asyncio
import os
from collections.abc import Iterator
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from postwarden.addressing.resolve import open_probe_resolver
from postwarden.cli.explaining.paint import Paint
from postwarden.config.errors import ConfigError
from postwarden.config.settings import Service, Settings
from postwarden.config.values import split
from postwarden.config.view import view
from postwarden.deliver.local.ports import Identity
from postwarden.explain.drawing import drawn
from postwarden.explain.ends import MAILBOX
from postwarden.explain.gateway import Gateway
from postwarden.explain.mailboxes import AsMyself
from postwarden.explain.opening import open_outward, open_places, open_sender, open_walker
from postwarden.explain.places import Places
from postwarden.explain.route import Fate, Reason, Route, Router
from postwarden.explain.tree import Node
from postwarden.explain.ways import Hosts, Ways
from postwarden.mail.decision import Origin, Pending
from postwarden.mail.remade import Remade
from postwarden.mail.status import Status
from postwarden.net.clock import LoopClock
from postwarden.net.names import open_names
from postwarden.policy.listed import Listed
from postwarden.policy.params import PolicyParams
from postwarden.roles.identity import RootIdentity, SystemAccounts
from postwarden.routing.opening import open_finder
from postwarden.tables.opening import Tables
from postwarden.tables.table import Found, TableError

PATIENCE = 20.0
"""Seconds for the hosts of one next hop."""
_ALIKE = 5
_DONE_HERE = frozenset(("mailbox", "file", "command", "nowhere"))
"""Ends that local delivery has, and no transport of another."""


class Answer:
    """What is known of one address."""

    def __init__(
        self, address: str, trees: list[Node], routes: dict[str, Route], here: list[Route], sender: "Sender | None"
    ) -> None:
        """`trees`: of the address, and of automatic copies. `routes`: by the text of the end. `here`: recipients that
        local delivery takes."""
        self.address = address
        self.trees = trees
        self.routes = routes
        self.here = here
        self.sender = sender
        self.ends = [way[-1] for tree in trees for way in tree.ends()]

    @property
    def good(self) -> bool:
        """Mail gets to everybody."""
        lost = [node for node in self.ends if node.note or (node.end is not None and node.end.kind == "nowhere")]
        return all(route.fate.good for route in self.routes.values()) and not lost


class Sender(Struct, frozen=True):
    """Whose mail it is."""

    given: str
    stored: str
    """What content makes of it."""
    steps: tuple[tuple[Remade, Reason], ...] = ()
    fault: str = ""


def explain_address(settings: Settings, address: str, sender: str | None = None, *, offline: bool) -> Answer:
    """`sender`: of the mail, where its way may depend on that. `offline`: nobody on the network is asked.
    Raises ConfigError, TableError."""
    gateway, places = Gateway(settings), open_places(settings)
    whose = None if sender is None else _sender(settings, gateway, places, sender)
    walker = open_walker(settings, gateway, SystemAccounts(), _identity(), standard=True)
    trees = [walker.walk(address), *walker.copies(address, "" if whose is None else whose.stored)]
    tables = Tables.of(settings)
    listed = Listed(view(PolicyParams, settings), tables, gateway.resolver, settings.origin)
    ways = Ways(settings, tables, None if offline else HostLookup(settings))
    probing = open_probe_resolver(settings, tables, gateway.resolver)
    router = Router(
        settings,
        gateway.resolver,
        listed,
        places,
        ways,
        open_outward(settings, tables, gateway),
        prober=None if probing is gateway.resolver else probing,
    )
    stored = None if whose is None else whose.stored
    routes: dict[str, Route] = {}
    for node in (way[-1] for tree in trees for way in tree.ends()):
        if _leaves(node) and node.text not in routes:
            routes[node.text] = _ended(router.route(node.text, stored), node)
    return Answer(address, trees, routes, [router.here(one) for one in walker.here], whose)


def _ended(route: Route, node: Node) -> Route:
    """With the mailbox that a transport of this machine writes to."""
    if node.end is None or node.end.kind != MAILBOX or not route.fate.good:
        return route
    return replace(route, fate=Fate("delivered", Reason(node.end.text)))


def _sender(settings: Settings, gateway: Gateway, places: Places, given: str) -> Sender:
    try:
        stored, steps = open_sender(settings, gateway)(given)
    except (TableError, Pending) as error:
        return Sender(given, given, (), f"can't be looked up now: {error}")
    return Sender(given, stored, tuple((step, _step(step, places)) for step in steps))


def _step(step: Remade, places: Places) -> Reason:
    rule = step.rule
    text = f"{step.before} becomes {step.after[0]}, by {step.parameter}"
    if ":" not in rule.name:
        return Reason(text, rule.origin)
    place = places.of(Found("", rule.argument, rule.name, rule.origin if rule.origin.line else None))
    return Reason(f"{text}: {rule.name} has {rule.argument}", place)


def drawn_tree(settings: Settings, address: str, *, plain: bool) -> Iterator[str]:
    """What an address becomes, with file and line of each step. What can't be known is said."""
    try:
        yield from drawn(
            open_walker(settings, Gateway(settings), SystemAccounts(), _identity()).walk(address), plain=plain
        )
    except (ConfigError, TableError) as error:
        yield f"{address}: {error}"


def _leaves(node: Node) -> bool:
    return node.end is not None and (node.end.routed or node.end.kind not in _DONE_HERE)


def _identity() -> Identity:
    return RootIdentity(0, 0) if os.geteuid() == 0 else AsMyself()


class HostLookup:
    """`explain.ways.Lookup`: the carrier's own search for hosts, on a loop of its own."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def __call__(self, service: Service, nexthop: str) -> Hosts | Status:
        return asyncio.run(self._find(service, nexthop))

    async def _find(self, service: Service, nexthop: str) -> Hosts | Status:
        settings = self._settings
        loop = asyncio.get_running_loop()
        names = open_names(loop, LoopClock(loop), tuple(settings.text("postwarden_dns_servers").split()))
        own = (*settings.own_addresses(), *split(settings.text("proxy_interfaces")))
        finder = open_finder(settings, service, names, Tables.of(settings), own=own)
        found: asyncio.Future[Hosts | Status] = loop.create_future()
        finder.find(nexthop, lambda hosts: None if found.done() else found.set_result(hosts))
        try:
            return await asyncio.wait_for(found, PATIENCE)
        except TimeoutError:
            return Status("4.4.3", f"DNS gave no answer for {nexthop} in {PATIENCE:.0f} seconds")
        finally:
            names.close()


# For people


def lines(answer: Answer, paint: Paint, *, plain: bool) -> Iterator[str]:
    """`plain`: for a terminal that has no line characters."""
    said = set[str]()
    for node in answer.ends:
        if node.text in said:
            continue
        said.add(node.text)
        if _leaves(node):
            yield from _verdict(answer.routes[node.text], paint)
        elif node.end is not None:
            text = f"{node.text or '<>'}: {node.end.text}"
            yield paint.bad(f"{text}: mail does not get there") if node.end.kind == "nowhere" else paint.good(text)
        elif node.note:
            yield paint.bad(f"{node.text}: {node.note}")
    yield ""
    if answer.sender is not None:
        yield from _of_sender(answer.sender, paint)
    for tree in answer.trees:
        yield from drawn(tree, plain=plain)
    yield from _taken_here(answer.here, paint)
    for route in answer.routes.values():
        yield ""
        yield paint.strong(route.recipient)
        for reason in route.reasons:
            yield f"  {_said(reason)}"
        for host in route.hosts:
            yield f"  host {host}"
        if route.tls is not None:
            yield f"  TLS {_said(route.tls)}"


def _taken_here(routes: list[Route], paint: Paint) -> Iterator[str]:
    """Local delivery has the same reasons for most."""
    alike: dict[tuple[Reason, ...], list[str]] = {}
    for route in routes:
        alike.setdefault(route.reasons, []).append(route.recipient)
    for reasons, recipients in alike.items():
        yield ""
        more = f" and {len(recipients) - _ALIKE} more" if len(recipients) > _ALIKE else ""
        yield paint.strong(", ".join(recipients[:_ALIKE]) + more)
        for reason in reasons:
            yield f"  {_said(reason)}"


def _of_sender(sender: Sender, paint: Paint) -> Iterator[str]:
    if sender.fault:
        yield paint.bad(f"from <{sender.given}>: {sender.fault}")
    elif sender.steps:
        yield f"from <{sender.given}>, which is stored as <{sender.stored}>"
        for _, reason in sender.steps:
            yield f"  {_said(reason)}"
    else:
        yield f"from <{sender.given}>"


def _verdict(route: Route, paint: Paint) -> Iterator[str]:
    fate = route.fate
    text = f"{route.recipient}: {fate.word}: {_said(fate.why)}"
    yield paint.good(text) if fate.good else paint.bad(text)
    if fate.cure:
        yield f"  to change it: {fate.cure}"


def _said(reason: Reason) -> str:
    return f"{reason.text} ({reason.origin})" if reason.origin.file else reason.text


# For programs


def values(answer: Answer) -> dict[str, Any]:
    return {
        "address": answer.address,
        "delivered": answer.good,
        "tree": _node(answer.trees[0]),
        "copies": [_node(tree) for tree in answer.trees[1:]],
        "sender": None if answer.sender is None else _sender_values(answer.sender),
        "local": [_route(route) for route in answer.here],
        "routes": [_route(route) for route in answer.routes.values()],
    }


def _sender_values(sender: Sender) -> dict[str, Any]:
    steps = [
        {"before": step.before, "after": step.after[0], "by": step.parameter, "origin": _place(reason.origin)}
        for step, reason in sender.steps
    ]
    return {"given": sender.given, "stored": sender.stored, "steps": steps, "fault": sender.fault}


def _node(node: Node) -> dict[str, Any]:
    found: dict[str, Any] = {"text": node.text}
    if node.how:
        found["by"] = node.how
    if node.place:
        found["origin"] = node.place
    if node.end is not None:
        found["end"] = {"kind": node.end.kind, "text": node.end.text}
    if node.note:
        found["note"] = node.note
    if node.children:
        found["becomes"] = [_node(child) for child in node.children]
    return found


def _route(route: Route) -> dict[str, Any]:
    return {
        "recipient": route.recipient,
        "class": route.address_class,
        "transport": route.transport,
        "nexthop": route.nexthop,
        "fate": _fate(route.fate),
        "reasons": [_reason(reason) for reason in route.reasons],
        "hosts": list(route.hosts),
        "tls": _reason(route.tls) if route.tls is not None else None,
    }


def _fate(fate: Fate) -> dict[str, Any]:
    return {"word": fate.word, "why": _reason(fate.why), "cure": fate.cure}


def _reason(reason: Reason) -> dict[str, Any]:
    return {"text": reason.text, "origin": _place(reason.origin)}


def _place(origin: Origin) -> str | None:
    return str(origin) if origin.file else None
