"""The search for hosts of one transport, made from the configuration."""

from collections.abc import Callable, Collection

from postwarden.config.settings import Service, Settings
from postwarden.net.names import Names
from postwarden.net.resolver import Resolver
from postwarden.net.search import Searching
from postwarden.routing.finder import HostFinder
from postwarden.routing.params import routing_of
from postwarden.tables.dns_replies import Fetch, FilteredResolver
from postwarden.tables.opening import Tables


def _unheard(text: str) -> None:
    return


def open_finder(
    settings: Settings,
    service: Service,
    names: Names,
    tables: Tables,
    *,
    own: Collection[str],
    say: Callable[[str], None] = _unheard,
    warn: Callable[[str], None] = _unheard,
    fetch: Fetch | None = None,
) -> HostFinder:
    """`own` as in HostFinder; `say` and `warn` get sentences for the log; `fetch` as in FilteredResolver. Raises
    ConfigError."""
    routing = routing_of(settings, service.key, lmtp=service.command == "lmtp")
    dns: Resolver = names.dns
    if routing.own_domain or routing.search:
        dns = Searching(dns, names.search, single=routing.own_domain, every=routing.search)
    name = f"{service.command}_dns_reply_filter"
    maps = tables.maps(settings.items(name, service.key), settings.origin(name, service.key))
    if maps:
        dns = FilteredResolver(dns, maps, name, say=say, warn=warn, fetch=fetch)
    return HostFinder(routing, dns, names.native, own=own, warn=warn)
