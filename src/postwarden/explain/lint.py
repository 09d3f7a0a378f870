"""What an operator should hear of alias tables: administrative mail that leaves, lists that others can write, entries
that can never match, names that lead nowhere."""

import os
import re
from collections.abc import Iterator

from postwarden.addressing.aliases import Destination, Kind
from postwarden.config.errors import Problem
from postwarden.config.settings import Settings
from postwarden.deliver.local.ports import Accounts, Identity
from postwarden.explain.gateway import Gateway
from postwarden.explain.leads import Entry, loops, nowhere, remarks, targets_of
from postwarden.explain.lists import ListError, list_lines
from postwarden.explain.opening import open_walker
from postwarden.explain.paths import list_problems, looks_like_list, program_problem, writable
from postwarden.explain.tree import Node, Walker
from postwarden.mail.decision import Origin
from postwarden.tables.entries import alias_entries
from postwarden.tables.keys import folded
from postwarden.tables.table import Found

REQUIRED = (
    ("postmaster", "RFC 5321 4.5.1 wants it"),
    ("abuse", "RFC 2142 wants it: whoever gets spam from here writes there"),
    ("mailer-daemon", "reports come from it, and people answer them"),
)
ADMINISTRATIVE = ("root", "postmaster", "abuse", "mailer-daemon", "hostmaster", "webmaster", "security", "noc")
_CLOSED = "can't be read: "
_FILES = ("hash", "btree", "dbm", "lmdb", "cdb", "texthash")
_HALF_INCLUDE = re.compile(r"(?<![:\w])include:", re.IGNORECASE)
"""It reads as the name of a group (RFC 822 6.1), and what follows as a mailbox."""
_WARNED = re.compile(r"(?P<file>.*?), line (?P<line>\d+): (?P<text>.*)", re.DOTALL)


class FileAliases:
    """An alias file as it stands, before the other tables."""

    def __init__(self, entries: dict[str, Entry], values: dict[str, str], gateway: Gateway) -> None:
        self._entries = entries
        self._values = values
        self._gateway = gateway

    def find(self, name: str) -> Found | None:
        entry = self._entries.get(folded(name))
        if entry is None:
            return self._gateway.own_alias(name)
        return Found(self._values[entry.name], name, entry.origin.file, entry.origin)


class Linter:
    """Raises ConfigError."""

    def __init__(self, settings: Settings, gateway: Gateway, accounts: Accounts, identity: Identity) -> None:
        self._settings = settings
        self._gateway = gateway
        self._accounts = accounts
        self._identity = identity
        self._delimiter = settings.text("recipient_delimiter")

    def tables(self) -> list[Problem]:
        """Of every alias file that alias_maps names, and of the required names. Raises TableError."""
        found: list[Problem] = []
        above: dict[str, Origin] = {}
        for name in self._gateway.alias_maps:
            kind, _, path = name.removeprefix("proxy:").partition(":")
            if kind in _FILES:
                file = os.path.join(self._settings.config_directory, path)
                found += self._one(file, above)
                found += _index(file, kind)
        walker = open_walker(self._settings, self._gateway, self._accounts, self._identity)
        found += self._required(self._settings.origin("alias_maps"), {})
        found += self._administrative(walker, above)
        return _distinct(found)

    def file(self, path: str) -> list[Problem]:
        """Of one alias file, whether main.cf names it or not. Raises TableError."""
        found: list[Problem] = []
        entries, values, problems = read(path)
        if any(problem.text.startswith(_CLOSED) for problem in problems):
            return problems  # what it has and lacks is not known
        found += problems
        found += self._entries(entries)
        named = [name.rpartition(":")[2] for name in self._gateway.alias_maps]
        if path not in [os.path.join(self._settings.config_directory, name) for name in named]:
            found.append(Problem(Origin(path, 0, ""), "warning", "alias_maps does not name this file: it is not used"))
        walker = open_walker(
            self._settings, self._gateway, self._accounts, self._identity, FileAliases(entries, values, self._gateway)
        )
        found += self._required(Origin(path, 0, ""), entries)
        found += self._administrative(walker, {name: entry.origin for name, entry in entries.items()})
        return _distinct(found)

    def _one(self, path: str, above: dict[str, Origin]) -> Iterator[Problem]:
        """`above`: names that tables before this one have; those of this one are added."""
        entries, _, problems = read(path)
        yield from problems
        for name, entry in entries.items():
            if name in above:
                yield Problem(entry.origin, "warning", f"{name}: can never match: {above[name]} comes first")
            above.setdefault(name, entry.origin)
        yield from self._entries(entries)

    def _entries(self, entries: dict[str, Entry]) -> Iterator[Problem]:
        for entry in entries.values():
            yield from self._name(entry)
            for target in entry.targets:
                yield from self._target(entry.name, target, entry.origin, 0)
            yield from remarks(entry, self._gateway)
        yield from nowhere(entries, self._gateway)
        yield from loops(entries, self._gateway)

    def _name(self, entry: Entry) -> Iterator[Problem]:
        name = entry.name
        if name.startswith("-"):
            yield Problem(entry.origin, "warning", f"{name}: can never match: an address that begins with - is refused")
        virtual = self._gateway.virtual(name)
        if virtual is not None:
            text = f"{name}: can never match: virtual_alias_maps ({virtual.origin or virtual.table}) comes first"
            yield Problem(entry.origin, "warning", text)

    def _target(self, name: str, target: Destination, origin: Origin, depth: int) -> Iterator[Problem]:
        value = target.value
        if target.kind is Kind.FILE:
            yield from self._file(name, value, origin)
        elif target.kind is Kind.COMMAND:
            text = program_problem(value)
            if text:
                yield Problem(origin, "warning", f"{name}: {text}")
        elif target.kind is Kind.INCLUDE:
            yield from self._include(name, value, origin, depth)
        elif "/" in value and "@" not in value:
            text = f"{name}: {value} is taken for an address: write :include:/path for a list, /path for a mailbox"
            yield Problem(origin, "error", text)

    def _file(self, name: str, path: str, origin: Origin) -> Iterator[Problem]:
        if looks_like_list(path):
            text = f"{name}: {path} holds addresses, and mail is appended to it: :include:{path} is meant?"
            yield Problem(origin, "error", text)
        directory = os.path.dirname(path.rstrip("/"))
        if not os.path.isdir(directory):
            yield Problem(origin, "warning", f"{name}: dead end: there is no directory {directory}")
        for text in writable(path, what="mailbox"):
            yield Problem(origin, "warning", f"{name}: {text}")

    def _include(self, name: str, path: str, origin: Origin, depth: int) -> Iterator[Problem]:
        for severity, text in list_problems(path):
            yield Problem(origin, severity, f"{name}: {text}")
        if depth >= 10:
            yield Problem(origin, "warning", f"{name}: lists within lists")
            return
        try:
            lines = list_lines(path)
        except ListError:
            return
        for number, line in lines:
            at = Origin(path, number, "")
            entry = Entry(name, tuple(targets_of(line)), at)
            for target in entry.targets:
                yield from self._target(name, target, at, depth + 1)
            yield from remarks(entry, self._gateway)

    def _required(self, origin: Origin, entries: dict[str, Entry]) -> Iterator[Problem]:
        for name, why in REQUIRED:
            if name in entries or self._gateway.own_alias(name) is not None:
                continue
            if self._gateway.user(name) is None and self._gateway.virtual(name) is None:
                yield Problem(origin, "warning", f"there is no alias {name}: {why}")

    def _administrative(self, walker: Walker, entries: dict[str, Origin]) -> Iterator[Problem]:
        """Mail that says how this machine fares is read by whoever stands on its way."""
        for name in ADMINISTRATIVE:
            if name not in entries and self._gateway.own_alias(name) is None and self._gateway.user(name) is None:
                continue
            for way in walker.walk(name).ends():
                text = leaving(way)
                if text:
                    place = next((node.place for node in reversed(way) if node.place), "")
                    file, _, line = place.rpartition(":")
                    at = Origin(file, int(line), "") if line.isdecimal() else entries.get(name, Origin("", 0, ""))
                    yield Problem(at, "warning", text)


