"""Where does mail to an address go: its class, transport and next hop, as trivial-rewrite(8) decides it.

The domain decides the class: local (mydestination, and literals of our own addresses), virtual alias, virtual mailbox,
relay, or default. transport_maps may then give another transport or next hop, relocated_maps says who has moved. An
address that was routed through a local domain (`user%elsewhere@here`) is what it was routed to.
"""

import re
from enum import Enum

from msgspec import Struct
from msgspec.structs import replace

from postwarden.addressing.local import LocalDomains
from postwarden.addressing.params import LocalParams, ProbeRouteParams, ResolveParams, RewriteParams
from postwarden.addressing.rewrite import Rewriter, without_dot
from postwarden.addressing.senders import RELAYHOSTS, TRANSPORTS, SenderMaps
from postwarden.addressing.transports import apply_transport, find_transport, valid_literal
from postwarden.config.errors import ConfigError
from postwarden.config.settings import Settings
from postwarden.config.view import view
from postwarden.mail.address import is_dot_atom
from postwarden.mail.decision import BUILT_IN, Origin, Rule
from postwarden.mail.hostname import valid_address, valid_hostname
from postwarden.tables.matching import MatchList
from postwarden.tables.opening import Tables
from postwarden.tables.table import Found

_MAX_KEPT = 20_000
_BAD = "5.1.3 bad address syntax"
_DEQUOTED = "resolve_dequoted_address"
_OPERATORS = frozenset("@%!")
_NON_ASCII = re.compile(r"[^\x00-\x7f]+")
_LOOPS = 100
_SYNTAX = Rule("address syntax", "", BUILT_IN)


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


_IN_PLACE = {name: name.removeprefix("address_verify_") for name in ProbeRouteParams.__struct_fields__}
_SENT_ON = frozenset((AddressClass.RELAY, AddressClass.DEFAULT))
_REFUSING = frozenset(("error", "retry"))
_DECIDES = {
    AddressClass.LOCAL: "local_transport",
    AddressClass.VIRTUAL_ALIAS: "virtual_alias_maps, which does not have this address",
    AddressClass.VIRTUAL_MAILBOX: "virtual_transport",
    AddressClass.RELAY: "relay_transport",
    AddressClass.DEFAULT: "default_transport",
}


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
    table: str = ""
    """Which parameter's table decided, if one did."""


def cause(resolved: Resolved) -> str:
    """Which parameter chose the transport, for people; empty where the address itself did."""
    return "" if resolved.bad else resolved.table or _DECIDES[resolved.address_class]


def where(rule: Rule) -> str:
    """Table, key and line, for those who may read them."""
    return " ".join(
        [word for word in (rule.name, rule.argument, f"at {rule.origin}" if rule.origin.file else "") if word]
    )


class _Home(Struct, frozen=True):
    """What the domain alone decides."""

    address_class: AddressClass
    transport: str
    nexthop: str
    rule: Rule
    numeric: bool = False
    """A bare address as domain: it gets its brackets."""


_NOWHERE = _Home(AddressClass.DEFAULT, "", "", _SYNTAX)


