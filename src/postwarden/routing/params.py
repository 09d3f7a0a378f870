"""What routing reads of the configuration, and what it makes of it."""

from collections.abc import Mapping

from msgspec import Struct
from msgspec.structs import replace

from postwarden.config.errors import ConfigError
from postwarden.config.settings import Settings
from postwarden.config.view import view
from postwarden.wire.dns import Kind


class SmtpRoutingParams(Struct, frozen=True):
    """For transports of the program smtp(8)."""

    allow_srv_lookup_fallback: bool
    disable_dns_lookups: bool
    ignore_mx_lookup_error: bool
    ignore_srv_lookup_error: bool
    inet_protocols: tuple[str, ...]
    known_tcp_ports: tuple[str, ...]
    relayhost: str
    smtp_address_preference: str
    smtp_balance_inet_protocols: bool
    smtp_cname_overrides_servername: bool
    smtp_defer_if_no_mx_address_found: bool
    smtp_dns_resolver_options: tuple[str, ...]
    smtp_dns_support_level: str
    smtp_fallback_relay: tuple[str, ...]
    smtp_host_lookup: tuple[str, ...]
    smtp_mx_address_limit: int
    smtp_randomize_addresses: bool
    smtp_tcp_port: str
    use_srv_lookup: tuple[str, ...]


class LmtpRoutingParams(Struct, frozen=True):
    """For transports of the program lmtp(8)."""

    allow_srv_lookup_fallback: bool
    disable_dns_lookups: bool
    ignore_srv_lookup_error: bool
    inet_protocols: tuple[str, ...]
    known_tcp_ports: tuple[str, ...]
    myhostname: str
    lmtp_address_preference: str
    lmtp_balance_inet_protocols: bool
    lmtp_cname_overrides_servername: bool
    lmtp_dns_resolver_options: tuple[str, ...]
    lmtp_dns_support_level: str
    lmtp_fallback_relay: tuple[str, ...]
    lmtp_host_lookup: tuple[str, ...]
    lmtp_mx_address_limit: int
    lmtp_randomize_addresses: bool
    lmtp_tcp_port: str
    use_srv_lookup: tuple[str, ...]


class Routing(Struct, frozen=True):
    """The compiled view of one transport."""

    families: tuple[Kind, ...]
    """Which addresses to look for, in the order in which to ask: A, AAAA."""
    ports: Mapping[str, int]
    """Names of ports; what is no number and not in here can't be used."""
    default_port: str = "25"
    lmtp: bool = False
    """No MX lookups; `unix:` and `inet:` destinations."""
    myhostname: str = ""
    """Name of the host behind a Unix socket."""
    dns: bool = True
    """False: neither MX nor address lookups in DNS, only the system's own lookup of hosts."""
    native: bool = False
    """Ask the system's own lookup for hosts that DNS does not have."""
    only_native: bool = False
    ignore_mx_error: bool = False
    defer_if_no_address: bool = False
    preference: Kind | None = None
    """The address family that goes first among hosts of equal preference; None: no matter."""
    balance: bool = True
    address_limit: int = 5
    """0: none."""
    shuffle: bool = True
    fallback: tuple[str, ...] = ()
    relayhost: str = ""
    canonical_names: bool = False
    """A host is known by the name to which its aliases lead, whoever says that they do."""
    dnssec: bool = False
    """Aliases that were validated lead to the host's name in any case."""
    own_domain: bool = False
    """A name of one component is first looked for in this machine's domain."""
    search: bool = False
    """A name that is not found is looked for in the domains of the search list."""
    services: frozenset[str] = frozenset()
    """`domain:service` with one of these stands for SRV records."""
    ignore_srv_error: bool = False
    without_srv: bool = False
    """A domain without SRV records is looked up as any other."""


