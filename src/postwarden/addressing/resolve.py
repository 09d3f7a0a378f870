"""Where does mail to an address go: its class, transport and next hop, as trivial-rewrite(8) decides it.

The domain decides the class: local (mydestination, and literals of our own addresses), virtual alias, virtual mailbox,
relay, or default. transport_maps may then give another transport or next hop. An address that was routed through a
local domain (`user%elsewhere@here`) is what it was routed to.
"""

from collections.abc import Collection
from enum import Enum

from msgspec import Struct

from postwarden.addressing.params import ResolveParams, RewriteParams
from postwarden.addressing.rewrite import Rewriter
from postwarden.config.settings import Settings
from postwarden.config.view import view
from postwarden.mail.address import split
from postwarden.mail.decision import BUILT_IN, Rule
from postwarden.mail.hostname import valid_address, valid_hostname
from postwarden.tables.keys import domain_keys, split_extension
from postwarden.tables.matching import MatchList
from postwarden.tables.opening import Tables
from postwarden.tables.table import Found

_MAX_KEPT = 20_000
_BAD = "5.1.3 Bad recipient address syntax"
_ROUTING = frozenset("@%!")


class AddressClass(Enum):
    """ADDRESS_CLASS_README's five."""

    LOCAL = "local"
    VIRTUAL_ALIAS = "virtual alias"
    VIRTUAL_MAILBOX = "virtual mailbox"
    RELAY = "relay"
    DEFAULT = "default"

    @property
    def final(self) -> bool:
        """We are where this mail ends."""
        return self in (AddressClass.LOCAL, AddressClass.VIRTUAL_ALIAS, AddressClass.VIRTUAL_MAILBOX)


class Resolved(Struct, frozen=True):
    address_class: AddressClass
    transport: str
    """Name of a master.cf entry."""
    nexthop: str
    recipient: str
    """The address after routing through local domains was taken off."""
    rule: Rule
    """What decided the transport."""
    routed: bool = False
    """The local part has routing operators: another host could relay by them."""
    bad: bool = False
    """The address can't be delivered to: its domain is no domain."""


class _Home(Struct, frozen=True):
    """What the domain alone decides."""

    address_class: AddressClass
    transport: str
    nexthop: str
    rule: Rule