class AddressResolver:
    """`resolve` answers at once; a remote table raises Pending, one that can't answer TableError."""

    def __init__(
        self, settings: Settings, params: ResolveParams, tables: Tables, rewriter: Rewriter, *, probes: bool = False
    ) -> None:
        """`probes`: it is for address probes, and `params` holds what their own parameters say. Raises ConfigError."""
        self._params = params
        self._named = dict(zip(_IN_PLACE.values(), _IN_PLACE, strict=True)) if probes else {}
        self._rewriter = rewriter
        self._settings = settings
        parents = params.parent_domain_matches_subdomains
        self._local = LocalDomains(settings, view(LocalParams, settings), tables)
        self._alias, self._mailbox, self._relay = (
            MatchList(name, getattr(params, name), tables, settings.origin(name), parents=name in parents)
            for name in ("virtual_alias_domains", "virtual_mailbox_domains", "relay_domains")
        )
        self._transports = tables.maps(params.transport_maps, self._origin("transport_maps"), literal=True)
        self._parents_by_dot = "transport_maps" not in parents
        self._relocated = tables.maps(params.relocated_maps, settings.origin("relocated_maps"))
        self._senders = SenderMaps(self._origin, params, tables, self.by_name_alone)
        self._mapped = bool(self._transports or self._relocated or self._senders)
        self._defaults = {
            kind: self._default(kind, parameter)
            for kind, parameter in (
                (AddressClass.LOCAL, "local_transport"),
                (AddressClass.VIRTUAL_MAILBOX, "virtual_transport"),
                (AddressClass.RELAY, "relay_transport"),
                (AddressClass.DEFAULT, "default_transport"),
            )
        }
        if not params.empty_address_recipient:
            origin = settings.origin("empty_address_recipient")
            raise ConfigError(origin, "empty_address_recipient: mail to nobody has to go to somebody")
        # What a domain alone decides, by the domain as it was written.
        self._homes: dict[str, _Home] = {}

    def forget(self) -> None:
        """A table or a file in a list has changed. Raises ConfigError, and then goes on with what it had."""
        self._homes.clear()
        self._local.forget()
        for matches in (self._alias, self._mailbox, self._relay):
            if matches.stale():
                matches.reload()

    def local_domain(self, domain: str) -> bool:
        """Is it ours to deliver in (mydestination, our own address literals)? Raises TableError."""
        return self._local.has(domain)

    def by_name_alone(self, domain: str) -> bool:
        """Whether canonical(5) and its like have users of this domain by their name alone. Raises TableError."""
        return self._local.by_name_alone(domain)

    def rewrite(self, address: str) -> str:
        """Standard form."""
        return self._rewriter.rewrite(address)

    def resolve(self, address: str, sender: str | None = None) -> Resolved:
        """`sender`: whose mail it is, in standard form, empty for nobody's; None: what depends on it is left out.
        Raises TableError and Pending."""
        address = self._rewriter.rewrite(address)
        local, at, domain = address.rpartition("@")
        if not at or not local or not domain or domain[-1] == "." or self._local.has(domain):
            local, domain = self._unroute(local if at else address, domain if at else None)
            address = f"{local}@{domain}"
        home = self._homes.get(domain)
        if home is None:
            home = self._find_home(domain)
            if len(self._homes) >= _MAX_KEPT:
                self._homes.clear()
            self._homes[domain] = home
        if home.numeric:
            address = f"{local}@[{domain}]"
        if not home.transport or (local[:1] == "-" and not self._params.allow_min_user):
            return Resolved(home.address_class, "error", _BAD, address, _SYNTAX, bad=True)
        routed = not _OPERATORS.isdisjoint(local)
        resolved = Resolved(home.address_class, home.transport, home.nexthop, address, home.rule, routed)
        if not self._mapped:
            return resolved
        if sender is not None and self._senders and home.address_class in _SENT_ON:
            resolved = self._by_sender(resolved, sender)
        return self._overridden(resolved)

    def wordless(self, resolved: Resolved) -> Rule | None:
        """The parameter that chose the transport, where it says no more than its name: the next hop is then a domain,
        and no reason if that transport is `error`. None: a next hop was given, or a table or the address decided."""
        name = self._name(_DECIDES[resolved.address_class])
        if resolved.bad or resolved.table or self._defaults.get(resolved.address_class, ("", "-"))[1]:
            return None
        return Rule(name, "", self._settings.origin(name))

    def unrouted(self, address: str) -> list[tuple[str, str, str]]:
        """How `resolve` comes to another recipient than the address in standard form: (parameter, before, after);
        `trailing dot` is the syntax's. Raises TableError and Pending."""
        address = self._rewriter.rewrite(address)
        local, at, domain = address.rpartition("@")
        trail: list[tuple[str, str, str]] = []
        self._unroute(local if at else address, domain if at else None, trail)
        last, after = trail[-1][2] if trail else address, self.resolve(address).recipient
        if after != last:
            numeric = after.rpartition("@")[2][:1] == "[" != last.rpartition("@")[2][:1]
            trail.append(("resolve_numeric_domain" if numeric else "trailing dot", last, after))
        return trail

    def _unroute(
        self, local: str, domain: str | None, trail: list[tuple[str, str, str]] | None = None
    ) -> tuple[str, str]:
        """Take local domains off, and follow what is left of the address, until a foreign domain or a plain local
        user stands there: (local part, domain). `trail`: as `unrouted` answers it."""
        saved: str | None = None
        for _ in range(_LOOPS + len(local)):
            domain = None if domain is None else without_dot(domain)
            if domain == "" and self._params.resolve_null_domain:
                domain = None
            if domain is not None:
                if domain and not self.local_domain(domain):
                    return local, domain
                saved, domain = domain, None
            inner, before = self._inner(local), "" if trail is None else _joined(local, saved)
            if inner is not None:
                by = self._rewriter.steps(local)[0][0] if trail is not None and is_dot_atom(local) else _DEQUOTED
                local, domain = inner
            elif not local:
                # Mail to nobody is for whoever our own messages come from.
                by, (local, domain) = "empty_address_recipient", _split(self._params.empty_address_recipient)
            elif saved is None:
                by, domain = "myhostname", self._params.myhostname
            else:
                return local, saved
            if trail is not None:
                trail.append((by, before, _joined(local, domain)))
        raise RuntimeError("an address that resolves for ever")

    def _inner(self, local: str) -> tuple[str, str | None] | None:
        """What a local part routes to: (local part, domain). None: nowhere, it is a user."""
        if _OPERATORS.isdisjoint(local):
            return None
        params = self._rewriter.params
        bang, percent = params.swap_bangpath and "!" in local, params.allow_percent_hack and "%" in local
        if is_dot_atom(local):
            return self._rewriter.route(local) if bang or percent else None
        # Quoted. Technically nobody's business, but a next hop that takes the quotes off would relay by it.
        if not self._params.resolve_dequoted_address:
            return None
        if "@" not in local:
            if percent:
                local = "@".join(local.rsplit("%", 1))
            elif bang:
                site, _, user = local.partition("!")
                return user, self._rewriter.complete(site)
            else:
                return None
        _, _, routed = local.partition(":")
        if local[0] == "@" and routed:
            # RFC 5321 appendix C: a source route is ignored.
            return self._rewriter.route(routed)
        user, _, site = local.rpartition("@")
        return user, self._rewriter.complete(site)

    def _by_sender(self, resolved: Resolved, sender: str) -> Resolved:
        """What stands in for default_transport and relayhost, for mail of this sender."""
        kind = resolved.address_class
        transport, nexthop = self._defaults[kind]
        rule, table = resolved.rule, ""
        given = self._senders.transport(sender) if kind is AddressClass.DEFAULT else None
        if given is not None:
            (transport, nexthop, rule), table = given, self._name(TRANSPORTS)
        if not nexthop:
            relayhost = self._senders.relayhost(sender)
            if relayhost is None:
                nexthop = self._params.relayhost or resolved.recipient.rpartition("@")[2]
            else:
                nexthop = relayhost[0]
                if not table and transport not in _REFUSING:
                    rule, table = relayhost[1], self._name(RELAYHOSTS)
        return replace(resolved, transport=transport, nexthop=nexthop, rule=rule, table=table)

    def _overridden(self, resolved: Resolved) -> Resolved:
        """What transport_maps and relocated_maps say. A virtual alias domain has no transport to be replaced."""
        address, delimiters = resolved.recipient, self._params.recipient_delimiter
        if self._transports and resolved.address_class is not AddressClass.VIRTUAL_ALIAS:
            found = find_transport(
                self._transports, address, delimiters=delimiters, parents_by_dot=self._parents_by_dot
            )
            if found is not None:
                domain = address.rpartition("@")[2]
                transport, nexthop = apply_transport(found.value, resolved.transport, resolved.nexthop, domain)
                resolved = self._decided(resolved, transport, nexthop, found, "transport_maps")
        if self._relocated:
            moved = self._relocated.find_address(address, delimiters, self.by_name_alone)
            if moved is not None:
                prefix = "5.1.6 User has moved to " if self._params.relocated_prefix_enable else ""
                resolved = self._decided(resolved, "error", prefix + moved.value, moved, "relocated_maps")
        return resolved

    def _decided(self, resolved: Resolved, transport: str, nexthop: str, found: Found, table: str) -> Resolved:
        rule = Rule(found.table, found.key, found.origin or self._origin(table))
        return replace(resolved, transport=transport, nexthop=nexthop, rule=rule, table=self._name(table))

    def _name(self, parameter: str) -> str:
        """What it is called in main.cf."""
        return self._named.get(parameter, parameter)

    def _origin(self, parameter: str) -> Origin:
        return self._settings.origin(self._name(parameter))

    def _find_home(self, domain: str) -> _Home:
        if domain[:1] == "[":
            if not valid_literal(domain):
                return _NOWHERE
        elif not valid_hostname(_NON_ASCII.sub("x", domain)):
            if not (self._params.resolve_numeric_domain and valid_address(domain)):
                return _NOWHERE
            return replace(self._find_home(f"[{domain}]"), numeric=True)
        if self.local_domain(domain):
            because = "inet_interfaces" if domain[0] == "[" else "mydestination"
            return self._class(AddressClass.LOCAL, domain, because)
        if self._alias.match_string(domain):
            unknown = " in virtual alias table" if self._params.show_user_unknown_table_name else ""
            rule = Rule("virtual_alias_domains", domain, self._settings.origin("virtual_alias_domains"))
            return _Home(AddressClass.VIRTUAL_ALIAS, "error", f"5.1.1 User unknown{unknown}", rule)
        if self._mailbox.match_string(domain):
            return self._class(AddressClass.VIRTUAL_MAILBOX, domain, "virtual_mailbox_domains")
        nexthop = self._params.relayhost or domain
        if self._relay.match_domain(domain):
            return self._class(AddressClass.RELAY, nexthop, "relay_domains")
        return self._class(AddressClass.DEFAULT, nexthop, "default_transport")

    def _class(self, kind: AddressClass, nexthop: str, because: str) -> _Home:
        transport, given = self._defaults[kind]
        return _Home(kind, transport, given or nexthop, Rule(because, "", self._settings.origin(because)))

    def _default(self, kind: AddressClass, parameter: str) -> tuple[str, str]:
        transport, _, nexthop = getattr(self._params, parameter).partition(":")
        if not transport:
            text = f"{self._name(parameter)}: null transport is not allowed"
            raise ConfigError(self._origin(parameter), text)
        return transport, nexthop


def _joined(local: str, domain: str | None) -> str:
    return local if domain is None else f"{local}@{domain}"


def _split(address: str) -> tuple[str, str | None]:
    local, at, domain = address.rpartition("@")
    return (local, domain) if at else (address, None)


def open_probe_resolver(settings: Settings, tables: Tables, usual: AddressResolver) -> AddressResolver:
    """The resolver of address probes (address_verify_relayhost and its like), which is the `usual` one where their way
    is that of mail. Raises ConfigError."""
    params, own = view(ResolveParams, settings), view(ProbeRouteParams, settings)
    routes = replace(params, **{usual: getattr(own, name) for name, usual in _IN_PLACE.items()})
    if routes == params:
        return usual
    return AddressResolver(settings, routes, tables, Rewriter(view(RewriteParams, settings)), probes=True)


def open_resolver(settings: Settings, tables: Tables) -> AddressResolver:
    """The resolver that `settings` describe. Raises ConfigError."""
    return AddressResolver(settings, view(ResolveParams, settings), tables, Rewriter(view(RewriteParams, settings)))
