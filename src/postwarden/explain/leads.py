"""Where the entries of an alias table lead, all of them at once: dead ends, loops, other people's servers."""

import re
from collections.abc import Iterator

from msgspec import Struct

from postwarden.addressing.aliases import Destination, Kind, destinations
from postwarden.addressing.resolve import AddressClass
from postwarden.config.errors import Problem
from postwarden.explain.gateway import Gateway
from postwarden.mail.decision import Origin

PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*(?:@[A-Za-z0-9][A-Za-z0-9.-]*)?\Z")
_PLAIN_LIST = re.compile(r"[A-Za-z0-9_@.+, -]+\Z")


class Entry(Struct, frozen=True):
    """One name and whom it stands for."""

    name: str
    """In the form in which tables compare names."""
    targets: tuple[Destination, ...]
    origin: Origin
    """Without its text: a million of them are kept."""
    source: str = ""
    """Who has it from: the name of a source of the merge."""

    @property
    def virtual(self) -> bool:
        """A whole address: an entry of virtual(5), not of aliases(5)."""
        return "@" in self.name


def targets_of(value: str) -> list[Destination]:
    """As `destinations`, which costs 20 µs where a list of plain addresses needs 2."""
    if _PLAIN_LIST.match(value):
        words = [word.strip() for word in value.split(",")]
        if all(map(PLAIN.match, words)):
            return [Destination(Kind.ADDRESS, word) for word in words]
    return destinations(value)


def remarks(entry: Entry, gateway: Gateway) -> list[Problem]:
    """What the operator should hear of targets that are permitted. Raises TableError."""
    found = []
    for target in entry.targets:
        if target.kind is not Kind.ADDRESS or "@" not in target.value:
            continue
        resolved = gateway.resolve(target.value)
        if resolved.address_class is AddressClass.DEFAULT:
            domain = resolved.recipient.rpartition("@")[2]
            if not gateway.inside(resolved):
                text = f"{entry.name}: mail leaves the organization: {target.value}"
            else:
                text = f"{entry.name}: {domain} is neither in mydestination nor in relay_domains: {target.value}"
            found.append(Problem(entry.origin, "warning", text))
    return found


def _local_names(entry: Entry, gateway: Gateway) -> Iterator[tuple[str, ...]]:
    """For each target of this machine, the names that local delivery will look up."""
    for target in entry.targets:
        if target.kind is Kind.ADDRESS and not target.value.startswith("\\"):
            resolved = gateway.resolve(target.value)
            if resolved.address_class is AddressClass.LOCAL:
                yield gateway.names_of(resolved.recipient.rpartition("@")[0].lower())


def nowhere(table: dict[str, Entry], gateway: Gateway) -> Iterator[Problem]:
    """Targets that are neither an alias nor an account."""
    for entry in table.values():
        for names in _local_names(entry, gateway):
            own = entry.name in names
            known = not own and any(name in table or gateway.own_alias(name) for name in names)
            if not known and gateway.user(names[-1]) is None:
                text = f"{entry.name}: dead end: {names[0]} is neither an alias nor a user here"
                yield Problem(entry.origin, "warning", text)


def loops(table: dict[str, Entry], gateway: Gateway) -> Iterator[Problem]:
    """Aliases that lead to themselves over others. Iterative: a chain of a million is no deeper than one of two."""
    done: set[str] = set()
    for start in table:
        if start in done or "@" in start:
            continue
        path: list[str] = [start]
        places = {start: 0}
        ahead = [_next(table, start, gateway)]
        while ahead:
            name = next(ahead[-1], None)
            if name is None:
                ahead.pop()
                done.add(last := path.pop())
                del places[last]
            elif name in places:
                chain = " -> ".join([*path[places[name] :], name])
                yield Problem(table[name].origin, "warning", f"{name}: loop: {chain}")
            elif name not in done:
                places[name] = len(path)
                path.append(name)
                ahead.append(_next(table, name, gateway))


def _next(table: dict[str, Entry], name: str, gateway: Gateway) -> Iterator[str]:
    """An alias in its own list means the user: no loop."""
    entry = table[name]
    for names in _local_names(entry, gateway):
        found = next((n for n in names if n in table), None)
        if found is not None and found != name:
            yield found
