"""master.cf: eight columns a service; the last is the command with its arguments."""

import re

from msgspec.structs import replace

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
    lines = data.split(b"\n")
    for origin in logical_lines(data, file):
        service = _located(_service(origin), lines)
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


def _located(service: Service, lines: list[bytes]) -> Service:
    """With the overrides at the lines on which they are written; `lines` are those of the whole file."""
    first = service.origin.line
    last = first
    while last < len(lines) and (lines[last][:1] in (b" ", b"\t", b"#") or not lines[last].strip()):
        last += 1
    if not service.overrides or last == first:
        return service
    found: dict[str, Entry] = {}
    for name, entry in service.overrides.items():
        written = re.compile(rb"(?:^|[\s{])" + re.escape(name.encode()) + rb"\s*=")
        places = [n for n in range(first, last + 1) if written.search(lines[n - 1]) and lines[n - 1][:1] != b"#"]
        origin = Origin(entry.origin.file, places[-1] if places else first, entry.origin.text)
        found[name] = Entry(entry.value, origin)
    return replace(service, overrides=found)


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
