"""Whose headers are mended: local_header_rewrite_clients. It is the SMTP service's to say, not the profile's."""

from collections.abc import Callable

from postwarden.config.errors import ConfigError
from postwarden.config.settings import Settings
from postwarden.config.view import view
from postwarden.content.params import LocalClientParams
from postwarden.mail.envelope import Client
from postwarden.tables.matching import MatchList
from postwarden.tables.opening import Tables
from postwarden.tables.table import TableError

_Test = Callable[[Client], bool]


class LocalClients:
    """Postfix mends the headers of its own users only: a stranger's message travels as it is."""

    def __init__(self, settings: Settings, service: str, tables: Tables) -> None:
        """`service` is the smtpd entry's `name/type`, empty for main.cf alone. Raises ConfigError."""
        params = view(LocalClientParams, settings, service)
        self._origin = settings.origin("local_header_rewrite_clients", service)
        self._own = frozenset(settings.own_addresses())
        networks = settings.origin("mynetworks", service)
        parents = "mynetworks" in params.parent_domain_matches_subdomains
        self._networks = MatchList("mynetworks", params.mynetworks, tables, networks, parents=parents)
        words = iter(params.local_header_rewrite_clients)
        self._tests = tuple(
            self._test(next(words, "") if word.lower() == "check_address_map" else word, tables) for word in words
        )

    def __call__(self, client: Client | None) -> bool:
        """Mail that did not come by SMTP is our own. A table that can't be asked makes nobody local."""
        try:
            return client is None or any(test(client) for test in self._tests)
        except TableError:
            return False

    def refresh(self) -> None:
        """A file in mynetworks may have changed. Raises ConfigError, and then keeps what it had."""
        if self._networks.stale():
            self._networks.reload()

    def _test(self, word: str, tables: Tables) -> _Test:
        name = word.lower()
        if name == "permit_inet_interfaces":
            return lambda client: client.address in self._own
        if name == "permit_mynetworks":
            return lambda client: self._networks.match_client(client.name, client.address) is not None
        if name == "permit_sasl_authenticated":
            return lambda client: bool(client.login)
        if name in ("permit_tls_clientcerts", "permit_tls_all_clientcerts"):
            return lambda client: False
        if ":" in word:
            table = tables.table(word, self._origin)
            return lambda client: table.get(client.address) is not None
        raise ConfigError(self._origin, f'local_header_rewrite_clients: "{word}" is not known')
