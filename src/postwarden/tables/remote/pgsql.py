"""pgsql: tables, pgsql_table(5)."""

import re

from postwarden.tables.definition import Definition
from postwarden.tables.remote import libpq
from postwarden.tables.remote.servers import Host, ServerError
from postwarden.tables.remote.sql import CONNECT_SECONDS, QUERY_SECONDS, Client, Connect, SqlTable, parted
from postwarden.tables.template import Templates, select

_PASSWORD = re.compile(r"(//[^:@/?]*):([^?]*)@|([?&]\w*password)=([^&]*)")
"""In a connection string."""


class PgsqlTable(SqlTable):
    def _templates(self, definition: Definition) -> Templates:
        function = definition.text("select_function")
        if function and not definition.text("query"):
            form = definition.text("result_format", "%s", needed=True)
            return Templates(f"SELECT {function}('%s')", form, definition.where("select_function"))
        return select(definition)

    def _connector(self, definition: Definition) -> Connect:
        libpq.library()
        user, password, database = (definition.text(name) for name in ("user", "password", "dbname"))
        if not all(_is_connection_string(text) for text in definition.items("hosts") or ("",)):
            definition.text("dbname", needed=True)
        # The first dbname may be a whole connection string: what it says has the last word, but for the encoding.
        begin = {"connect_timeout": str(CONNECT_SECONDS)}
        end = {"client_encoding": definition.text("encoding", "UTF8"), "fallback_application_name": "postwarden"}

        def connect(host: Host) -> Client:
            if _is_connection_string(host.address):
                try:
                    return libpq.PgsqlClient(begin | {"dbname": host.address} | end, QUERY_SECONDS)
                except ServerError as error:
                    raise ServerError(said(str(error), host), late=error.late) from None
            where = {"dbname": database, "host": host.address, "port": host.port}
            return libpq.PgsqlClient(begin | where | {"user": user, "password": password} | end, QUERY_SECONDS)

        return connect

    def _host(self, text: str) -> Host:
        return host(text)


def host(text: str) -> Host:
    """`unix:/directory`, `inet:name:port`, `name`, `postgresql://…`; Raises ValueError."""
    if _is_connection_string(text):
        return Host(_without_password(text), text)
    if text.startswith("unix:"):
        return Host(text, text.removeprefix("unix:"), local=True)
    place = text.removeprefix("inet:")
    if place.startswith("/"):
        return Host(text, place, local=True)
    return Host(text, *parted(place))


def _without_password(uri: str) -> str:
    return _PASSWORD.sub(lambda match: f"{match[1]}@" if match[1] else match[3], uri)


def said(text: str, host: Host) -> str:
    """The library quotes a string that it can't read, or the part of it that it can't."""
    text = text.replace(host.address, host.name)
    for match in _PASSWORD.finditer(host.address):
        text = text.replace(f'"{match[2] or match[4]}"', '"..."')
    return text


def _is_connection_string(text: str) -> bool:
    return text.startswith(("postgresql://", "postgres://"))
