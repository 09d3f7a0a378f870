"""What mysql: and pgsql: have in common: a query for a key, asked of one of several servers."""

from abc import abstractmethod
from collections.abc import Callable
from typing import Protocol

from postwarden.config.errors import ConfigError
from postwarden.config.values import split
from postwarden.tables.definition import Definition
from postwarden.tables.remote.defined import DefinedTable, Source
from postwarden.tables.remote.servers import IDLE_SECONDS, RETRY_SECONDS, Host, Servers
from postwarden.tables.template import Templates, over_limit

CONNECT_SECONDS, QUERY_SECONDS = 5, 10
"""Postfix waits as long as the libraries do, which may be for ever."""

Row = tuple[bytes | None, ...]


class Client(Protocol):
    """One connection. The methods raise ServerError."""

    def quoted(self, text: str) -> str:
        """`text` as it may stand between single quotes, by the rules of this connection."""

    def rows(self, query: str) -> list[Row]: ...

    def close(self) -> None: ...


Connect = Callable[[Host], Client]


class SqlTable(DefinedTable[Client]):
    """All columns of all rows are the answer."""

    @abstractmethod
    def _templates(self, definition: Definition) -> Templates:
        """Raises ConfigError."""

    @abstractmethod
    def _connector(self, definition: Definition) -> Connect:
        """How a host is connected to. Raises ConfigError, LibraryMissing."""

    @abstractmethod
    def _host(self, text: str) -> Host:
        """Raises ValueError."""

    def _source_of(self, definition: Definition) -> Source[Client]:
        templates, limit = self._templates(definition), over_limit(definition)
        retry = definition.number("retry_interval", RETRY_SECONDS, 1)
        idle = definition.number("idle_interval", IDLE_SECONDS, 1)
        hosts = self._hosts(definition)
        servers = Servers(hosts, self._connector(definition), retry=retry, idle=idle)
        return Source(templates, limit, servers, definition.first_of("query", "select_function", "select_field"))

    def _hosts(self, definition: Definition) -> list[Host]:
        try:
            return [self._host(text) for text in split(definition.text("hosts")) or ("localhost",)]
        except ValueError as error:
            raise ConfigError(definition.where("hosts"), f"hosts: {error}") from error

    def _ask(self, source: Source[Client], name: str) -> list[str]:
        def rows(client: Client) -> list[Row]:
            query = source.templates.query(name, client.quoted)
            return [] if query is None else client.rows(query)

        values: list[str] = []
        for row in source.servers.ask(rows):
            for cell in row:
                values += source.templates.answer(name, (self._text(cell),))
                self._over(source, name, len(values))
        return values


def parted(text: str) -> tuple[str, str]:
    """Host and port of `name`, `name:port`, `[address]:port`. Raises ValueError."""
    if text.startswith("["):
        name, _, rest = text[1:].partition("]")
    elif text.count(":") == 1:
        name, _, rest = text.partition(":")
        rest = f":{rest}"
    else:
        name, rest = text, ""
    port = rest.removeprefix(":")
    if rest and not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise ValueError(f'bad port in "{text}"')
    return name, port
