"""All findings of a configuration: what the roles would say when they read it, and what they would not."""

import os
import re
from collections.abc import Callable, Iterator
from functools import partial

from postwarden import rehearsal
from postwarden.cli.checking import (
    certificates,
    domains,
    files,
    hosts,
    names,
    ports,
    references,
    relaying,
    sending,
    tables,
    transports,
    trust,
    verification,
)  # fmt: skip
from postwarden.cli.checking.advice import advised
from postwarden.cli.checking.findings import Finding, ordered, warning
from postwarden.cli.unsent import unsent
from postwarden.config.errors import ConfigError
from postwarden.config.settings import Settings
from postwarden.mail.decision import BUILT_IN
from postwarden.tables.check import problems

_DISABLED = re.compile(r"TLS (?:certificate|authorities|client): (.*): disabling TLS support", re.DOTALL)


def check(settings: Settings, *, ask: bool = True) -> list[Finding]:
    """In the order of the files. `ask`: DNS too, for some seconds at most."""
    return ordered(_once(list(_all(settings, ask=ask))), settings.config_directory)


def _once(found: list[Finding]) -> Iterator[Finding]:
    """A certificate that is not there is named by its own parameter, which says more than the listener without it."""
    told = {finding.what.partition(": ")[2] for finding in found}
    for finding in found:
        match = _DISABLED.fullmatch(finding.what)
        if match is None or match[1] not in told:
            yield finding


def _all(settings: Settings, *, ask: bool) -> Iterator[Finding]:
    yield from _read(settings)
    modules = (
        names, sending, trust, relaying, verification, domains, tables, transports, certificates, files, ports,
        references,
    )  # fmt: skip
    looks: list[Callable[[Settings], Iterator[Finding]]] = [module.findings for module in modules]
    looks.append(partial(hosts.findings, ask=ask))
    for look in looks:
        try:
            yield from look(settings)
        except ConfigError:
            continue  # the value itself is wrong, which reading it has said
        except OSError as fault:
            yield warning(BUILT_IN, what=f"{fault.filename}: {fault.strerror}", why="it was not looked at")


def _read(settings: Settings) -> Iterator[Finding]:
    """What the roles themselves say of it."""
    if not os.path.isdir(settings.config_directory):
        yield warning(
            BUILT_IN, what=f"{settings.config_directory}: no such directory", why="the built-in defaults hold",
            cure="make it, or name another one: -c",
        )  # fmt: skip
    for look in (problems, rehearsal.problems, rehearsal.warnings):
        try:
            for problem in look(settings):
                if not problem.text.startswith("overriding earlier entry"):  # `names` says it with both lines
                    yield advised(problem, settings)
        except ConfigError as error:
            yield Finding(error.origin, "error", error.text, "the gateway does not start", "correct the line")
    left = unsent(settings.text("queue_directory"))
    if left:
        yield warning(settings.origin("queue_directory"), what=left)
