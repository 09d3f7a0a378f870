"""mysql: tables, mysql_table(5)."""

from functools import partial

from postwarden.tables.definition import Definition
from postwarden.tables.remote import libmysql
from postwarden.tables.remote.servers import Host
from postwarden.tables.remote.sql import CONNECT_SECONDS, QUERY_SECONDS, Connect, SqlTable, parted
from postwarden.tables.template import Templates, select


class MysqlTable(SqlTable):
    def _templates(self, definition: Definition) -> Templates:
        return select(definition)

    def _connector(self, definition: Definition) -> Connect:
        libmysql.library()
        return partial(libmysql.MysqlClient, account(definition))

    def _host(self, text: str) -> Host:
        return host(text)


def account(definition: Definition) -> libmysql.Account:
    """Raises ConfigError."""
    text = definition.text
    return libmysql.Account(
        user=text("user"),
        password=text("password"),
        database=text("dbname", needed=True),
        option_file=text("option_file"),
        option_group=text("option_group", "client"),
        charset=text("charset", "utf8mb4"),
        key=text("tls_key_file"),
        certificate=text("tls_cert_file"),
        ca_file=text("tls_CAfile"),
        ca_path=text("tls_CApath"),
        ciphers=text("tls_ciphers"),
        verify=definition.flag("tls_verify_cert", False),
        require_result_set=definition.flag("require_result_set", True),
        connect_seconds=CONNECT_SECONDS,
        query_seconds=QUERY_SECONDS,
    )


def host(text: str) -> Host:
    """`unix:/path`, `inet:name:port`, `name`. The library takes `localhost` for its own Unix socket. Raises
    ValueError."""
    if text.startswith("unix:"):
        return Host(text, text.removeprefix("unix:"), local=True)
    name, port = parted(text.removeprefix("inet:"))
    return Host(text, name or "localhost", port)
