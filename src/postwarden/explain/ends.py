"""Where mail for an address ends once aliases are through with it: which transport, which host, how safe the way."""

import ipaddress

from msgspec import Struct
from msgspec.structs import replace

from postwarden.addressing.resolve import AddressClass, Resolved, cause
from postwarden.config.errors import ConfigError
from postwarden.config.settings import Service, Settings
from postwarden.config.values import split
from postwarden.deliver.pipe.attributes import BadAttribute
from postwarden.deliver.smtp.security import Security
from postwarden.explain.gateway import Gateway
from postwarden.explain.programs import unusable_command, unusable_pipe
from postwarden.explain.protection import protection, unknown_host
from postwarden.tables.opening import Tables

MAILBOX, FILE, COMMAND, RELAY, REFUSED, NOWHERE, DISCARDED = (
    "mailbox", "file", "command", "relay", "refused", "nowhere", "discarded",
)  # fmt: skip
_MANDATORY = frozenset(("encrypt", "fingerprint", "verify", "secure", "dane-only"))


class End(Struct, frozen=True):
    kind: str
    text: str
    inside: bool = True
    """It stays within the organization."""
    clear: bool = False
    """The way there leads over a public line, and nothing makes sure that it is encrypted."""
    routed: bool = False
    """The transport that the address resolves to does it; False: local delivery, or what it gives mail to."""


class Ends:
    """Raises ConfigError."""

    def __init__(self, settings: Settings, tables: Tables, gateway: Gateway) -> None:
        self._settings = settings
        self._tables = tables
        self._gateway = gateway
        self._levels: dict[tuple[str, str], str] = {}
        names = split(settings.text("virtual_mailbox_maps"))
        self._mailboxes = tables.maps(names, settings.origin("virtual_mailbox_maps"), literal=True)

    def service(self, transport: str) -> Service | None:
        return next((s for s in self._settings.services if s.name == transport and s.type != "inet"), None)

    def local(self, resolved: Resolved) -> bool:
        service = self.service(resolved.transport)
        return service is not None and service.command == "local"

    def of(self, resolved: Resolved) -> End:
        """Of an address that local delivery does not take. Raises TableError."""
        if resolved.bad:
            return End(REFUSED, f"bad address: {resolved.recipient}")
        inside = self._gateway.inside(resolved)
        end = self.transport(resolved.transport, resolved.nexthop, resolved.recipient, inside=inside)
        if end.kind == RELAY and resolved.address_class is AddressClass.DEFAULT:
            return End(RELAY, f"{end.text}; by {cause(resolved)}", inside, end.clear, True)
        return replace(end, routed=True)

    def transport(self, name: str, nexthop: str, recipient: str, *, inside: bool = True) -> End:
        """What a transport of master.cf does. Raises TableError."""
        service = self.service(name)
        if service is None:
            return End(REFUSED, f"{name}: no such transport in master.cf: the mail waits")
        match service.command:
            case "error":
                return End(REFUSED, f"refused: {nexthop}")
            case "discard":
                return End(DISCARDED, "thrown away (discard)")
            case "virtual":
                return self._virtual(recipient)
            case "pipe":
                return _program(service)
            case "smtp" | "lmtp":
                level = self._level(service, nexthop)
                near = _near(nexthop)
                how = f"TLS {level}" if level in _MANDATORY else "TLS not required"
                clear = level not in _MANDATORY and not near
                return End(RELAY, f"{name} to {nexthop}, {f'{near}, ' if near else ''}{how}", inside, clear)
        return End(REFUSED, f"{name}: its command {service.command} delivers nothing here")

    def _virtual(self, recipient: str) -> End:
        found = self._mailboxes.find_address(recipient, self._settings.text("recipient_delimiter"))
        if found is None:
            return End(NOWHERE, f"no virtual mailbox {recipient}")
        return End(MAILBOX, f"virtual mailbox {self._settings.text('virtual_mailbox_base')}/{found.value}")

    def _level(self, service: Service, nexthop: str) -> str:
        """The TLS level to a destination; empty: it can't be said."""
        known = self._levels.get((service.key, nexthop))
        if known is None:
            known = self._levels[service.key, nexthop] = self._ask_level(service, nexthop)
        return known

    def _ask_level(self, service: Service, nexthop: str) -> str:
        try:
            found = protection(self._settings, service, self._tables, nexthop, unknown_host(nexthop), lambda text: None)
        except ConfigError:
            return ""
        return found.level if isinstance(found, Security) else ""


def command(text: str, shell: str, line: str) -> End:
    """Of a command line of local(8); `text` says what it is. `shell` is local_command_shell."""
    why = unusable_command(line, shell)
    return End(NOWHERE, f"{text}: {why}") if why else End(COMMAND, text)


def _program(service: Service) -> End:
    text = f"program of transport {service.name}"
    try:
        why = unusable_pipe(service)
    except BadAttribute as error:
        why = str(error)
    return End(NOWHERE, f"{text}: {why}") if why else End(COMMAND, text)


def _near(nexthop: str) -> str:
    """This machine, or an address that no public line carries (RFC 1918, RFC 4193), for people; empty: neither."""
    here = "on this machine"
    if nexthop.startswith(("unix:", "/")):
        return here
    host = nexthop.removeprefix("inet:")
    host = host[1:].partition("]")[0] if host.startswith("[") else host.rpartition(":")[0] if ":" in host else host
    host = host.lower().removeprefix("ipv6:")
    if host == "localhost" or host.endswith(".localhost"):
        return here
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return ""
    return here if address.is_loopback else "in a private network" if address.is_private else ""
