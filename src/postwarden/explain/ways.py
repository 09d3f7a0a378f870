"""The end of a way: what the transport of master.cf makes of a next hop."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from postwarden.config.errors import ConfigError
from postwarden.config.settings import Service, Settings
from postwarden.deliver.pipe.attributes import BadAttribute, parse
from postwarden.deliver.smtp.reasons import is_loop
from postwarden.explain.programs import unusable_pipe
from postwarden.explain.protection import protection, unknown_host
from postwarden.explain.route import Fate, Reason, Way
from postwarden.mail.host import Host
from postwarden.mail.status import Status
from postwarden.schedule.transports import POOLS
from postwarden.tables.opening import Tables

Hosts = tuple[Host, ...]
Lookup = Callable[[Service, str], Hosts | Status]
"""A transport and a next hop; the hosts in the order in which they are tried, or why there are none."""

LOOP_CURE = (
    "DNS says that this machine takes the domain's mail: add it to mydestination, virtual_alias_domains,"
    " virtual_mailbox_domains or relay_domains (the last with a next hop in transport_maps); or name who delivers such"
    " mail in best_mx_transport; or correct DNS, the next hop, inet_interfaces or proxy_interfaces"
)
"""Of mail that would come back to this machine."""

_PROTECTION: Mapping[str, str] = MappingProxyType({
    "none": "in clear text: TLS is not used",
    "may": "encrypted where the server offers it, else in clear text; whose certificate it has does not matter",
    "encrypt": "encrypted or not at all; whose certificate it has does not matter",
    "fingerprint": "encrypted, to a server with a certificate that is pinned, or not at all",
    "verify": "encrypted, to a server with a certificate for its name, or not at all",
    "secure": "encrypted, to a server with a certificate for the domain, or not at all",
    "invalid": "not at all: what is written about TLS makes no sense",
})  # fmt: skip

_WORDS: Mapping[str, str] = MappingProxyType(
    {"smtp": "sent", "lmtp": "sent", "discard": "discarded", "error": "bounced"}
)
"""What becomes of mail that a transport is given, by its command."""


class Ways:
    """Asks what a transport would do; without `lookup` nobody on the network is asked."""

    def __init__(self, settings: Settings, tables: Tables, lookup: Lookup | None) -> None:
        self._settings = settings
        self._tables = tables
        self._lookup = lookup

    def __call__(self, key: str, nexthop: str, recipient: str) -> Way:
        service = self._settings.find_service(key)
        assert service is not None
        if service.command in ("smtp", "lmtp"):
            return self._remote(service, nexthop, recipient)
        if service.command == "pipe":
            return Way(_program(service))
        if service.command not in POOLS:
            why = f"{service.name} in master.cf runs {service.command}, which delivers nothing here: mail waits"
            return Way(Fate("deferred", Reason(why, service.origin), f"correct {service.name} in master.cf"))
        return Way(Fate("delivered", Reason(f"on this machine, by {service.command}", service.origin)))

    def _remote(self, service: Service, nexthop: str, recipient: str) -> Way:
        goes = Fate("sent", Reason(f"to {nexthop}"))
        if self._lookup is None:
            return Way(goes, (), self._protection(service, nexthop, unknown_host(nexthop)))
        hosts = self._lookup(service, nexthop)
        best_mx = self._settings.text("best_mx_transport", service.key)
        if isinstance(hosts, Status) and is_loop(hosts) and best_mx:
            return self._best_mx(service, best_mx, nexthop, recipient)
        if isinstance(hosts, Status):
            word = "deferred" if hosts.code[0] == "4" else "bounced"
            cure = LOOP_CURE if is_loop(hosts) else "correct the domain or the next hop"
            return Way(Fate(word, Reason(f"{hosts.text} ({hosts.code})"), cure))
        tls = self._protection(service, nexthop, hosts[0])
        return Way(goes, tuple(host.path or f"{host.name}[{host.address}]:{host.port}" for host in hosts), tls)

    def _best_mx(self, service: Service, value: str, nexthop: str, recipient: str) -> Way:
        """We are the best mail exchanger ourselves, and the operator says who delivers then."""
        transport, _, other = value.partition(":")
        text = f"mail for {nexthop} would come back to this machine, and goes on by best_mx_transport = {value}"
        reason = Reason(text, self._settings.origin("best_mx_transport", service.key))
        found = self._settings.find_service(f"{transport}/unix")
        if found is None or (transport, other or nexthop) == (service.name, nexthop):
            return Way(Fate("deferred", reason, "name a transport of master.cf that delivers on this machine"))
        if found.command in _WORDS:
            return Way(Fate(_WORDS[found.command], reason))
        fate = self(found.key, other or nexthop, recipient).fate
        return Way(Fate(fate.word, Reason(f"{text}: {fate.why.text}", reason.origin), fate.cure))

    def _protection(self, service: Service, nexthop: str, host: Host) -> Reason:
        name = f"{service.command}_tls_security_level"
        origin = self._settings.origin(name, service.key)
        faults: list[str] = []
        try:
            security = protection(self._settings, service, self._tables, nexthop, host, faults.append)
        except ConfigError as error:
            return Reason(f"not at all: {error.text}", error.origin)
        if isinstance(security, Status):
            return Reason(f"not at all: {security.text}: {'; '.join(faults)}", origin)
        return Reason(f"{security.level}: {_PROTECTION[security.level]}", origin)


def _program(service: Service) -> Fate:
    try:
        attributes = parse(service.arguments)
        why = unusable_pipe(service)
    except BadAttribute as error:
        return Fate("deferred", Reason(f"{error}: mail waits", service.origin), f"correct {service.name} in master.cf")
    if why:
        cure = f"see to what is missing, or correct {service.name} in master.cf"
        return Fate("deferred", Reason(f"{why}: mail waits, and is then returned", service.origin), cure)
    return Fate("delivered", Reason(f"to {' '.join(attributes.argv)}, run as {attributes.user}", service.origin))
