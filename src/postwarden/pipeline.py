"""READ FIRST: the way of a message. Each function joins the stages of one role in mail order; wiring only.

    receiver:  receive -> policy -> content -> spool                  `receiver`
    courier:   spool -> schedule -> routing as far as the next hop    `roles.courier`, over `schedule.courier`
    carrier:   routing from next hop to hosts -> deliver              `carrier`
    agent:     deliver to mailboxes                                   `roles.agent`, over `deliver.local`

A stage never imports another: what it needs it declares as a Protocol, and gets it here.
"""

from collections.abc import Awaitable, Callable

from postwarden.addressing.resolve import open_resolver
from postwarden.bounce.params import BounceParams
from postwarden.bounce.report import Reports
from postwarden.config.errors import Problem
from postwarden.config.settings import Settings
from postwarden.config.values import split
from postwarden.config.view import view
from postwarden.deliver.discard import discard
from postwarden.deliver.error import error
from postwarden.deliver.smtp.deliverer import SmtpDeliverer
from postwarden.deliver.smtp.params import LmtpParams, SmtpParams, lmtp_profile, smtp_profile
from postwarden.deliver.smtp.protocols import ClientTls
from postwarden.mail.date import mail_date
from postwarden.mail.envelope import Envelope
from postwarden.mail.events import Warn
from postwarden.net.clock import Clock
from postwarden.net.dial import Dial
from postwarden.net.log import Log
from postwarden.net.names import Names
from postwarden.routing.finder import HostFinder
from postwarden.routing.params import routing_of
from postwarden.schedule.courier import Parts
from postwarden.schedule.message import Delivery
from postwarden.schedule.params import CourierParams
from postwarden.schedule.planning import Planner
from postwarden.schedule.ports import Ledger
from postwarden.schedule.scheduler import Scheduler
from postwarden.schedule.spawning import Spawner
from postwarden.tables.opening import Tables
from postwarden.tables.table import TableError

Fetch = Callable[[Callable[[], Awaitable[None]], Callable[[], None]], None]


class Surroundings:
    """What a process has: time, log, names, connections. The same for every stage in it."""

    def __init__(self, clock: Clock, log: Log, names: Names, dial: Dial) -> None:
        self.clock = clock
        self.log = log
        self.names = names
        self.dial = dial


def carrier(
    settings: Settings, around: Surroundings, tls: Callable[[str], ClientTls | None]
) -> dict[str, SmtpDeliverer]:
    """A deliverer for each master.cf entry whose command is smtp or lmtp; `tls(service)` makes its side of TLS.
    Raises ConfigError."""
    own = (*settings.own_addresses(), *split(settings.text("proxy_interfaces")))
    deliverers = {}
    for service in settings.services:
        if service.type == "inet" or service.command not in ("smtp", "lmtp"):
            continue
        lmtp = service.command == "lmtp"
        if lmtp:
            profile = lmtp_profile(view(LmtpParams, settings, service.key))
        else:
            profile = smtp_profile(view(SmtpParams, settings, service.key))
        routing = routing_of(settings, service.key, lmtp=lmtp)
        log_name = settings.text("syslog_name", service.key)

        def warn(text: str, program: str = service.command, log_name: str = log_name) -> None:
            around.log.emit(program, Warn(text), log_name)

        deliverers[service.name] = SmtpDeliverer(
            profile,
            HostFinder(routing, around.names.dns, around.names.native, own=own, warn=warn),
            around.dial,
            clock=around.clock,
            log=around.log,
            tls=tls(service.key),
            log_name=log_name,
        )
    return deliverers


def courier(
    settings: Settings, ledger: Ledger, scheduler: Scheduler[Delivery], *, clock: Clock, log: Log, fetch: Fetch
) -> Parts:
    """What the courier's core works with: its next hops, its reports, the transports it performs itself.
    Raises ConfigError."""
    params = view(CourierParams, settings)
    bounce = view(BounceParams, settings)
    tables = Tables.of(settings)
    resolver = open_resolver(settings, tables)
    planner = Planner(
        resolver,
        scheduler.limits,
        faults=(TableError,),
        delimiter=params.recipient_delimiter,
        deferred_transports=params.defer_transports,
    )

    def trace(queue_id: str, now: float) -> bytes:
        lines = f"Received: by {bounce.myhostname} ({bounce.mail_name})\r\n\tid {queue_id}; {mail_date(now)}\r\n"
        return lines.encode()

    def refresh() -> list[Problem]:
        problems = tables.refresh()
        resolver.forget()
        return problems

    inside = {
        "error": lambda name, nexthop, _: error(nexthop, "retry" if name == "retry" else "error"),
        "discard": lambda name, nexthop, _: discard(nexthop),
    }
    spawner = Spawner(
        Reports(bounce, clock.now), _as_it_is, new_queue_id=ledger.new_queue_id, now=clock.now, trace=trace
    )
    return Parts(ledger, clock, log, planner, spawner, inside, fetch, refresh)


def _as_it_is(envelope: Envelope, head: bytes) -> tuple[Envelope, bytes]:
    return envelope, head
