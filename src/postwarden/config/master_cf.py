"""master.cf: eight columns a service; the last is the command with its arguments."""

import re

from postwarden.config.entries import Entry, Service
from postwarden.config.errors import ConfigError, Problem
from postwarden.config.expand import ExpandError, closing
from postwarden.config.lines import SPACE, logical_lines
from postwarden.config.main_cf import parse_entry
from postwarden.mail.decision import Origin

TYPES = ("inet", "unix", "unix-dgram", "fifo", "pass")

_WAKEUP = re.compile(r"-|[0-9]{1,9}\??")
_FLAG = re.compile(r"[-yn]")
_COUNT = re.compile(r"-|[0-9]{1,9}")


def parse_master_cf(data: bytes, file: str) -> tuple[tuple[Service, ...], list[Problem]]:
    """The services in order; of two with the same name and type the last counts, with a warning. Raises ConfigError."""
    services: dict[str, Service] = {}
    problems: list[Problem] = []
    for origin in logical_lines(data, file):
        service = _service(origin)
        if service.key in services:
            text = f"duplicate master.cf entry for service {service.key}: the last one counts"
            problems.append(Problem(origin, "warning", text))
        services[service.key] = service
    return tuple(services.values()), problems


def _service(origin: Origin) -> Service:
    fields = _fields(origin)
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


def _fields(origin: Origin) -> list[str]:
    """Columns parted by white space; a column that begins with a brace goes to the brace that closes it."""
    text = origin.text
    fields: list[str] = []
    at = 0
    while at < len(text):
        if text[at] in SPACE:
            at += 1
            continue
        end = at
        if text[at] == "{":
            try:
                end = closing(text, at) + 1
            except ExpandError as error:
                raise ConfigError(origin, f'missing "}}" after "{text[at : at + 60]}"') from error
        while end < len(text) and text[end] not in SPACE:
            end += 1
        fields.append(text[at:end])
        at = end
    return fields


def _overrides(arguments: list[str], origin: Origin) -> tuple[tuple[str, ...], dict[str, Entry]]:
    """The arguments without their leading options, which hold `-o name=value`; and those as entries."""
    kept: list[str] = []
    overrides: dict[str, Entry] = {}
    words = iter(arguments)
    for word in words:
        if not word.startswith("-"):
            kept += [word, *words]
        elif not word.startswith("-o"):
            kept.append(word)
        else:
            name, value = parse_entry(_setting(word[2:] or next(words, ""), origin), origin)
            overrides[name] = Entry(value, origin)
    return tuple(kept), overrides


def _setting(text: str, origin: Origin) -> str:
    if text.startswith("{") and text.endswith("}"):
        text = text[1:-1].strip(SPACE)
    if not text:
        raise ConfigError(origin, "the option -o needs name=value")
    return text
