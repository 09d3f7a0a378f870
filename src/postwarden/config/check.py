"""What an operator should hear of a configuration before it is used."""

import contextlib
import re
from collections.abc import Iterator

from postwarden.config import absent, entrances
from postwarden.config.entries import TRANSPORTS, Entry, Service
from postwarden.config.errors import ConfigError, Problem
from postwarden.config.expand import references
from postwarden.config.parameters import TABLE, Standing, find, standing
from postwarden.config.settings import Settings
from postwarden.config.values import split

BUILT_IN_SERVICES = frozenset(
    (
        "pickup", "cleanup", "qmgr", "oqmgr", "nqmgr", "tlsmgr", "trivial-rewrite", "bounce", "verify", "flush",
        "proxymap", "showq", "anvil", "scache", "postlogd",
    )
)  # fmt: skip
NOT_YET_SERVICES = frozenset(("spawn", "postscreen", "dnsblog", "tlsproxy", "qmqpd"))

_TABLE_PREFIX = re.compile(r"\b(?:ldap|mysql|pgsql|sqlite|memcache|mongodb):([A-Za-z0-9_]+)")


def problems(settings: Settings) -> list[Problem]:
    """Everything wrong or strange in main.cf and master.cf, errors and warnings, in the order of the files."""
    found = list(settings.problems)
    with contextlib.suppress(ConfigError):  # said where the parameter itself is looked at
        found += absent.problems(settings)
    used = _used(settings)
    for name, entry in settings.entries.items():
        found += _entry(settings, name, entry, used)
    closed: dict[str, Problem] = {}
    with contextlib.suppress(ConfigError):
        closed = dict(entrances.closed(settings))
    for service in settings.services:
        found += [closed[service.key]] if service.key in closed else _service(service)
        for name, entry in service.overrides.items():
            found += _entry(settings, name, entry, used, service.key)
    return found


def _entry(settings: Settings, name: str, entry: Entry, used: "_Used", service: str = "") -> Iterator[Problem]:
    parameter = find(name)
    try:
        if parameter is None:
            settings.text(name, service)
            if not used.holds(name):
                yield Problem(entry.origin, "warning", f"unused parameter: {name}={entry.value}")
            return
        value = settings.value(name, service)
    except ConfigError as error:
        yield Problem(error.origin, "error", _named(name, error.text))
        return
    status, reason = standing(parameter)
    if status is Standing.REFUSED and value:
        yield Problem(entry.origin, "error", f"parameter {name} is refused: {reason}")
    elif name in (*absent.NAMES, "milter_default_action"):
        return
    elif status is Standing.NOT_YET and entry.value != parameter.default and name not in used.written:
        yield Problem(entry.origin, "warning", f"parameter {name} has no effect yet in this version")


def _named(name: str, text: str) -> str:
    return text if name in text else f"parameter {name}: {text}"


def _service(service: Service) -> Iterator[Problem]:
    command, origin = service.command, service.origin
    if command in NOT_YET_SERVICES:
        fate = ": clients come to smtpd unscreened" if command == "postscreen" else ""
        yield Problem(origin, "warning", f"service {service.key}: {command} is not available in this version{fate}")
    elif command == "smtpd":
        if service.type not in ("inet", "pass"):
            yield Problem(origin, "error", f"service {service.key}: smtpd needs the type inet")
    elif command in TRANSPORTS:
        if service.type == "inet":
            yield Problem(origin, "error", f"service {service.key}: the type inet does not fit {command}")
    elif command not in BUILT_IN_SERVICES:
        # master(8) starts, too: the other services have done nothing wrong.
        yield Problem(origin, "warning", f"service {service.key}: unknown command {command}: this service is down")


class _Used:
    """Names that something refers to, so that setting them is no typing error."""

    def __init__(self, written: frozenset[str], names: frozenset[str], prefixes: tuple[str, ...]) -> None:
        """`written`: by the operator; `names`: those, and what defaults refer to."""
        self.written = written
        self._names = names
        self._prefixes = prefixes

    def holds(self, name: str) -> bool:
        return name in self._names or (bool(self._prefixes) and name.startswith(self._prefixes))


def _used(settings: Settings) -> _Used:
    """Names behind a `$`, names of restriction classes, and `foo_…` for a table `ldap:foo` of the old form."""
    texts = [entry.value for entry in settings.entries.values()]
    for service in settings.services:
        texts += [entry.value for entry in service.overrides.values()]
        texts += service.arguments
    written = frozenset[str]().union(*(references(text) for text in texts))
    names = written.union(*(references(parameter.default) for parameter in TABLE.values()))
    with contextlib.suppress(ConfigError, ValueError):  # said where the parameter itself is looked at
        names |= frozenset(split(settings.text("smtpd_restriction_classes")))
    prefixes = {f"{match}_" for text in texts for match in _TABLE_PREFIX.findall(text)}
    return _Used(written, names, tuple(prefixes))
