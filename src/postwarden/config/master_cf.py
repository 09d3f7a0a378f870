"""master.cf: eight columns a service; the last is the command with its arguments."""

import re

from postwarden.config.arguments import normalised
from postwarden.config.entries import Entry, Service
from postwarden.config.errors import ConfigError, Problem
from postwarden.config.lines import logical_lines
from postwarden.config.main_cf import parse_entry
from postwarden.config.physical import without_stray
from postwarden.config.written import fields as split_fields
from postwarden.mail.decision import Origin

TYPES = ("inet", "unix", "unix-dgram", "fifo", "pass")

_WAKEUP = re.compile(r"-|[0-9]{1,9}\??")
_FLAG = re.compile(r"[-yn]")
_COUNT = re.compile(r"-|[0-9]{1,9}")


def parse_master_cf(data: bytes, file: str) -> tuple[tuple[Service, ...], list[Problem]]:
    """The services in order; of two with the same name and type the last counts, with a warning. Raises ConfigError."""
    services: dict[str, Service] = {}
    data, problems = without_stray(data, file)
    for origin in logical_lines(data, file):
        service = _service(origin)
        if service.key in services:
            text = f"duplicate master.cf entry for service {service.key}: the last one counts"
            problems.append(Problem(origin, "warning", text))
        services[service.key] = service
    return tuple(services.values()), problems


def _service(origin: Origin) -> Service:
    fields = split_fields(origin.text)
    if len(fields) < 8:
        raise ConfigError(origin, f"bad field count: {len(fields)} of at least 8 columns")
    name, kind, private, unprivileged, chroot, wakeup, maxproc, command = fields[:8]
    if kind not in TYPES:
        raise ConfigError(origin, f'bad service type: "{kind}" is none of {", ".join(TYPES)}')
    for column, value in (("private", private), ("unprivileged", unprivileged), ("chroot", chroot)):
        if _FLAG.fullmatch(value) is None:
            raise ConfigError(origin, f'bad "{column}" column: "{value}" is none of y, n, -')
    if _WAKEUP.fullmatch(wakeup) is None:
        raise ConfigError(origin, f'bad "wakeup" column: "{wakeup}"')
    if _COUNT.fullmatch(maxproc) is None:
        raise ConfigError(origin, f'bad "maxproc" column: "{maxproc}"')
    arguments, overrides = _overrides(fields[8:], origin)
    return Service(
        name, kind, private, unprivileged, chroot, wakeup, maxproc, command, arguments, overrides, origin
    )  # fmt: skip


def _overrides(words: list[str], origin: Origin) -> tuple[tuple[str, ...], dict[str, Entry]]:
    """The arguments without the `-o name=value` among their options; and those as entries."""
    mistakes: list[str] = []
    kept: list[str] = []
    overrides: dict[str, Entry] = {}
    arguments = normalised(words, mistakes)
    if mistakes:
        raise ConfigError(origin, mistakes[0].removeprefix("master.cf: "))
    for argument in arguments:
        if argument.option != "-o":
            kept.append(argument.option or argument.value or "")
            continue
        if not argument.value:
            raise ConfigError(origin, "the option -o needs name=value")
        name, value = parse_entry(argument.value, origin)
        overrides[name] = Entry(value, origin)
    return tuple(kept), overrides
