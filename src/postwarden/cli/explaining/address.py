"""Where mail to an address goes: the tree of what it becomes, and the way out of each of its ends."""

import asyncio
import os
from collections.abc import Iterator
from typing import Any

from postwarden.cli.explaining.paint import Paint
from postwarden.config.errors import ConfigError
from postwarden.config.settings import Service, Settings
from postwarden.config.values import split
from postwarden.config.view import view
from postwarden.deliver.local.ports import Identity
from postwarden.explain.drawing import drawn
from postwarden.explain.gateway import Gateway
from postwarden.explain.mailboxes import AsMyself
from postwarden.explain.opening import open_places, open_walker
from postwarden.explain.route import Fate, Reason, Route, Router
from postwarden.explain.tree import Node
from postwarden.explain.ways import Hosts, Ways
from postwarden.mail.decision import Origin
from postwarden.mail.status import Status
from postwarden.net.clock import LoopClock
from postwarden.net.names import open_names
from postwarden.policy.listed import Listed
from postwarden.policy.params import PolicyParams
from postwarden.roles.identity import RootIdentity, SystemAccounts
from postwarden.routing.opening import open_finder
from postwarden.tables.opening import Tables
from postwarden.tables.table import TableError

PATIENCE = 20.0
"""Seconds for the hosts of one next hop."""
_DONE_HERE = frozenset(("mailbox", "file", "command", "nowhere"))
"""Ends that local delivery has, and no transport of another."""


class Answer:
    """What is known of one address."""

    def __init__(self, address: str, tree: Node, routes: list[Route]) -> None:
        self.address = address
        self.tree = tree
        self.routes = routes
        self.ends = [way[-1] for way in tree.ends()]

    @property
    def good(self) -> bool:
        """Mail gets to everybody."""
        lost = [node for node in self.ends if node.note or (node.end is not None and node.end.kind == "nowhere")]
        return all(route.fate.good for route in self.routes) and not lost


def explain_address(settings: Settings, address: str, sender: str | None = None, *, offline: bool) -> Answer:
    """`sender`: of the mail, where its way may depend on that. `offline`: nobody on the network is asked.
    Raises ConfigError, TableError."""
    gateway = Gateway(settings)
    tree = open_walker(settings, gateway, SystemAccounts(), _identity()).walk(address)
    tables = Tables.of(settings)
    listed = Listed(view(PolicyParams, settings), tables, gateway.resolver, settings.origin)
    ways = Ways(settings, tables, None if offline else HostLookup(settings))
    router = Router(settings, gateway.resolver, listed, open_places(settings), ways)
    leaving = [node.text for node in (way[-1] for way in tree.ends()) if _leaves(node)]
    return Answer(address, tree, [router.route(text, sender) for text in dict.fromkeys(leaving)])


def drawn_tree(settings: Settings, address: str, *, plain: bool) -> Iterator[str]:
    """What an address becomes, with file and line of each step. What can't be known is said."""
    try:
        yield from drawn(
            open_walker(settings, Gateway(settings), SystemAccounts(), _identity()).walk(address), plain=plain
        )
    except (ConfigError, TableError) as error:
        yield f"{address}: {error}"


def _leaves(node: Node) -> bool:
    return node.end is not None and node.end.kind not in _DONE_HERE


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
    for route in answer.routes:
        yield from _verdict(route, paint)
    for node in answer.ends:
        if node.end is not None and node.end.kind in _DONE_HERE:
            text = f"{node.text or '<>'}: {node.end.text}"
            yield paint.bad(f"{text}: mail does not get there") if node.end.kind == "nowhere" else paint.good(text)
        elif node.note and node.end is None:
            yield paint.bad(f"{node.text}: {node.note}")
    yield ""
    yield from drawn(answer.tree, plain=plain)
    for route in answer.routes:
        yield ""
        yield paint.strong(route.recipient)
        for reason in route.reasons:
            yield f"  {_said(reason)}"
        for host in route.hosts:
            yield f"  host {host}"
        if route.tls is not None:
            yield f"  TLS {_said(route.tls)}"


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
        "tree": _node(answer.tree),
        "routes": [_route(route) for route in answer.routes],
    }


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
