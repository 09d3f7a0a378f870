"""Settings: set twice, misspelt, used and not there, without effect."""

import difflib
import os
from collections.abc import Iterator

from postwarden.cli.checking.findings import Finding, note, warning
from postwarden.config.entries import Entry
from postwarden.config.errors import ConfigError
from postwarden.config.expand import scan
from postwarden.config.parameters import PATTERNS, TABLE, Kind, Standing, find, standing
from postwarden.config.physical import split_lines, statements
from postwarden.config.settings import Settings, read
from postwarden.mail.decision import BUILT_IN, Origin

_ALIKE = 0.8
_AS_IT_IS = frozenset((("biff", "no"), ("strict_7bit_headers", "no")))
"""Settings without effect that ask for what happens anyway."""


def findings(settings: Settings) -> Iterator[Finding]:
    yield from _twice(os.path.join(settings.config_directory, "main.cf"))
    known = _known(settings)
    for service, name, entry in _entries(settings):
        parameter = find(name)
        if parameter is None or parameter.kind is not Kind.RAW:
            yield from _undefined(entry, name, known)
        if name not in TABLE and parameter is not None:
            yield from _of_no_transport(settings, name, entry)
        elif parameter is not None:
            yield from _without_effect(settings, service, name, entry)


def nearest(name: str) -> str:
    """The parameter whose name is most like `name`; empty where none is."""
    return next(iter(difflib.get_close_matches(name.lower(), TABLE, 1, _ALIKE)), "")


def _entries(settings: Settings) -> Iterator[tuple[str, str, Entry]]:
    for name, entry in settings.entries.items():
        if entry.origin != BUILT_IN:
            yield "", name, entry
    for service in settings.services:
        for name, entry in service.overrides.items():
            yield service.key, name, entry


def _twice(file: str) -> Iterator[Finding]:
    """The later of two lines counts. Where they differ, reading them has said so."""
    try:
        lines = list(split_lines(read(file)))
    except ConfigError:
        return
    before: dict[str, tuple[int, str]] = {}
    for statement in statements(lines):
        name, _, value = (part.strip() for part in statement.text.partition("="))
        if name in before:
            line, other = before[name]
            origin = Origin(file, statement.first, statement.text)
            if other == value:
                yield note(origin, what=f"{name} is set in line {line} already, to the same", cure="remove one line")
            else:
                yield warning(
                    origin,
                    what=f"{name} is set in line {line} already, to {other or 'nothing'}",
                    why="the last line counts",
                    cure="remove one of them",
                )
        before[name] = statement.first, value


def _known(settings: Settings) -> frozenset[str]:
    """Names that may stand behind a `$`: parameters, what somebody set, and old names that defaults still ask for."""
    found = set(TABLE) | set(settings.entries)
    for parameter in TABLE.values():
        if parameter.kind is not Kind.RAW:
            found |= set(scan(parameter.default)[0])
    for service in settings.services:
        found |= set(service.overrides)
    return frozenset(found)


def _undefined(entry: Entry, name: str, known: frozenset[str]) -> Iterator[Finding]:
    for used in dict.fromkeys(scan(entry.value)[0]):
        if used not in known and find(used) is None:
            like = nearest(used)
            yield warning(
                entry.origin,
                what=f"{name}: ${used} is not defined",
                why="it stands for nothing",
                cure=f"did you mean ${like}?" if like else "set it, or take it out",
            )


def _of_no_transport(settings: Settings, name: str, entry: Entry) -> Iterator[Finding]:
    """`relai_destination_concurrency_limit`: a known ending behind a name that master.cf does not have."""
    ending = next(p.name for p in PATTERNS if name.endswith(p.name))
    transport = name.removesuffix(ending)
    names = sorted({s.name for s in settings.services if s.type != "inet"})
    if transport not in names:
        like = next(iter(difflib.get_close_matches(transport, names, 1, _ALIKE)), "")
        yield warning(
            entry.origin,
            what=f"unused parameter: {name}={entry.value}",
            why=f"master.cf has no service {transport}",
            cure=f"did you mean {like}{ending}?" if like else "",
        )


def _without_effect(settings: Settings, service: str, name: str, entry: Entry) -> Iterator[Finding]:
    status, reason = standing(TABLE[name])
    if status is not Standing.NO_EFFECT or entry.value == TABLE[name].default or (name, entry.value) in _AS_IT_IS:
        return
    yield note(entry.origin, what=f"{name} is accepted without effect", why=reason)
