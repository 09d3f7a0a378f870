"""What a table of a data base is told in its own file, in the form of main.cf: `sqlite:/etc/postfix/users.cf`."""

import re
from collections.abc import Callable, Mapping

from msgspec.structs import replace

from postwarden.config.errors import ConfigError, Problem
from postwarden.config.main_cf import parse_main_cf
from postwarden.config.settings import load
from postwarden.config.values import boolean, integer, split
from postwarden.mail.decision import Origin
from postwarden.tables.source import NOTHING_HANDED, read

_VALUE = re.compile(r'(overriding earlier entry: [^=]*|name: "[^\s"]*)[\s=].*', re.DOTALL)
"""In what is said of a line. It may be a password, which those who may read the log need not know."""


class Definition:
    """The settings of one table. `$name` means nothing in its file."""

    def __init__(self, get: Callable[[str], tuple[str, Origin] | None], origin: Origin, prefix: str = "") -> None:
        """`get` gives the value of a name and where it was written; `origin` is what errors name else."""
        self._get = get
        self.origin = origin
        self._prefix = prefix

    def holds(self, name: str) -> bool:
        """It is set, be it to nothing."""
        return self._get(name) is not None

    def text(self, name: str, default: str = "", *, needed: bool = False) -> str:
        """Raises ConfigError where it is needed and empty."""
        found = self._get(name)
        value = default if found is None else found[0]
        if needed and not value:
            origin = self.origin if found is None else found[1]
            raise ConfigError(origin, f"bad string length 0 < 1: {self._prefix}{name} = ")
        return value

    def number(self, name: str, default: int, low: int = 0) -> int:
        """Raises ConfigError."""
        found = self._get(name)
        if found is None:
            return default
        try:
            value = integer(self._prefix + name, found[0])
        except ValueError as error:
            raise ConfigError(found[1], str(error)) from error
        if value < low:
            raise ConfigError(found[1], f"invalid {self._prefix}{name}: {value} (min {low})")
        return value

    def flag(self, name: str, default: bool) -> bool:
        """Raises ConfigError."""
        found = self._get(name)
        try:
            return default if found is None else boolean(self._prefix + name, found[0])
        except ValueError as error:
            raise ConfigError(self.where(name), str(error)) from error

    def items(self, name: str) -> tuple[str, ...]:
        """A list. Raises ConfigError."""
        try:
            return split(self.text(name))
        except ValueError as error:
            raise ConfigError(self.where(name), str(error)) from error

    def first_of(self, *names: str) -> Origin:
        """Where the first of them that is set was written."""
        return next((self.where(name) for name in names if self.holds(name)), self.origin)

    def where(self, name: str) -> Origin:
        found = self._get(name)
        return self.origin if found is None else found[1]


def in_file(file: str, handed: Mapping[str, str] = NOTHING_HANDED) -> tuple[Definition, tuple[Problem, ...]]:
    """The definition that is the file's text, and what is strange in it. Raises TableError, ConfigError."""
    try:
        entries, problems = parse_main_cf(read(handed.get(file, file)), file)
    except ConfigError as error:
        raise ConfigError(error.origin, _without_value(error.text)) from None

    def get(name: str) -> tuple[str, Origin] | None:
        entry = entries.get(name)
        return None if entry is None else (entry.value, entry.origin)

    return Definition(get, Origin(file, 0, "")), tuple(
        [replace(one, text=_without_value(one.text)) for one in problems]
    )


def _without_value(text: str) -> str:
    return _VALUE.sub(r"\1 ...", text)


def in_main_cf(name: str, config_directory: str, origin: Origin) -> Definition:
    """The definition that stands in main.cf as `name_query`, `name_dbpath` and so on. Raises ConfigError."""
    settings = load(config_directory)

    def get(parameter: str) -> tuple[str, Origin] | None:
        full = f"{name}_{parameter}"
        entry = settings.entry(full)
        return None if entry is None else (settings.text(full), entry.origin)

    return Definition(get, origin, f"{name}_")


def stands_in_main_cf(name: str) -> bool:
    """A name that begins with neither a slash nor a dot is no file to Postfix, but a prefix of parameters."""
    return not name.startswith(("/", "."))
