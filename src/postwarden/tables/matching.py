"""Match lists: mynetworks, relay_domains, mydestination and the like.

An element is a host or domain name, an address, a network, `type:table`, `/file/name` (whose lines are elements), and
each may be negated with `!`. The first element that fits decides.
"""

from collections.abc import Iterator, Sequence
from typing import Protocol

from msgspec import Struct

from postwarden.config.errors import ConfigError, Problem
from postwarden.config.lines import SPACE
from postwarden.config.values import split
from postwarden.mail.decision import BUILT_IN, Fact, Origin
from postwarden.tables.keys import domain_keys
from postwarden.tables.network import Network, NetworkError, address_bits
from postwarden.tables.source import Mark, mark, read
from postwarden.tables.table import Table, TableError

NESTING_LIMIT = 10


class Match(Struct, frozen=True):
    """The element that decided."""

    element: str
    origin: Origin
    """Where the element was written; for a table the line in it, where it has lines."""
    fact: Fact | None = None
    """The lookup, if it was one."""


class _Element(Struct, frozen=True):
    text: str
    negated: bool
    origin: Origin
    network: Network | None = None
    table: Table | None = None
    fault: str = ""
    """Why this network is none."""


class Tables(Protocol):
    """What opens the tables of a list and looks after it: `opening.Tables`."""

    def table(self, name: str, origin: Origin) -> Table:
        """Raises ConfigError."""

    def watch(self, thing: "MatchList") -> None: ...


