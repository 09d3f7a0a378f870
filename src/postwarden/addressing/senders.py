"""Where mail goes by whose it is: sender_dependent_default_transport_maps, sender_dependent_relayhost_maps.

They stand in for default_transport and relayhost and nothing more: a class with a transport of its own and
transport_maps go before the first, a next hop that a transport brings along before the second.
"""

from collections.abc import Callable

from postwarden.addressing.params import ResolveParams
from postwarden.mail.decision import Origin, Rule
from postwarden.tables.maps import Maps
from postwarden.tables.opening import Tables
from postwarden.tables.table import Found, TableError

TRANSPORTS = "sender_dependent_default_transport_maps"
RELAYHOSTS = "sender_dependent_relayhost_maps"
_KEEPS = "dunno"


class SenderMaps:
    """False where neither parameter is set. What asks raises TableError and Pending."""

    def __init__(
        self,
        origin: Callable[[str], Origin],
        params: ResolveParams,
        tables: Tables,
        by_name_alone: Callable[[str], bool],
    ) -> None:
        """`origin`: where a parameter is set. Raises ConfigError."""
        self._origin = origin
        self._delimiters = params.recipient_delimiter
        self._by_name_alone = by_name_alone
        self._transports = tables.maps(getattr(params, TRANSPORTS), origin(TRANSPORTS), literal=True)
        self._relayhosts = tables.maps(getattr(params, RELAYHOSTS), origin(RELAYHOSTS), literal=True)
        self._nobody = params.empty_address_default_transport_maps_lookup_key
        self._nobodys_relayhost = params.empty_address_relayhost_maps_lookup_key

    def __bool__(self) -> bool:
        return bool(self._transports or self._relayhosts)

    def transport(self, sender: str) -> tuple[str, str, Rule] | None:
        """Transport, and next hop if the answer has one; None: default_transport."""
        found = self._find(self._transports, sender or self._nobody)
        if found is None:
            return None
        transport, _, nexthop = found.value.partition(":")
        if not transport:
            raise TableError(found.table, f"{found.key}: null transport is not allowed")
        return transport, nexthop, self._rule(found, TRANSPORTS)

    def relayhost(self, sender: str) -> tuple[str, Rule] | None:
        """None: relayhost."""
        found = self._find(self._relayhosts, sender or self._nobodys_relayhost)
        return None if found is None else (found.value, self._rule(found, RELAYHOSTS))

    def _find(self, maps: Maps, key: str) -> Found | None:
        """`user+ext@domain`, `user@domain`, `user+ext` and `user` of our own domains, `@domain`."""
        found = maps.find_address(key, self._delimiters, self._by_name_alone)
        return None if found is None or found.value.lower() == _KEEPS else found

    def _rule(self, found: Found, parameter: str) -> Rule:
        return Rule(found.table, found.key, found.origin or self._origin(parameter))