def leaving(way: tuple[Node, ...]) -> str:
    """What is wrong with the way of administrative mail; empty: nothing."""
    end = way[-1].end
    if end is None or (end.inside and not end.clear):
        return ""
    names = [node.text for node in way if not node.text.startswith(":include:")]
    chain = " -> ".join(names)
    outside = "" if end.inside else ", outside the organization"
    if end.clear:
        return f"administrative mail leaves in clear text: {chain}{outside}, TLS not required"
    return f"administrative mail leaves the organization: {chain}"


def read(path: str) -> tuple[dict[str, Entry], dict[str, str], list[Problem]]:
    """Entries by name, their values, and what is wrong with the lines. Of two with one name the first counts."""
    problems: list[Problem] = []
    entries: dict[str, Entry] = {}
    values: dict[str, str] = {}

    def warn(text: str) -> None:
        match = _WARNED.match(text)
        if match is not None:
            problems.append(Problem(Origin(path, int(match["line"]), ""), "error", f"{match['text']}: left out"))
        else:
            problems.append(Problem(Origin(path, 0, ""), "error", text))

    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        return {}, {}, [Problem(Origin(path, 0, ""), "error", f"{_CLOSED}{error.strerror}")]
    for raw, value, number in alias_entries(data, path, warn):
        name, text = folded(raw.decode("utf-8", "replace")), value.decode("utf-8", "replace")
        origin = Origin(path, number, "")
        if name in entries:
            problems.append(Problem(origin, "warning", f"{name}: can never match: {entries[name].origin} comes first"))
        else:
            if _HALF_INCLUDE.search(text):
                said = f"{name}: include: without a colon before it: mail is appended to the list; :include: is meant?"
                problems.append(Problem(origin, "error", said))
            entries[name] = Entry(name, tuple(targets_of(text)), origin)
            values[name] = text
    problems += [Problem(Origin(path, 0, ""), "error", text) for text in writable(path, what="alias file")]
    return entries, values, problems


def _index(path: str, kind: str) -> Iterator[Problem]:
    index = f"{path}.cdb" if kind == "cdb" else f"{path}.lmdb"
    try:
        if os.stat(index).st_mtime_ns < os.stat(path).st_mtime_ns:
            yield Problem(Origin(path, 0, ""), "warning", f"newer than its index {index}: run postalias {kind}:{path}")
    except OSError:
        return


def _distinct(problems: list[Problem]) -> list[Problem]:
    return list(dict.fromkeys(problems))
