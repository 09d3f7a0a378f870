"""Next hop in, hosts out: the lookups that `ordering` judges."""

import random
from collections.abc import Callable, Collection
from functools import partial

from postwarden.mail.host import Host
from postwarden.mail.hostname import valid_address
from postwarden.mail.status import Status
from postwarden.net.hosts import ascii_name
from postwarden.net.resolver import Resolver
from postwarden.routing import trouble
from postwarden.routing.destination import Destination, parse_destination, split_nexthop
from postwarden.routing.ordering import Found, Loop, arrange, family, without_self
from postwarden.routing.params import Routing
from postwarden.routing.services import arranged, not_offered, service_name
from postwarden.wire.dns import Kind
from postwarden.wire.dns_answer import Answer, Outcome

Hosts = tuple[Host, ...]
Done = Callable[[Hosts | Status], None]
_MAX_EXCHANGERS = 50
_MAX_ADDRESSES = 100
_MAX_CACHED = 5_000
_UNABLE = Status("4.3.0", "server unavailable or unable to receive mail")
Name = tuple[str, int, int]
"""A host, its preference, and its port where that comes from DNS too; else 0."""


class HostFinder:
    """Finds the hosts of a transport's next hops. `own` are the addresses on which this system, or a proxy in front of
    it, receives mail; `native` is the lookup that asks /etc/hosts first; `warn` gets sentences for the log."""

    def __init__(
        self,
        routing: Routing,
        resolver: Resolver,
        native: Resolver,
        *,
        own: Collection[str] = (),
        warn: Callable[[str], None] = lambda _: None,
        rng: random.Random | None = None,
    ) -> None:
        self.routing = routing
        self._resolver = resolver
        self._native = native
        self._own = frozenset(own)
        self._warn = warn
        self._rng = rng or random.Random()
        self._parsed: dict[str, Destination] = {}

    def find(self, nexthop: str, done: Done) -> None:
        """Call `done` once, inside this call when all is known, with the hosts in the order to try them, at least
        one; or with the status of mail that has nowhere to go."""
        routing = self.routing
        if routing.lmtp:
            if nexthop.startswith("unix:"):
                path = nexthop[5:]
                done((Host(routing.myhostname, "", 0, domain=routing.myhostname, path=path),))
                return
            nexthop = nexthop.removeprefix("inet:")
        sites = split_nexthop(nexthop)
        if not sites:
            done(Status("4.3.5", f'server configuration error: null destination "{nexthop}"'))
            return
        if len(sites) == 1 and not routing.fallback:
            self._site(sites[0], 0, partial(self._only, sites[0], done))
        else:
            _Tour(self, (*sites, *routing.fallback), len(sites), done).go()

    def _only(self, site: str, done: Done, result: "Hosts | Status", final: bool) -> None:
        done(self.excused(site, result) if isinstance(result, Status) else result)

    def excused(self, site: str, status: Status) -> Status:
        if site in split_nexthop(self.routing.relayhost) and status.code.startswith("5") and not self.routing.lmtp:
            self._warn("relayhost configuration problem")
            return trouble.configuration_trouble(status)
        return status

    def _site(self, text: str, place: int, done: Callable[["Hosts | Status", bool], None]) -> None:
        """Find one destination; `done` also hears whether no other may be tried after it."""
        try:
            destination = self._parse(text)
        except ValueError as error:
            self._warn(f"{error} in destination: {text}")
            done(Status("4.3.5", f"server configuration error: {error} in destination: {text}"), False)
            return
        _Search(self, destination, place, done).begin()

    def _parse(self, text: str) -> Destination:
        known = self._parsed.get(text)
        if known is None:
            routing = self.routing
            known = parse_destination(text, routing.default_port, routing.ports, routing.services)
            if len(self._parsed) >= _MAX_CACHED:
                self._parsed.clear()
            self._parsed[text] = known
        return known


