"""READ FIRST: the way of a message. Each function joins the stages of one role in mail order; wiring only.

    receiver:  receive -> policy -> content -> spool                  `receiver`
    courier:   spool -> schedule -> routing as far as the next hop    `roles.courier`, over `schedule.courier`
    carrier:   routing from next hop to hosts -> deliver              `carrier`
    agent:     deliver to mailboxes                                   `roles.agent`, over `deliver.local`

A stage never imports another: what it needs it declares as a Protocol, and gets it here.
"""

import os
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial

from msgspec import Struct
from msgspec.structs import replace

from postwarden.addressing.local import LocalDomains
from postwarden.addressing.params import LocalParams, RewriteParams
from postwarden.addressing.resolve import open_probe_resolver, open_resolver
from postwarden.addressing.rewrite import Rewriter
from postwarden.bounce.opening import open_reports
from postwarden.bounce.params import BounceParams
from postwarden.config.errors import ConfigError, Problem
from postwarden.config.settings import Settings
from postwarden.config.view import view
from postwarden.content.generic import Generic
from postwarden.content.locals import LocalClients
from postwarden.content.prepare import Prepared, Preparer
from postwarden.content.profiles import Profiles
from postwarden.deliver.smtp.deliverer import SmtpDeliverer
from postwarden.deliver.smtp.generic import GenericMaps
from postwarden.deliver.smtp.params import LmtpParams, SmtpParams, check_words, lmtp_profile, smtp_profile
from postwarden.deliver.smtp.protocols import ClientTls
from postwarden.deliver.smtp.quirks import open_quirks
from postwarden.deliver.smtp.tls import tls_policies
from postwarden.deliver.status_filter import StatusFilter
from postwarden.inside import Addressing, clerk_of, end_of_line, performed, pickup_filter, received, requeued
from postwarden.mail.envelope import Envelope
from postwarden.mail.events import Notice, Warn
from postwarden.mail.probe_sender import ProbeSender
from postwarden.mail.reply import Reply
from postwarden.net.asking import Asker
from postwarden.net.clock import Clock
from postwarden.net.dial import Dial
from postwarden.net.log import Log
from postwarden.net.names import Names
from postwarden.net.peername import PeerNames
from postwarden.net.waiting import Waiting
from postwarden.policy.judge import Judge
from postwarden.policy.lists import Watch
from postwarden.policy.outside import AddressVerifier, Outside, Services, open_outside
from postwarden.policy.overrides import without_checks
from postwarden.receive.counters import Counters
from postwarden.receive.ports import Store
from postwarden.receive.service import Neighbours, Service
from postwarden.receive.submit_service import SubmitService
from postwarden.routing.opening import open_finder
from postwarden.schedule.lists import authorized, served
from postwarden.schedule.message import Delivery
from postwarden.schedule.params import CourierParams
from postwarden.schedule.parts import Parts, Probing
from postwarden.schedule.planning import Planner
from postwarden.schedule.ports import Ledger
from postwarden.schedule.scheduler import Scheduler
from postwarden.schedule.spawning import Spawner
from postwarden.tables.dns_replies import FilteredResolver
from postwarden.tables.opening import Tables
from postwarden.tables.source import NOTHING_HANDED
from postwarden.tables.table import TableError

Fetch = Callable[[Callable[[], Awaitable[None]], Callable[[], None]], None]


class Surroundings:
    """What a process has: time, log, names, connections. The same for every stage in it."""

    def __init__(
        self,
        clock: Clock,
        log: Log,
        names: Names,
        dial: Dial,
        asker: Asker | None = None,
        *,
        open_tables: Callable[..., Tables] = Tables.of,
        watch: Watch | None = None,
        verifier: AddressVerifier | None = None,
        services: Services | None = None,
    ) -> None:
        """`asker`: for tables that ask somebody; without one they block. `open_tables`, `watch` and `services` are for
        those who explain: they see each table, each restriction and each policy server asked. `verifier`: knows which
        addresses take mail."""
        self.clock = clock
        self.log = log
        self.names = names
        self.dial = dial
        self.asker = asker
        self.open_tables = open_tables
        self.watch = watch
        self.verifier = verifier
        self.services = services


class Reception(Struct, frozen=True):
    """What a receiver works with."""

    services: dict[str, Service]
    """By `name/type`, for each listener."""
    submit: SubmitService
    """Mail of local users."""
    refresh: Callable[[], list[Problem]]
    """Look at tables and files again; to be called once a second."""