class AddressResolver:
    """`resolve` answers at once; a remote table raises Pending, one that can't answer TableError."""

    def __init__(self, settings: Settings, params: ResolveParams, tables: Tables, rewriter: Rewriter) -> None:
        self._params = params
        self._rewriter = rewriter
        self._settings = settings
        parents = params.parent_domain_matches_subdomains
        lists = ("mydestination", "virtual_alias_domains", "virtual_mailbox_domains", "relay_domains")
        self._local, self._alias, self._mailbox, self._relay = (
            MatchList(name, getattr(params, name), tables, settings.origin(name), parents=name in parents)
            for name in lists
        )
        self._transports = tables.maps(params.transport_maps, settings.origin("transport_maps"))
        self._transport_parents = "transport_maps" in parents
        self._literals: Collection[str] = frozenset((*settings.own_addresses(), *params.proxy_interfaces))
        self._homes: dict[str, _Home] = {}

    def forget(self) -> None:
        """A table or a file in a list has changed."""
        for matches in (self._local, self._alias, self._mailbox, self._relay):
            if matches.stale():
                matches.reload()
        self._homes.clear()

    def local_domain(self, domain: str) -> bool:
        """Is it ours to deliver in (mydestination, our own address literals)? Raises TableError."""
        return self._home(domain.lower()).address_class is AddressClass.LOCAL

    def resolve(self, address: str) -> Resolved:
        address = self._rewriter.rewrite(address)
        local, domain = split(address)
        domain = domain.lower()
        if not domain:
            if "@" in address and not self._params.resolve_null_domain:
                return Resolved(AddressClass.DEFAULT, "error", _BAD, address, self._bad().rule, bad=True)
            domain = self._params.myhostname.lower()
            address = f"{local or address}@{domain}"
            local = local or address.partition("@")[0]
        home = self._home(domain)
        routed = not _ROUTING.isdisjoint(local)
        if routed and home.address_class is AddressClass.LOCAL:
            inner = self._rewriter.rewrite(local)
            if "@" in inner and inner != f"{local}@{split(inner)[1]}":
                return self.resolve(inner)
        if home.transport == "" or not local:
            return Resolved(home.address_class, "error", _BAD, address, home.rule, routed, True)
        if self._transports:
            found = self._transport(local, domain)
            if found is not None:
                return self._by_map(found, home, address, domain, routed)
        return Resolved(home.address_class, home.transport, home.nexthop, address, home.rule, routed)

    def _home(self, domain: str) -> _Home:
        home = self._homes.get(domain)
        if home is None:
            home = self._find_home(domain)
            if len(self._homes) >= _MAX_KEPT:
                self._homes.clear()
            self._homes[domain] = home
        return home

    def _find_home(self, domain: str) -> _Home:
        params = self._params
        if domain.startswith("["):
            bare = domain.strip("[]").removeprefix("ipv6:")
            if not domain.endswith("]") or not valid_address(bare):
                return self._bad()
            if bare in self._literals:
                return self._class(AddressClass.LOCAL, "local_transport", params.myhostname, "inet_interfaces")
        elif domain.isascii() and not (
            valid_hostname(domain) or (params.resolve_numeric_domain and valid_address(domain))
        ):
            return self._bad()
        if self._local.match_domain(domain):
            return self._class(AddressClass.LOCAL, "local_transport", params.myhostname, "mydestination")
        if self._alias.match_domain(domain):
            rule = Rule("virtual_alias_domains", domain, self._settings.origin("virtual_alias_domains"))
            return _Home(AddressClass.VIRTUAL_ALIAS, "error", "5.1.1 User unknown in virtual alias table", rule)
        if self._mailbox.match_domain(domain):
            return self._class(AddressClass.VIRTUAL_MAILBOX, "virtual_transport", domain, "virtual_mailbox_domains")
        nexthop = params.relayhost or domain
        if self._relay.match_domain(domain):
            return self._class(AddressClass.RELAY, "relay_transport", nexthop, "relay_domains")
        return self._class(AddressClass.DEFAULT, "default_transport", nexthop, "default_transport")

    def _class(self, address_class: AddressClass, parameter: str, nexthop: str, because: str) -> _Home:
        transport, _, given = getattr(self._params, parameter).partition(":")
        return _Home(address_class, transport, given or nexthop, Rule(because, "", self._settings.origin(because)))

    def _bad(self) -> _Home:
        return _Home(AddressClass.DEFAULT, "", _BAD, Rule("resolve_numeric_domain", "", BUILT_IN))

    def _transport(self, local: str, domain: str) -> Found | None:
        """The keys of transport(5): `user+ext@domain`, `user@domain`, `domain`, `.domain`, …, `*`."""
        maps = self._transports
        found = maps.find(f"{local}@{domain}")
        if found is not None:
            return found
        bare, extension = split_extension(local, self._params.recipient_delimiter)
        if extension and (found := maps.find(f"{bare}@{domain}", part=True)):
            return found
        for key in domain_keys(domain, parents_by_dot=not self._transport_parents):
            found = maps.find(key, part=True)
            if found is not None:
                return found
        return maps.find("*", part=True)

    def _by_map(self, found: Found, home: _Home, address: str, domain: str, routed: bool) -> Resolved:
        """An empty result changes nothing; `transport:` resets the next hop to the domain; `:nexthop` keeps the
        transport (transport(5))."""
        transport, colon, nexthop = found.value.partition(":")
        rule = Rule(found.table, found.key, found.origin or self._settings.origin("transport_maps"))
        if not colon:
            transport, nexthop = found.value, ""
        if not transport and not nexthop:
            transport, nexthop = home.transport, home.nexthop
        elif not transport:
            transport = home.transport
        elif not nexthop:
            nexthop = self._params.myhostname if transport == "local" else domain
        return Resolved(home.address_class, transport, nexthop, address, rule, routed)


def open_resolver(settings: Settings, tables: Tables) -> AddressResolver:
    """The resolver that `settings` describe. Raises ConfigError."""
    return AddressResolver(settings, view(ResolveParams, settings), tables, Rewriter(view(RewriteParams, settings)))