class _Tour:
    """A next hop of several destinations, or one with fallback relays behind it."""

    def __init__(self, finder: HostFinder, sites: tuple[str, ...], own_sites: int, done: Done) -> None:
        self._finder = finder
        self._sites = sites
        self._own_sites = own_sites
        self._done = done
        self._at = 0
        self._hosts: list[Host] = []
        self._status: Status | None = None

    def go(self) -> None:
        self._finder._site(self._sites[self._at], self._at, self._found)

    def _found(self, result: Hosts | Status, final: bool) -> None:
        site, place = self._sites[self._at], self._at
        if isinstance(result, Status):
            if place >= self._own_sites and result.code.startswith("5"):
                self._finder._warn("smtp_fallback_relay configuration problem")
                result = trouble.configuration_trouble(result)
            self._status = self._finder.excused(site, result) if place == 0 else result
        else:
            self._hosts += result
        self._at += 1
        if not final and self._at < len(self._sites):
            self.go()
        elif self._hosts or self._status is None:
            self._done(tuple(self._hosts))
        else:
            self._done(self._status)


class _Search:
    """One destination."""

    def __init__(
        self,
        finder: HostFinder,
        destination: Destination,
        place: int,
        done: Callable[[Hosts | Status, bool], None],
    ) -> None:
        self._finder = finder
        self._routing = finder.routing
        self._destination = destination
        self._name = ascii_name(destination.host)
        self._place = place
        self._done = done

    def begin(self) -> None:
        destination = self._destination
        if destination.service and self._routing.dns:
            name = service_name(destination.service, self._name)
            self._finder._resolver.lookup(name, Kind.SRV, self._services)
        else:
            self._without_service()

    def _services(self, answer: Answer) -> None:
        routing, service = self._routing, self._destination.service
        if answer.outcome is Outcome.FOUND:
            if any(record.data == "" for record in answer.records):
                self._done(not_offered(service, self._name), False)
                return
            records = arranged(answer.records, self._finder._rng)[:_MAX_EXCHANGERS]
            names = [(str(record.data), record.preference, record.port) for record in records]
            _Addresses(self._finder, names, answer.authenticated, self._servers).begin()
        elif routing.without_srv or (routing.ignore_srv_error and not answer.missing):
            self._without_service()
        else:
            self._done(trouble.lookup_trouble(answer), False)

    def _servers(self, hosts: list[Host], status: Status | None) -> None:
        """Of SRV records: their order was drawn, and stays."""
        if hosts:
            limit = self._routing.address_limit
            self._done(self._finished(tuple(hosts[: limit or None])), False)
        else:
            self._done(status or _UNABLE, False)

    def _without_service(self) -> None:
        if not self._destination.port:
            text = f"server configuration error: unknown port '{self._destination.service}'"
            self._done(Status("4.3.5", text), False)
        elif self._routing.lmtp or not self._routing.dns or self._destination.literal:
            self._host_only()
        elif trouble.name_trouble(self._name) is not None:
            self._host_only()  # perhaps an address without brackets
        else:
            self._finder._resolver.lookup(self._name, Kind.MX, self._exchangers)

    def _exchangers(self, answer: Answer) -> None:
        if answer.missing:
            self._host_only()
        elif answer.outcome is not Outcome.FOUND:
            if self._routing.ignore_mx_error:
                self._host_only()
            else:
                self._done(trouble.lookup_trouble(answer), False)
        elif any(record.data == "" for record in answer.records):
            self._done(trouble.null_mx(self._name), False)
        else:
            records = sorted(answer.records, key=lambda record: record.preference)[:_MAX_EXCHANGERS]
            collected = partial(self._collected, exchangers=True, best=records[0].preference)
            names = [(str(record.data), record.preference, 0) for record in records]
            _Addresses(self._finder, names, answer.authenticated, collected).begin()

    def _host_only(self) -> None:
        collected = partial(self._collected, exchangers=False, best=0)
        _Addresses(self._finder, [(self._name, 0, 0)], True, collected).begin()

    def _collected(self, hosts: list[Host], status: Status | None, *, exchangers: bool, best: int) -> None:
        routing, domain = self._routing, self._destination.host
        if not hosts:
            status = status or _UNABLE
            if exchangers:
                self._finder._warn(f"no MX host for {domain} has a valid address record")
                if routing.defer_if_no_address:
                    status = trouble.soft(status)
            self._done(status, False)
            return
        found = Found(domain, tuple(hosts), best, exchangers)
        final = False
        remaining = found.hosts
        # On another port somebody else listens, and mail may well go there on purpose.
        if self._destination.port == 25 and not routing.lmtp:
            try:
                remaining, final = without_self(found, self._finder._own)
            except Loop as loop:
                self._done(loop.status, True)
                return
        self._done(self._finished(arrange(remaining, routing, self._finder._rng)), final)

    def _finished(self, hosts: Hosts) -> Hosts:
        best, port, domain = hosts[0].preference, self._destination.port, self._destination.host
        return tuple(
            Host(
                host.name,
                host.address,
                host.port or port,
                host.preference,
                host.preference == best,
                host.secure,
                domain,
                self._place,
            )
            for host in hosts
        )