def receiver(
    settings: Settings,
    around: Surroundings,
    store: Store,
    *,
    keys: tuple[str, ...],
    waiting: Waiting,
    counters: Counters,
    files: Mapping[str, str],
    users: "LocalUsers | None" = None,
) -> Reception:
    """receive -> policy -> content -> spool, for each smtpd service of `keys`. Raises ConfigError."""
    tables = around.open_tables(settings, lambda text: around.log.emit("smtpd", Notice(text)), around.asker, files)
    resolver = open_resolver(settings, tables)
    addressing = Addressing(Rewriter(view(RewriteParams, settings)).rewrite, resolver.by_name_alone)
    profiles = Profiles(settings, tables, addressing, lambda event: around.log.emit("cleanup", event))
    clerk = clerk_of(settings, tables, resolver.by_name_alone, around.log)
    outside = open_outside(
        around.names,
        around.dial,
        around.clock,
        lambda text: around.log.emit("smtpd", Warn(text)),
        around.verifier,
        services=around.services,
    )
    judges: dict[str, Judge] = {}
    locals_: dict[str, LocalClients] = {}
    services: dict[str, Service] = {}
    for key in keys:
        asked = _sifted(outside, settings, key, tables, around.log, waiting)
        judges[key] = Judge(without_checks(settings, key), key, tables, resolver, asked, watch=around.watch)
        local = locals_[key] = LocalClients(settings, key, tables)
        prepare = partial(_prepared, profiles.of(key), local)
        enabled = bool(settings.value("smtpd_peername_lookup", key))
        names = PeerNames(around.names.native, around.clock, enabled=enabled)
        services[key] = Service(
            settings,
            key,
            Neighbours(around.clock, around.log, names, judges[key], prepare, store, waiting, counters, files, clerk),
            tables,
        )
        for note in services[key].notes:
            around.log.emit("smtpd", Warn(f"{note.origin}: {note.text}"))
    submit = submission(settings, tables, around, store, profiles, waiting=waiting, users=users or LocalUsers())

    def refresh() -> list[Problem]:
        return _looked(
            tables,
            (
                resolver.forget,
                submit.users.refresh,
                *(judge.refresh for judge in judges.values()),
                *(local.refresh for local in locals_.values()),
                profiles.refresh,
                *(s.clients.refresh for s in services.values()),
            ),
        )

    return Reception(services, submit, refresh)


def _sifted(outside: Outside, settings: Settings, key: str, tables: Tables, log: Log, waiting: Waiting) -> Outside:
    """`outside` as a service may believe it: smtpd_dns_reply_filter. Raises ConfigError."""
    name, log_name = "smtpd_dns_reply_filter", settings.text("syslog_name", key)
    maps = tables.maps(settings.items(name, key), settings.origin(name, key))
    if not maps:
        return outside
    dns = FilteredResolver(
        outside.dns,
        maps,
        name,
        say=lambda text: log.emit("smtpd", Notice(text), log_name),
        warn=lambda text: log.emit("smtpd", Warn(text), log_name),
        fetch=lambda fetch, done: waiting.wait(fetch, lambda error: done()),
    )
    return replace(outside, dns=dns)


class LocalUsers(Struct, frozen=True):
    """What a receiver knows of the users of its machine."""

    login: Callable[[int], str] = lambda uid: ""
    """The name of a uid; empty: it has none."""
    trusted: int = -1
    """The mail system's own uid."""
    hourly: Counters | None = None
    """Counts by the hour."""
    relay: Callable[[str, str], None] = lambda level, text: None
    """Puts a line of a user's command into the log."""


def submission(
    settings: Settings,
    tables: Tables,
    around: Surroundings,
    store: Store,
    profiles: Profiles,
    *,
    waiting: Waiting,
    users: LocalUsers,
) -> SubmitService:
    service = settings.find_service("pickup")
    chosen = profiles.of("" if service is None else service.key)

    def prepare(envelope: Envelope, head: bytes, profile: str) -> Prepared | Reply:
        return chosen[profile](envelope, head, local=envelope.context != "remote")

    return SubmitService(
        settings,
        tables,
        clock=around.clock,
        log=around.log,
        store=store,
        prepare=prepare,
        waiting=waiting,
        counters=users.hourly,
        login=users.login,
        trusted=users.trusted,
        relay=users.relay,
    )


def _prepared(
    profiles: Mapping[str, Preparer], local: LocalClients, envelope: Envelope, head: bytes, profile: str
) -> Prepared | Reply:
    context = envelope.context
    return profiles[profile](envelope, head, local=context == "local" if context else local(envelope.client))


class Carriage(Struct, frozen=True):
    """What a carrier works with."""

    deliverers: dict[str, SmtpDeliverer]
    """By the name of the transport."""
    refresh: Callable[[], list[Problem]]
    """Look at tables again; to be called once a second."""
    tables: bool
    """There are some."""


