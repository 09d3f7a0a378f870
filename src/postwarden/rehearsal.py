"""What would keep a role from starting, found out before: all is compiled as `pipeline` would, and thrown away."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, cast

from postwarden.addressing.params import RewriteParams
from postwarden.addressing.resolve import open_probe_resolver, open_resolver
from postwarden.addressing.rewrite import Rewriter
from postwarden.bounce.opening import open_reports
from postwarden.config.entrances import entrances
from postwarden.config.errors import ConfigError, Problem
from postwarden.config.log_form import check_log_form
from postwarden.config.settings import Settings
from postwarden.config.view import view
from postwarden.content.locals import LocalClients
from postwarden.content.profiles import Profiles
from postwarden.deliver.smtp.params import check_words
from postwarden.deliver.smtp.quirks import open_quirks
from postwarden.deliver.smtp.tls import client_tls, tls_policies, tls_warnings
from postwarden.inside import Addressing
from postwarden.net.names import Names
from postwarden.pipeline import LocalUsers, Surroundings, submission
from postwarden.policy.judge import Judge
from postwarden.receive.service import Neighbours, Service
from postwarden.routing.opening import open_finder
from postwarden.schedule.lists import authorized, served
from postwarden.schedule.params import CourierParams
from postwarden.schedule.transports import transports
from postwarden.tables.opening import Tables

_FILTERED = ("smtp", "lmtp", "local", "virtual", "pipe")


def problems(settings: Settings) -> list[Problem]:
    """Of lists, tables, certificates and routes."""
    found: list[Problem] = []

    def attempt(compile_it: Callable[[], object]) -> object:
        try:
            return compile_it()
        except ConfigError as error:
            found.append(Problem(error.origin, "error", error.text))
            return None

    try:
        tables = Tables.of(settings)
        resolver = open_resolver(settings, tables)
        rewriter = Rewriter(view(RewriteParams, settings))
        rules = [rule for _, rule in entrances(settings)]
    except ConfigError as error:
        return [Problem(error.origin, "error", error.text)]
    addressing = Addressing(rewriter.rewrite, resolver.by_name_alone)
    nobody = cast(Any, None)
    alone = Surroundings(nobody, nobody, nobody, nobody)
    profiles = Profiles(settings, tables, addressing, nobody)
    attempt(lambda: profiles.of(""))
    attempt(lambda: submission(settings, tables, alone, nobody, profiles, waiting=nobody, users=LocalUsers()))
    for service in rules:
        key = service.key
        attempt(partial(profiles.of, key))
        attempt(partial(LocalClients, settings, key, tables))
        judge = attempt(partial(Judge, settings, key, tables, resolver))
        found += judge.notes if isinstance(judge, Judge) else ()
        made = attempt(partial(Service, settings, key, Neighbours(*[nobody] * 7), tables))
        found += made.notes if isinstance(made, Service) else ()
    for service in settings.services:
        key = service.key
        if service.command in ("smtp", "lmtp") and service.type != "inet":
            attempt(partial(open_finder, settings, service, Names(nobody, nobody), tables, own=()))
            attempt(partial(open_quirks, settings, key, tables, command=service.command, say=nobody, warn=nobody))
            attempt(partial(client_tls, settings, key, {}, found.append))
            attempt(partial(check_words, settings, key, service.command))
            attempt(partial(tls_policies, settings, key, tables, nobody))
        if service.command in _FILTERED and service.type != "inet":
            name = f"{service.command}_delivery_status_filter"
            attempt(partial(tables.maps, settings.items(name, key), settings.origin(name, key)))
    attempt(lambda: open_probe_resolver(settings, tables, resolver))
    attempt(partial(check_log_form, settings))
    attempt(partial(transports, settings))
    attempt(lambda: served(settings, view(CourierParams, settings), tables))
    attempt(lambda: authorized(settings, view(CourierParams, settings), tables))
    attempt(lambda: open_reports(settings, nobody, lambda text: None))
    return list(dict.fromkeys(found))


def warnings(settings: Settings) -> Iterator[Problem]:
    """Transports that a class of mail is given to and that master.cf does not have: that mail would have to wait; and
    TLS that is less than it is called."""
    known = {service.name for service in settings.services if service.type != "inet"}
    for name, wanted in (
        ("local_transport", "mydestination"),
        ("virtual_transport", "virtual_mailbox_domains"),
        ("relay_transport", "relay_domains"),
        ("default_transport", "default_transport"),
    ):
        transport = settings.text(name).partition(":")[0]
        if transport not in known and settings.text(wanted):
            yield Problem(settings.origin(name), "warning", f"{name}: master.cf has no service {transport}")
    yield from tls_warnings(settings)