class BadValue(ValueError):
    """A parameter has a value that it can't have."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(f"{name}: {text}")
        self.name = name


def routing_of(settings: Settings, service: str, *, lmtp: bool) -> Routing:
    """The routing of one transport. ConfigError names the line of a bad value."""
    try:
        if lmtp:
            return compile_lmtp(view(LmtpRoutingParams, settings, service))
        return compile_smtp(view(SmtpRoutingParams, settings, service))
    except BadValue as error:
        raise ConfigError(settings.origin(error.name, service), f"bad value for {error}") from error


def compile_smtp(params: SmtpRoutingParams) -> Routing:
    """Raises BadValue."""
    return replace(
        _compiled(params, "smtp"),
        ignore_mx_error=params.ignore_mx_lookup_error,
        defer_if_no_address=params.smtp_defer_if_no_mx_address_found,
        relayhost=params.relayhost,
    )


def compile_lmtp(params: LmtpRoutingParams) -> Routing:
    """Raises BadValue."""
    return replace(_compiled(params, "lmtp"), lmtp=True, myhostname=params.myhostname)


def _compiled(params: SmtpRoutingParams | LmtpRoutingParams, prefix: str) -> Routing:
    """What both have under names of their own."""

    def text(name: str) -> str:
        return str(getattr(params, f"{prefix}_{name}"))

    def words(name: str) -> tuple[str, ...]:
        return tuple(getattr(params, f"{prefix}_{name}"))

    def flag(name: str) -> bool:
        return bool(getattr(params, f"{prefix}_{name}"))

    level = text("dns_support_level")
    dns = _dns(f"{prefix}_dns_support_level", level, params.disable_dns_lookups)
    native, only_native = _lookup(f"{prefix}_host_lookup", words("host_lookup"), dns)
    options = _resolver_options(f"{prefix}_dns_resolver_options", words("dns_resolver_options"))
    return Routing(
        _families(params.inet_protocols),
        _ports(params.known_tcp_ports),
        text("tcp_port"),
        dns=dns,
        native=native,
        only_native=only_native,
        preference=_preference(f"{prefix}_address_preference", text("address_preference")),
        balance=flag("balance_inet_protocols"),
        address_limit=int(getattr(params, f"{prefix}_mx_address_limit")),
        shuffle=flag("randomize_addresses"),
        fallback=words("fallback_relay"),
        canonical_names=flag("cname_overrides_servername"),
        dnssec=level.lower() == "dnssec",
        own_domain="res_defnames" in options,
        search="res_dnsrch" in options,
        services=frozenset(params.use_srv_lookup),
        ignore_srv_error=params.ignore_srv_lookup_error,
        without_srv=params.allow_srv_lookup_fallback,
    )


def _families(names: tuple[str, ...]) -> tuple[Kind, ...]:
    known = {"ipv4": (Kind.A,), "ipv6": (Kind.AAAA,), "all": (Kind.A, Kind.AAAA)}
    chosen = {kind for name in names for kind in known[_one_of("inet_protocols", name, known)]}
    if not chosen:
        raise BadValue("inet_protocols", "all network protocols are disabled")
    return tuple(sorted(chosen))


def _preference(name: str, text: str) -> Kind | None:
    known = {"any": None, "ipv4": Kind.A, "ipv6": Kind.AAAA}
    return known[_one_of(name, text, known)]


def _dns(name: str, level: str, disabled: bool) -> bool:
    if not level:
        return not disabled
    return _one_of(name, level, {"disabled": 0, "enabled": 1, "dnssec": 1}) != "disabled"


def _lookup(name: str, words: tuple[str, ...], dns: bool) -> tuple[bool, bool]:
    chosen = {_one_of(name, word, {"dns": 0, "native": 0}) for word in words}
    return "native" in chosen or not dns, "dns" not in chosen or not dns


def _resolver_options(name: str, words: tuple[str, ...]) -> frozenset[str]:
    """Postfix compares them with their case."""
    known = frozenset(("res_defnames", "res_dnsrch"))
    for word in words:
        if word not in known:
            raise BadValue(name, f"{word} is none of {', '.join(sorted(known))}")
    return frozenset(words)


def _one_of(name: str, text: str, known: Mapping[str, object]) -> str:
    if text.lower() not in known:
        raise BadValue(name, f"{text} is none of {', '.join(known)}")
    return text.lower()


def _ports(items: tuple[str, ...]) -> dict[str, int]:
    """`smtps=submissions=465` gives one port two names."""
    ports: dict[str, int] = {}
    for item in items:
        *names, number = item.split("=")
        if not number.isdecimal() or not 0 < int(number) < 65536 or not names:
            raise BadValue("known_tcp_ports", f"{item} is not name=port")
        ports.update((name.strip(), int(number)) for name in names)
    return ports
