"""Tables whose servers are named in a definition: what mysql:, pgsql: and ldap: have in common."""

import time
from abc import abstractmethod
from typing import Generic, TypeVar

from msgspec import Struct

from postwarden.config.errors import Problem
from postwarden.mail.decision import Origin
from postwarden.tables.configured import ConfiguredTable
from postwarden.tables.definition import Definition
from postwarden.tables.remote.domains import Domains
from postwarden.tables.remote.library import LibraryMissing
from postwarden.tables.remote.servers import Connection, Servers, Unreachable
from postwarden.tables.table import Found, TableError
from postwarden.tables.template import Templates

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


class DefinedTable(ConfiguredTable, Generic[C]):
    _source: Source[C] | None = None
    _domains: Domains | None = None
    _trouble = ""
    _told, _told_until = "", 0.0

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

    def _find(self, key: str) -> Found | None:
        source, domains, name = self._source, self._domains, self._folded(key)
        if source is None or domains is None:
            raise TableError(self.name, "no definition")
        if "\0" in name or not _is_text(name) or not domains.hold(name):
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