class _Addresses:
    """The addresses of several hosts, all asked for at once, collected in the order of the hosts."""

    def __init__(
        self,
        finder: HostFinder,
        names: list[Name],
        secure: bool,
        done: Callable[[list[Host], Status | None], None],
    ) -> None:
        self._finder = finder
        self._routing = finder.routing
        self._names = names
        self._secure = secure
        self._done = done
        self._hosts: list[list[Host]] = [[] for _ in names]
        self._troubles: list[Status | None] = [None] * len(names)
        self._left = len(names)

    def begin(self) -> None:
        for at, (name, _, _) in enumerate(self._names):
            if valid_address(name) and family(name) in self._routing.families:
                self._settle(at, [name], secure=False)
            elif self._routing.only_native:
                self._ask(at, self._finder._native)
            else:
                bad = trouble.name_trouble(name)
                if bad is None:
                    self._ask(at, self._finder._resolver)
                else:
                    self._fail(at, bad, hard=True)

    def _ask(self, at: int, resolver: Resolver) -> None:
        name = self._names[at][0]
        kinds = self._routing.families
        answers: dict[Kind, Answer] = {}

        def answered(kind: Kind, answer: Answer) -> None:
            answers[kind] = answer
            if len(answers) == len(kinds):
                self._answered(at, resolver, [answers[kind] for kind in kinds])

        for kind in kinds:
            resolver.lookup(name, kind, partial(answered, kind))

    def _answered(self, at: int, resolver: Resolver, answers: list[Answer]) -> None:
        native = self._finder._native
        found = [answer for answer in answers if answer.outcome is Outcome.FOUND]
        if found:
            texts = [str(record.data) for answer in found for record in answer.records]
            authenticated = all(answer.authenticated for answer in found)
            canonical = found[0].canonical if self._renamed(authenticated) and resolver is not native else ""
            self._settle(at, texts, secure=self._secure and authenticated, canonical=canonical)
            return
        reported = trouble.worst(answers)
        if resolver is native:
            self._fail(at, _native_trouble(self._names[at][0], reported), hard=False)
        else:
            self._fail(at, trouble.lookup_trouble(reported), hard=not reported.missing)

    def _fail(self, at: int, status: Status, *, hard: bool) -> None:
        """`hard`: the system's own lookup is not asked, since it would ask the same servers."""
        if not hard and self._routing.native and not self._routing.only_native and self._troubles[at] is None:
            self._troubles[at] = status
            self._ask(at, self._finder._native)
            return
        self._troubles[at] = status
        self._end()

    def _renamed(self, authenticated: bool) -> bool:
        return self._routing.canonical_names or (self._routing.dnssec and authenticated)

    def _settle(self, at: int, texts: list[str], *, secure: bool, canonical: str = "") -> None:
        name, preference, port = self._names[at]
        self._troubles[at] = None
        self._hosts[at] = [Host(canonical or name, text, port, preference, secure=secure) for text in texts]
        self._end()

    def _end(self) -> None:
        self._left -= 1
        if self._left:
            return
        status: Status | None = None
        for one in self._troubles:
            if one is not None:
                status = trouble.after(status, one)
        self._done([host for hosts in self._hosts for host in hosts][:_MAX_ADDRESSES], status)


def _native_trouble(name: str, answer: Answer) -> Status:
    if answer.outcome is Outcome.TEMPFAIL:
        return Status("4.4.4", f"unable to look up host {name}: Temporary failure in name resolution")
    if answer.outcome is Outcome.NODATA:
        return Status("5.4.4", f"unable to look up host {name}: No address associated with hostname")
    return Status("5.4.4", f"unable to look up host {name}: Name or service not known")
