"""From the entries of all sources to the merged tables: who gets a name that two want, and where names lead."""

from collections.abc import Iterator, Mapping

from msgspec import Struct

from postwarden.config.errors import Problem
from postwarden.explain.gateway import Gateway
from postwarden.explain.leads import Entry, loops, nowhere, remarks
from postwarden.federation.rights import objections
from postwarden.federation.sources import Federation, Source


class Merged(Struct, frozen=True):
    """What is to be installed."""

    entries: dict[str, Entry]
    problems: tuple[Problem, ...]
    """`error`: an entry was left out; `warning`: it counts."""


def merge(
    federation: Federation, given: Mapping[str, list[Entry]], gateway: Gateway, installed: Mapping[str, str]
) -> Merged:
    """`given`: entries by source. `installed`: by name, the source that has it now. Raises TableError."""
    problems: list[Problem] = []
    table: dict[str, Entry] = {}
    virtual = bool(federation.virtual_table)
    ordered = sorted(federation.sources, key=lambda source: source.priority)
    for source in ordered:
        own: set[str] = set()
        for entry in given.get(source.name, ()):
            if entry.name in own:
                problems.append(Problem(entry.origin, "warning", f"{entry.name}: stands there twice: the first counts"))
                continue
            own.add(entry.name)
            against = objections(entry, source, gateway, virtual=virtual)
            if against:
                problems += [Problem(entry.origin, "error", f"left out: {text}") for text in against]
                continue
            problems += _put(table, entry, source, federation, installed)
    for entry in table.values():
        problems += remarks(entry, gateway)
    problems += nowhere(table, gateway)
    problems += loops(table, gateway)
    problems += _hidden(table, gateway)
    return Merged(table, tuple(problems))


def _put(
    table: dict[str, Entry], entry: Entry, source: Source, federation: Federation, installed: Mapping[str, str]
) -> Iterator[Problem]:
    """The source of higher priority gets the name; of two with the same, who has it keeps it, else who is named
    first: a name must not change hands because somebody added a line."""
    other = table.get(entry.name)
    if other is None:
        table[entry.name] = entry
        return
    holder = federation.source(other.source)
    equal = holder is not None and holder.priority == source.priority
    winner, loser = (entry, other) if equal and installed.get(entry.name) == source.name else (other, entry)
    table[entry.name] = winner
    if winner.targets == loser.targets:
        yield Problem(loser.origin, "warning", f"{entry.name}: {winner.source} says the same at {winner.origin}")
        return
    why = "has it now" if equal and installed.get(entry.name) == winner.source else (
        "is named first" if equal else "has priority"
    )  # fmt: skip
    text = f"conflict: {entry.name}: {winner.source} {why}, at {winner.origin}; this line is left out"
    yield Problem(loser.origin, "error", text)


def _hidden(table: dict[str, Entry], gateway: Gateway) -> Iterator[Problem]:
    for entry in table.values():
        if not entry.virtual and (own := gateway.own_alias(entry.name)) is not None:
            where = own.origin or own.table
            yield Problem(entry.origin, "warning", f"{entry.name}: the gateway's own tables have it, too: {where}")