def carrier(
    settings: Settings,
    around: Surroundings,
    tls: Callable[[str], ClientTls | None],
    *,
    files: Mapping[str, str] = NOTHING_HANDED,
    fetch: Fetch | None = None,
) -> Carriage:
    """A deliverer for each master.cf entry whose command is smtp or lmtp; `tls(service)` makes its side of TLS.
    Raises ConfigError."""
    tables = Tables.of(settings, lambda text: around.log.emit("smtp", Notice(text)), around.asker, files)
    own = (*settings.own_addresses(), *settings.items("proxy_interfaces"))
    local = LocalDomains(settings, view(LocalParams, settings), tables)
    addressing = Addressing(Rewriter(view(RewriteParams, settings)).rewrite, local.by_name_alone)
    deliverers = {}
    for service in settings.services:
        if service.type == "inet" or service.command not in ("smtp", "lmtp"):
            continue
        lmtp = service.command == "lmtp"
        if lmtp:
            profile = lmtp_profile(view(LmtpParams, settings, service.key))
        else:
            profile = smtp_profile(view(SmtpParams, settings, service.key))
        check_words(settings, service.key, service.command)
        log_name = settings.text("syslog_name", service.key)

        def say(text: str, program: str = service.command, log_name: str = log_name) -> None:
            around.log.emit(program, Notice(text), log_name)

        def warn(text: str, program: str = service.command, log_name: str = log_name) -> None:
            around.log.emit(program, Warn(text), log_name)

        name = f"{service.command}_generic_maps"
        generic = Generic(settings, service.key, name, tables, addressing)
        name = f"{service.command}_delivery_status_filter"
        filters = tables.maps(settings.items(name, service.key), settings.origin(name, service.key))
        policies = tls_policies(settings, service.key, tables, warn)
        policies.fetch = fetch
        deliverers[service.name] = SmtpDeliverer(
            profile,
            open_finder(settings, service, around.names, tables, own=own, say=say, warn=warn, fetch=fetch),
            around.dial,
            clock=around.clock,
            log=around.log,
            tls=tls(service.key),
            policies=policies,
            outward=GenericMaps(generic, warn, fetch) if generic else None,
            quirks=open_quirks(settings, service.key, tables, command=service.command, say=say, warn=warn, fetch=fetch),
            status_filter=StatusFilter(filters, warn, soft_bounce=profile.soft_bounce, name=name) if filters else None,
            log_name=log_name,
        )
    return Carriage(deliverers, lambda: _looked(tables, (local.forget,)), any(True for _ in tables))


def courier(
    settings: Settings,
    ledger: Ledger,
    scheduler: Scheduler[Delivery],
    *,
    clock: Clock,
    log: Log,
    fetch: Fetch,
    asker: Asker | None = None,
    files: Mapping[str, str] = NOTHING_HANDED,
) -> Parts:
    """What the courier's core works with: its next hops, its reports, the transports it performs itself. `asker`: for
    tables that ask somebody; without one they block. `files`: `Life.files`. Raises ConfigError."""
    params = view(CourierParams, settings)
    bounce = view(BounceParams, settings)
    tables = Tables.of(settings, lambda text: log.emit("qmgr", Notice(text)), asker, files)
    resolver = open_resolver(settings, tables)
    probes_resolver = open_probe_resolver(settings, tables, resolver)
    planner_of = partial(
        Planner,
        limits=scheduler.limits,
        faults=(TableError,),
        delimiter=params.recipient_delimiter,
        deferred_transports=params.defer_transports,
        filter_nexthop=params.default_filter_nexthop,
        end_of_line=partial(end_of_line, resolver, bounce.double_bounce_sender.lower()),
    )
    trace = received(f"by {bounce.myhostname} ({bounce.mail_name})")
    reports = open_reports(settings, clock.now, lambda text: log.emit("bounce", Warn(text)))

    def refresh() -> list[Problem]:
        return _looked(tables, (resolver.forget, probes_resolver.forget, reports.refresh))

    clerk = clerk_of(settings, tables, resolver.by_name_alone, log)
    spawner = Spawner(reports, clerk, new_queue_id=ledger.new_queue_id, now=clock.now, trace=trace, remade=clerk.remade)
    return Parts(
        ledger,
        clock,
        log,
        planner_of(resolver),
        spawner,
        performed(resolver),
        fetch,
        refresh,
        clerk,
        served(settings, params, tables),
        authorized(settings, params, tables),
        requeued(bounce, os.geteuid()),
        os.geteuid(),
        pickup_filter(settings),
        Probing(
            planner_of(probes_resolver),
            probe_sender(settings, resolver.rewrite).at,
            lambda queue_id, now: trace(queue_id, now) + b"\r\n",
        ),
        clerk.remade,
    )


def probe_sender(settings: Settings, rewrite: Callable[[str], str]) -> ProbeSender:
    """address_verify_sender and its ttl. Raises ConfigError."""
    address = settings.text("address_verify_sender")
    return ProbeSender("" if address == "<>" else rewrite(address), settings.number("address_verify_sender_ttl"))


def _looked(tables: Tables, looks: Iterable[Callable[[], None]]) -> list[Problem]:
    """What is wrong with files that have changed; who has one keeps what he had."""
    problems = tables.refresh()
    for look in looks:
        try:
            look()
        except ConfigError as error:
            problems.append(Problem(error.origin, "error", error.text))
    return problems