class MatchList:
    """The value of a list parameter, ready to be asked."""

    def __init__(
        self, name: str, items: Sequence[str], tables: Tables, origin: Origin = BUILT_IN, *, parents: bool = False
    ) -> None:
        """`name` is the parameter's. `parents`: parent_domain_matches_subdomains names it, so that `example.com`
        means its subdomains too; else `.example.com` does. A network that is none is said in `problems`; an
        address that comes to it gets TableError, since nobody knows whom it was meant for. Raises ConfigError for a bad
        file or table."""
        self.name = name
        self._items = tuple(items)
        self._origin = origin
        self._tables = tables
        self._by_dot = not parents
        self._marks: dict[str, Mark] = {}
        self._elements: tuple[_Element, ...] = ()
        self.problems: tuple[Problem, ...] = ()
        self.reload()
        if self._marks:
            tables.watch(self)

    def __bool__(self) -> bool:
        return bool(self._elements)

    def match_domain(self, domain: str) -> Match | None:
        """The element that fits the host or domain name; None where none does or a negated one came first.
        Raises TableError."""
        return self._search(domain.lower(), "")

    def match_string(self, text: str) -> Match | None:
        """The element that is `text`, or the table that has it, parents and networks aside: mydestination and the
        virtual domains. Raises TableError."""
        text = text.lower()
        for element in self._elements:
            if element.table is None:
                match = Match(element.text, element.origin) if element.text == text else None
            else:
                found = element.table.get(text)
                match = None
                if found is not None:
                    fact = Fact(element.table.name, text, found.value)
                    match = Match(element.text, found.origin or element.origin, fact)
            if match is not None:
                return None if element.negated else match
        return None

    def match_client(self, name: str, address: str) -> Match | None:
        """The same for a client by name (`unknown` fits no name) or address. Raises TableError."""
        return self._search("" if name == "unknown" else name.lower(), address)

    def stale(self) -> bool:
        """A `/file` in the list has changed. (Tables look after themselves.)"""
        return any(mark(file) != seen for file, seen in self._marks.items())

    def reload(self) -> None:
        """Read the files again. Raises ConfigError with file and line, also for a bad network, and then keeps what it
        had."""
        before, self._marks = self._marks, {}
        problems: list[Problem] = []
        try:
            elements = tuple(self._read(self._items, self._origin, 0, problems))
            if problems and self._elements:
                raise ConfigError(problems[0].origin, problems[0].text)
        except ConfigError:
            self._marks = before | self._marks
            raise
        self._elements, self.problems = elements, tuple(problems)

    def _search(self, name: str, address: str) -> Match | None:
        bits = address_bits(address) if address else None
        for element in self._elements:
            match = self._try(element, name, address, bits)
            if match is not None:
                return None if element.negated else match
        return None

    def _try(self, element: _Element, name: str, address: str, bits: tuple[int, int] | None) -> Match | None:
        if element.table is not None:
            return self._look_up(element, element.table, name, address)
        if element.fault and address and (":" in address) == (":" in element.text):
            raise TableError(self.name, element.fault)
        if element.network is not None and bits is not None and element.network.holds(bits):
            return Match(element.text, element.origin)
        if name and self._fits(element.text, name):
            return Match(element.text, element.origin)
        return None

    def _fits(self, pattern: str, name: str) -> bool:
        if name == pattern:
            return True
        if not name.endswith(pattern):
            return False
        return pattern.startswith(".") if self._by_dot else name[-len(pattern) - 1] == "." and "/" not in pattern

    def _look_up(self, element: _Element, table: Table, name: str, address: str) -> Match | None:
        keys = list(domain_keys(name, parents_by_dot=self._by_dot)) if name else []
        if address:
            keys.append(address)
        for place, key in enumerate(keys):
            part = 0 < place < len(keys) - bool(address)
            found = None if part and not table.fixed else table.get(key)
            if found is not None:
                fact = Fact(table.name, key, found.value)
                return Match(element.text, found.origin or element.origin, fact)
        return None

    def _read(self, items: Sequence[str], origin: Origin, depth: int, problems: list[Problem]) -> Iterator[_Element]:
        if depth > NESTING_LIMIT:
            raise ConfigError(origin, f"{self.name}: files that name each other")
        for item in items:
            bare = item.lstrip("!")
            negated = (len(item) - len(bare)) % 2 == 1
            if not bare:
                raise ConfigError(origin, f"{self.name}: no pattern after '!'")
            if bare.startswith("/"):
                for text, at in self._lines(bare, origin):
                    parts = [f"!{part}" for part in text] if negated else text
                    yield from self._read(parts, at, depth + 1, problems)
                continue
            try:
                yield self._element(bare, origin, negated=negated)
            except NetworkError as error:
                problems.append(Problem(origin, "warning", f"{self.name}: {error}"))
                yield _Element(bare.lower(), negated, origin, fault=str(error))

    def _element(self, text: str, origin: Origin, *, negated: bool) -> _Element:
        """Raises NetworkError, and ConfigError."""
        if _is_table(text):
            return _Element(text, negated, origin, table=self._tables.table(text, origin))
        address = text[1:].partition("]")[0] if text.startswith("[") else text.partition("/")[0]
        if "/" in text or address_bits(address) is not None:
            return _Element(text.lower(), negated, origin, network=Network.parse(text))
        return _Element(text.lower(), negated, origin)

    def _lines(self, file: str, origin: Origin) -> Iterator[tuple[Sequence[str], Origin]]:
        """The elements in each line of a file."""
        self._marks[file] = mark(file)
        try:
            data = read(file)
        except TableError as error:
            raise ConfigError(origin, f"{self.name}: {error}") from error
        for number, line in enumerate(data.split(b"\n"), 1):
            try:
                text = line.decode().strip(SPACE)
            except UnicodeDecodeError as error:
                raise ConfigError(Origin(file, number, ""), f"{self.name}: not UTF-8") from error
            if not text or text.startswith("#"):
                continue
            at = Origin(file, number, text)
            try:
                yield split(text), at
            except ValueError as error:
                raise ConfigError(at, f"{self.name}: {error}") from error


def _is_table(text: str) -> bool:
    """`type:name`, and neither `[::1]` nor `::1` nor `2001:db8::/32`."""
    kind, colon, _ = text.partition(":")
    return bool(colon) and kind.isalnum() and address_bits(text.partition("/")[0]) is None
