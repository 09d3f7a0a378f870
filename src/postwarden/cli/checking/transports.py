"""Transports that somebody names: whether master.cf has them, and whether what they run or talk to is there."""

import os
import re
from collections.abc import Iterator
from itertools import pairwise

from msgspec import Struct

from postwarden.cli.checking.findings import Finding, error, warning
from postwarden.cli.checking.rows import items, maps_rows
from postwarden.config.entries import Service
from postwarden.config.parameters import TABLE
from postwarden.config.settings import Settings
from postwarden.deliver.pipe.deliverer import problem
from postwarden.explain.programs import known_user
from postwarden.mail.decision import Origin

_PARAMETERS = (
    "default_transport", "relay_transport", "virtual_transport", "local_transport", "mailbox_transport",
    "fallback_transport", "content_filter", "best_mx_transport",
)  # fmt: skip
_MAPS = (
    "transport_maps", "sender_dependent_default_transport_maps", "mailbox_transport_maps", "fallback_transport_maps",
)  # fmt: skip
_NAME = re.compile(r"[A-Za-z0-9_.-]+")


class Use(Struct, frozen=True):
    """Somebody sends mail to `transport:nexthop`. An empty transport is the default one."""

    said: str
    """By whom, for people: a parameter, or a parameter and a key."""
    transport: str
    nexthop: str
    origin: Origin


def uses(settings: Settings) -> Iterator[Use]:
    for name in _PARAMETERS:
        value = settings.text(name)
        if value:
            transport, _, nexthop = value.partition(":")
            yield Use(name, transport, nexthop, settings.origin(name))
    for service in settings.services:
        for name in _PARAMETERS:
            entry = service.overrides.get(name)
            if entry is not None and (value := settings.text(name, service.key)):
                transport, _, nexthop = value.partition(":")
                yield Use(name, transport, nexthop, entry.origin)
    for name in _MAPS:
        for row in maps_rows(settings, name):
            transport, _, nexthop = row.value.strip().partition(":")
            if "$" not in transport and transport.upper() != "DUNNO":
                yield Use(f"{name}, {row.key}", transport, nexthop, row.origin)


def findings(settings: Settings) -> Iterator[Finding]:
    known = {service.name: service for service in settings.services if service.type != "inet"}
    used: dict[str, Use] = {}
    told = set[tuple[str, str]]()
    for use in uses(settings):
        service = known.get(use.transport)
        if service is not None:
            used.setdefault(use.transport, use)
            yield from _socket(settings, use, service)
        elif use.transport and use.said not in _PARAMETERS[:4]:
            # Of a table with thousands of rows the first is enough.
            key = (use.transport, use.said.partition(",")[0])
            if key not in told:
                told.add(key)
                yield _unknown(use, known)
    for name, use in used.items():
        if known[name].command == "pipe":
            yield from _program(settings, use, known[name])
    yield from _policy_servers(settings, known)


def _unknown(use: Use, known: dict[str, Service]) -> Finding:
    if _NAME.fullmatch(use.transport) is None or ("." in use.transport and not use.nexthop):
        return warning(
            use.origin, what=f"{use.said}: {use.transport} is no transport", why="the mail waits and is then returned",
            cure=f"write smtp:[{use.transport}] for a server, or a name of master.cf's first column",
        )  # fmt: skip
    return error(
        use.origin, what=f"{use.said}: master.cf has no service {use.transport}",
        why="the mail waits and is then returned",
        cure=f"name one of {', '.join(sorted(known))}" if len(known) < 12 else "add it to master.cf",
    )  # fmt: skip


def _program(settings: Settings, use: Use, service: Service) -> Iterator[Finding]:
    """What pipe(8) runs, and as whom."""
    mistake = problem(settings, service)
    if mistake:
        yield error(
            service.origin, what=f"service {service.key}: {mistake}",
            why=f"mail that {use.said} sends to {service.name} waits and is then returned",
            cure="write user=NAME argv=/path/of/program $recipient, with the attributes of pipe(8) before argv=",
        )  # fmt: skip
        return
    words = list(service.arguments)
    program = next((word[5:] for word in words if word.startswith("argv=")), "")
    user = next((word[5:] for word in words if word.startswith("user=")), "").partition(":")[0]
    why = f"mail that {use.said} sends to {service.name} can't be delivered"
    if program.startswith("/") and not os.access(program, os.X_OK):
        yield error(
            service.origin, what=f"service {service.key}: {program} is not there, or no program", why=why,
            cure="install it, or use another transport",
        )  # fmt: skip
    if user and not known_user(user):
        yield error(
            service.origin, what=f"service {service.key}: there is no user {user}", why=why,
            cure=f"make it: useradd --system {user}",
        )  # fmt: skip


def _policy_servers(settings: Settings, known: dict[str, Service]) -> Iterator[Finding]:
    """`check_policy_service unix:private/policy`: a socket in the queue directory that another program made."""
    told = set[str]()
    for service in ("", *(s.key for s in settings.services if s.command == "smtpd")):
        for name in (n for n in TABLE if n.startswith("smtpd_") and n.endswith("_restrictions")):
            if service and settings.find_override(name, service) is None:
                continue
            for word, server in pairwise(items(settings, name, service)):
                server = server.strip("{ ").partition(",")[0].partition(" ")[0]
                path = os.path.join(settings.text("queue_directory"), server.removeprefix("unix:"))
                if word.lower() != "check_policy_service" or not server.startswith("unix:") or server in told:
                    continue
                told.add(server)
                if not _may_be_there(path):
                    own = known.get(server.rpartition("/")[2])
                    yield error(
                        settings.origin(name, service),
                        what=f"{name}: no policy server is at {path}",
                        why="mail that gets to it is answered 451 4.3.5, unless smtpd_policy_service_default_action"
                        " says something else",
                        cure=f"start it by itself: master.cf's {own.command} is not available in this version"
                        if own
                        else "start it, or correct the path on one of both sides",
                    )


def _may_be_there(path: str) -> bool:
    try:
        os.stat(path)
    except PermissionError:
        return True
    except OSError:
        return False
    return True


def _socket(settings: Settings, use: Use, service: Service) -> Iterator[Finding]:
    """`lmtp:unix:private/dovecot-lmtp`: the other end's socket, in the queue directory."""
    if service.command != "lmtp" or not use.nexthop.startswith("unix:"):
        return
    path = os.path.join(settings.text("queue_directory"), use.nexthop.removeprefix("unix:"))
    if not _may_be_there(path):
        yield warning(
            use.origin, what=f"{use.said}: nothing is at {path}", why="the mail waits until a server listens there",
            cure="start the server (Dovecot?), or correct the path on one of both sides",
        )  # fmt: skip
