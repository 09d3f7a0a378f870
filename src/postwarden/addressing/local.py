"""Which domains are local: mydestination, and literals of our own addresses."""

from postwarden.addressing.params import LocalParams
from postwarden.addressing.rewrite import without_dot
from postwarden.addressing.transports import valid_literal
from postwarden.config.settings import Settings
from postwarden.tables.matching import MatchList
from postwarden.tables.network import address_bits
from postwarden.tables.opening import Tables

_MAX_KEPT = 20_000


class LocalDomains:
    """What asks raises TableError and Pending."""

    def __init__(self, settings: Settings, params: LocalParams, tables: Tables) -> None:
        """Raises ConfigError."""
        name = "mydestination"
        parents = name in params.parent_domain_matches_subdomains
        self._listed = MatchList(name, params.mydestination, tables, settings.origin(name), parents=parents)
        self._own = frozenset(map(address_bits, (*settings.own_addresses(), *params.proxy_interfaces)))
        self._origin = params.myorigin.lower()
        self._known: dict[str, bool] = {}

    def forget(self) -> None:
        """A table or a file in a list has changed. Raises ConfigError, and then goes on with what it had."""
        self._known.clear()
        if self._listed.stale():
            self._listed.reload()

    def has(self, domain: str) -> bool:
        """Is it ours to deliver in?"""
        known = self._known.get(domain)
        if known is None:
            known = self._has(domain)
            if len(self._known) >= _MAX_KEPT:
                self._known.clear()
            self._known[domain] = known
        return known

    def by_name_alone(self, domain: str) -> bool:
        """Whether canonical(5) and its like have users of this domain by their name alone."""
        return domain.lower() == self._origin or self.has(domain)

    def _has(self, domain: str) -> bool:
        domain = without_dot(domain)
        if not domain or domain[-1] == ".":
            return False
        if self._listed.match_string(domain):
            return True
        return domain[0] == "[" and address_bits(valid_literal(domain) or "0.0.0.0") in self._own
