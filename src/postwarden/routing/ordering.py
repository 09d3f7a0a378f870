"""Which address goes first (RFC 5321 5.1): pure, from what DNS said to the list of hosts to try."""

import random
from collections.abc import Collection, Sequence

from msgspec import Struct

from postwarden.mail.host import Host
from postwarden.mail.status import Status
from postwarden.routing.params import Routing
from postwarden.wire.dns import Kind


class Found(Struct, frozen=True):
    """The addresses of one destination, by rising preference, as DNS gave them."""

    domain: str
    hosts: tuple[Host, ...]
    best: int = 0
    """The best preference of all its mail exchangers, those included whose address was not found."""
    exchangers: bool = False
    """They come from MX records."""


class Loop(Exception):
    """This host is the best mail exchanger for the destination, or is the destination."""

    def __init__(self, status: Status) -> None:
        super().__init__(status.text)
        self.status = status


def without_self(found: Found, own: Collection[str]) -> tuple[tuple[Host, ...], bool]:
    """(the hosts that are preferred to this one, whether it is among the mail exchangers).

    Mail for a worse or equally good exchanger must not be handed on: it would come back (RFC 5321 5.1). Raises Loop.
    """
    self_at = next((host for host in found.hosts if host.address in own), None)
    if self_at is None:
        return found.hosts, False
    better = tuple(host for host in found.hosts if host.preference < self_at.preference)
    if better and found.exchangers:
        return better, True
    if found.exchangers and found.best != found.hosts[0].preference:
        # Somebody is preferred to us and can't be found just now: a loop it is not.
        raise Loop(Status("4.4.4", f"unable to find primary relay for {found.domain}"))
    raise Loop(Status("5.4.6", f"mail for {found.domain} loops back to myself"))


def arrange(hosts: Sequence[Host], routing: Routing, rng: random.Random) -> tuple[Host, ...]:
    """The hosts in the order in which to try them, no more than `routing.address_limit`."""
    ordered = list(hosts)
    if len(ordered) > 1:
        if routing.shuffle:
            rng.shuffle(ordered)
        preferred = routing.preference
        if preferred is None:
            ordered.sort(key=lambda host: host.preference)
        else:
            ordered.sort(key=lambda host: (host.preference, family(host.address) != preferred))
        if routing.address_limit > 0:
            if routing.balance:
                ordered = balanced(ordered, routing.address_limit)
            del ordered[routing.address_limit :]
    return tuple(ordered)


def balanced(hosts: list[Host], limit: int) -> list[Host]:
    """`hosts` cut to `limit` so that neither address family crowds out the other: each keeps half of the places, or
    what it needs of its half. A destination with many addresses of a family that can't be reached from here would
    else never be reached over the other."""
    four = sum(family(host.address) == Kind.A for host in hosts)
    six = len(hosts) - four
    if not four or not six or len(hosts) <= limit:
        return hosts
    if six <= limit // 2:
        room = {Kind.AAAA: six, Kind.A: limit - six}
    elif four <= limit // 2:
        room = {Kind.A: four, Kind.AAAA: limit - four}
    else:
        half = (limit + (family(hosts[0].address) == Kind.A)) // 2
        room = {Kind.A: half, Kind.AAAA: limit - half}
    kept = []
    for host in hosts:
        kind = family(host.address)
        if room[kind]:
            room[kind] -= 1
            kept.append(host)
    return kept


def family(address: str) -> Kind:
    return Kind.AAAA if ":" in address else Kind.A
