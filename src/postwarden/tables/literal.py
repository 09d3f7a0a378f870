"""Tables without a file: inline:{ key=value, ... } and static:value, which are written out in their name; environ: and
fail:."""

import os
from collections.abc import Iterator

from postwarden.config.errors import ConfigError
from postwarden.config.lines import SPACE
from postwarden.config.values import split
from postwarden.mail.decision import Origin
from postwarden.tables.keys import folded
from postwarden.tables.table import Found, TableError


class LiteralTable:
    """Base: nothing changes, so there is nothing to look after."""

    fixed = True

    def __init__(self, name: str) -> None:
        self.name = name

    def stale(self) -> bool:
        return False

    def reload(self) -> None:
        """Nothing to read."""


class UnusableTable(LiteralTable):
    """One that is not asked, and so never answers."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(name)
        self.why = why

    def get(self, key: str) -> Found | None:
        raise TableError(self.name, self.why)


class StaticTable(LiteralTable):
    """One value for every key. No key is a part of an address to it."""

    fixed = False

    def __init__(self, name: str, value: str, origin: Origin) -> None:
        """Raises ConfigError at `origin`."""
        super().__init__(name)
        if value.startswith("{"):
            if not value.endswith("}"):
                raise ConfigError(origin, f'{name}: missing "}}"')
            value = value[1:-1].strip(SPACE)
        self._value = value

    def get(self, key: str) -> Found | None:
        return Found(self._value, key, self.name)


class InlineTable(LiteralTable):
    """Keys are compared in lower case."""

    def __init__(self, name: str, text: str, origin: Origin) -> None:
        """`text` is `{ key=value, { key = text with spaces } }`. Raises ConfigError at `origin`."""
        super().__init__(name)
        self._values: dict[str, str] = {}
        self._origin = origin
        if not (text.startswith("{") and text.endswith("}")):
            raise ConfigError(origin, f'bad syntax: "{name}"; need "inline:{{name=value, ...}}"')
        try:
            entries = split(text[1:-1])
        except ValueError as error:
            raise ConfigError(origin, f"{name}: {error}") from error
        if not entries:
            raise ConfigError(origin, f'empty table: "{name}"; need "inline:{{name=value, ...}}"')
        for entry in entries:
            self._add(entry)

    def items(self) -> Iterator[tuple[str, str]]:
        """All keys with their values."""
        yield from self._values.items()

    def _add(self, entry: str) -> None:
        if entry.startswith("{") and entry.endswith("}"):
            entry = entry[1:-1].strip(SPACE)
        key, equals, value = entry.partition("=")
        key = key.strip(SPACE)
        if not equals or not key or any(char in SPACE for char in key):
            raise ConfigError(self._origin, f'{self.name}: "{entry}" is not key=value')
        self._values[folded(key)] = value.strip(SPACE)

    def get(self, key: str) -> Found | None:
        value = self._values.get(folded(key))
        return None if value is None else Found(value, key, self.name, self._origin)


class EnvironTable(LiteralTable):
    """The environment of the process; the name of the table is of no account. Keys are compared in lower case, so that
    `HOME` is found only where folding is off (`postmap -f`)."""

    def __init__(self, name: str, *, fold: bool = True) -> None:
        super().__init__(name)
        self._fold = fold

    def get(self, key: str) -> Found | None:
        if not key or "\0" in key or "=" in key:
            return None
        value = os.environ.get(folded(key) if self._fold else key)
        return None if value is None else Found(value, key, self.name)


class FailTable(LiteralTable):
    """For tests: never answers."""

    def get(self, key: str) -> Found | None:
        raise TableError(self.name, "this type of table always fails")
