"""How the connections to a next hop are to be secured: asked of what the transport itself asks."""

from collections.abc import Callable

from postwarden.config.settings import Service, Settings
from postwarden.deliver.smtp.security import Security
from postwarden.deliver.smtp.tls import tls_policies
from postwarden.mail.host import Host
from postwarden.mail.status import Status
from postwarden.routing.destination import split_nexthop
from postwarden.tables.opening import Tables


def protection(
    settings: Settings, service: Service, tables: Tables, nexthop: str, host: Host, warn: Callable[[str], None]
) -> Security | Status:
    """A status: mail has to wait, or can't go; `warn` hears why. Raises ConfigError."""
    found: list[Security | Status] = []
    tls_policies(settings, service.key, tables, warn).find(nexthop, host, found.append)
    return found[0]


def unknown_host(nexthop: str) -> Host:
    """In place of a host that nobody was asked for."""
    site = split_nexthop(nexthop)[0] if split_nexthop(nexthop) else nexthop
    name = site.strip("[]").partition("]")[0]
    return Host(name, "", 0, domain=name, path=nexthop[5:] if nexthop.startswith("unix:") else "")
