"""Tables made of tables: unionmap:{a:x, b:y}, pipemap:{a:x, b:y}; and randmap:{x, y}, which draws lots."""

import random
from collections.abc import Callable, Iterable, Iterator, Sequence

from postwarden.config.errors import ConfigError
from postwarden.config.values import split
from postwarden.mail.decision import Origin
from postwarden.tables.debug import DebugTable
from postwarden.tables.indexed import IndexedTable
from postwarden.tables.literal import LiteralTable
from postwarden.tables.remote.waiting import WaitingTable
from postwarden.tables.table import Found, Table

Opener = Callable[[str], Table]
"""Opens `type:name`. Raises ConfigError."""


class _Combined:
    """Base. The first table says whether parts of an address are looked up, as in Postfix."""

    kind = ""

    def __init__(self, name: str, text: str, origin: Origin, opener: Opener) -> None:
        """`text` is `{type:name, ...}`. Raises ConfigError at `origin`, or where a table is at fault."""
        self.name = name
        names = braced(text)
        if not names or any(":" not in part for part in names):
            raise ConfigError(origin, f'bad syntax: "{name}"; need "{self.kind}:{{type:name...}}"')
        self.parts = tuple(opener(part) for part in names)

    @property
    def fixed(self) -> bool:
        return self.parts[0].fixed

    def stale(self) -> bool:
        return any(part.stale() for part in self.parts)

    def reload(self) -> None:
        reload_parts(self.parts)


class UnionTable(_Combined):
    """Asks all and gives what they have, with commas. Empty texts in front do not count, as in Postfix. One table that
    can't answer makes the whole answer unknown."""

    kind = "unionmap"

    def get(self, key: str) -> Found | None:
        found = [answer for part in self.parts if (answer := part.get(key)) is not None]
        value = ""
        for answer in found:
            value += f",{answer.value}" if value else answer.value
        return Found(value, key, self.name, found[0].origin) if value else None


class PipeTable(_Combined):
    """Gives the answer of each as a key to the next; the last one's counts."""

    kind = "pipemap"

    def get(self, key: str) -> Found | None:
        text, origin = key, None
        for part in self.parts:
            found = part.get(text)
            if found is None:
                return None
            text, origin = found.value, found.origin or origin
        return Found(text, key, self.name, origin)


class RandomTable(LiteralTable):
    """One of its values for any key."""

    fixed = False

    def __init__(self, name: str, text: str, origin: Origin, choose: Callable[[Sequence[str]], str] = random.choice):
        """`text` is `{value, ...}`; a value that is written twice is drawn twice as often. Raises ConfigError."""
        super().__init__(name)
        self._values = braced(text)
        self._choose = choose
        if not self._values:
            raise ConfigError(origin, f'bad syntax: "{name}"; need "randmap:{{value...}}"')

    def get(self, key: str) -> Found | None:
        return Found(self._choose(self._values), key, self.name)


def leaves(thing: object) -> Iterator[object]:
    """What `thing` stands on; itself where that is nothing else."""
    if not isinstance(thing, _Combined | DebugTable | IndexedTable | WaitingTable):
        yield thing
        return
    for part in thing.parts:
        yield from leaves(part)


def reload_parts(parts: Iterable[Table]) -> None:
    """Read again what has changed, all of it, before the first that is wrong is said. Raises ConfigError."""
    fault: ConfigError | None = None
    for part in parts:
        if part.stale():
            try:
                part.reload()
            except ConfigError as error:
                fault = fault or error
    if fault is not None:
        raise fault


def braced(text: str) -> tuple[str, ...]:
    """The elements of `{a, b}`; none where it is not in that form."""
    if not (text.startswith("{") and text.endswith("}")):
        return ()
    try:
        return split(text[1:-1])
    except ValueError:
        return ()
