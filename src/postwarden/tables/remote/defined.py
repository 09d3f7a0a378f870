"""Tables whose servers are named in a definition: what mysql:, pgsql: and ldap: have in common."""

import os
import threading
import time
from abc import abstractmethod
from collections.abc import Mapping
from typing import Generic, TypeVar

from msgspec import Struct

from postwarden.config.errors import Problem
from postwarden.mail.decision import Origin
from postwarden.tables.definition import Definition, in_file, in_main_cf, stands_in_main_cf
from postwarden.tables.keys import folded
from postwarden.tables.remote.library import LibraryMissing
from postwarden.tables.remote.servers import Connection, Servers, Unreachable
from postwarden.tables.source import NOTHING_HANDED, SourceTable
from postwarden.tables.table import Found, TableError
from postwarden.tables.template import Domains, Opener, Templates

VALUES_LIMIT = 100_000
"""Of one answer, where expansion_limit sets none: a query without a condition must not fill the memory."""

_TELL_SECONDS = 60.0

C = TypeVar("C", bound=Connection)


class Source(Struct, Generic[C], frozen=True):
    """What one reading of the definition gave."""

    templates: Templates
    limit: int
    """Of values; 0: none."""
    servers: Servers[C]
    origin: Origin
    """Where the query is written."""
    warnings: tuple[Problem, ...] = ()
    """Of what the definition says."""


class DefinedTable(SourceTable, Generic[C]):
    """Keys are put into the query in lower case. May be asked from several threads at once."""

    slow = True

    def __init__(
        self,
        name: str,
        place: str,
        config_directory: str,
        origin: Origin,
        opener: Opener,
        *,
        fold: bool = True,
        handed: Mapping[str, str] = NOTHING_HANDED,
    ) -> None:
        """`place`: a file with a slash or dot at its front, or the prefix of parameters of main.cf.
        Raises ConfigError."""
        self._place = place
        self._directory = config_directory
        self._origin = origin
        self._opener = opener
        self._fold = fold
        self.handed = handed
        self._source: Source[C] | None = None
        self._domains: Domains | None = None
        self._domain_lock = threading.Lock()
        self._trouble = ""
        self._told, self._told_until = "", 0.0
        file = os.path.join(config_directory, "main.cf" if stands_in_main_cf(place) else place)
        super().__init__(name, (file,))

    @abstractmethod
    def _source_of(self, definition: Definition) -> Source[C]:
        """Connects to nobody yet. Raises ConfigError, LibraryMissing."""

    @abstractmethod
    def _ask(self, source: Source[C], name: str) -> list[str]:
        """The values of a key for which there is a query. Raises Unreachable, TableError."""

    def stale(self) -> bool:
        if self._source is not None:
            self._source.servers.sweep()
        return super().stale() or (self._domains is not None and self._domains.stale())

    def trouble(self) -> str:
        """What a look-up failed with since the last call, each text once a minute; empty: nothing new."""
        text, self._trouble = self._trouble, ""
        now = time.monotonic()
        if not text or (text == self._told and now < self._told_until):
            return ""
        self._told, self._told_until = text, now + _TELL_SECONDS
        return text

    def _load(self) -> None:
        definition, problems = self._definition()
        domains = Domains(definition, self._opener)
        try:
            source = self._source_of(definition)
        except LibraryMissing as error:
            self.warnings = (*problems, Problem(definition.origin, "warning", f"{self.name}: {error}"))
            raise TableError(self.name, str(error)) from error
        before, self._source = self._source, source
        self._domains, self.warnings = domains, (*problems, *source.warnings)
        if before is not None:
            before.servers.close()

    def _definition(self) -> tuple[Definition, tuple[Problem, ...]]:
        if stands_in_main_cf(self._place):
            return in_main_cf(self._place, self._directory, self._origin), ()
        return in_file(self._files[0], self.handed)

    def _find(self, key: str) -> Found | None:
        source, name = self._source, folded(key) if self._fold else key
        if source is None:
            raise TableError(self.name, "no definition")
        if "\0" in name or not _is_text(name) or not self._eligible(name):
            return None
        if source.templates.query(name) is None:
            return None
        try:
            values = self._ask(source, name)
        except TableError as error:
            self._trouble = str(error)
            raise
        except Unreachable as error:
            self._trouble = f"{self.name}: {error}"
            raise TableError(self.name, str(error)) from error
        return Found(",".join(values), key, self.name, source.origin) if values else None

    def _eligible(self, name: str) -> bool:
        # The tables that `domain` names are asked by one thread at a time: not all of them are made for more.
        with self._domain_lock:
            return self._domains is None or self._domains.hold(name)

    def _over(self, source: Source[C], name: str, count: int) -> None:
        """Raises TableError where `count` values are too many."""
        if count > (source.limit or VALUES_LIMIT):
            raise TableError(self.name, f"Expansion limit exceeded for key '{name}'")

    def _text(self, value: bytes | None) -> str | None:
        try:
            return None if value is None else value.decode()
        except UnicodeDecodeError as error:
            raise TableError(self.name, "the answer is not UTF-8") from error


def _is_text(key: str) -> bool:
    try:
        key.encode()
    except UnicodeEncodeError:
        return False  # a key that is no text is in no data base
    return True
