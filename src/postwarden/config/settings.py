"""A loaded configuration: what main.cf and master.cf say, with the line of each entry, and what follows from it."""

import os
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct, structs

from postwarden.config import system as names
from postwarden.config.disabled import NAME as DISABLE
from postwarden.config.disabled import without_disabled
from postwarden.config.embedded import COMPATIBILITY_LEVEL, MASTER_CF
from postwarden.config.entries import Entry, Service
from postwarden.config.errors import ConfigError, Problem
from postwarden.config.expand import ExpandError, expand
from postwarden.config.lines import SPACE
from postwarden.config.main_cf import parse_main_cf
from postwarden.config.master_cf import parse_master_cf
from postwarden.config.parameters import Kind, find
from postwarden.config.system import System
from postwarden.config.values import Value, split, typed
from postwarden.mail.decision import BUILT_IN, Origin
from postwarden.net.interfaces import interfaces

__all__ = ("ConfigError", "Entry", "Problem", "Service", "Settings", "load")

SIZE_LIMIT = 16 << 20
"""Bytes of main.cf or master.cf."""


class Settings(Struct, frozen=True):
    """Everything that was read. msgspec encodes it: the master sends it to the roles.

    `service` is always `name/type` as in `smtp/inet`; a bare name means the entry that is no inet service, if there
    is one. `stress` gives the values that hold while smtpd is overloaded.
    """

    config_directory: str
    """Where main.cf is, absolute."""
    entries: dict[str, Entry]
    services: tuple[Service, ...]
    system: System
    problems: tuple[Problem, ...] = ()
    """What was strange while it was read."""

    def find_service(self, service: str) -> Service | None:
        exact = [s for s in self.services if s.key == service]
        named = exact or sorted((s for s in self.services if s.name == service), key=lambda s: s.type == "inet")
        return named[0] if named else None

    def entry(self, name: str, service: str = "") -> Entry | None:
        """What the operator wrote, for this service or at all; None: nothing."""
        if service:
            override = self._service(service).overrides.get(name)
            if override is not None:
                return override
        return self.entries.get(name)

    def find_override(self, name: str, service: str) -> Entry | None:
        """What `-o` says in the entry of that service."""
        return self._service(service).overrides.get(name)

    def origin(self, name: str, service: str = "") -> Origin:
        entry = self.entry(name, service)
        return BUILT_IN if entry is None else entry.origin

    def raw(self, name: str, service: str = "", *, stress: bool = False) -> str | None:
        """The text as written, or the default; None for a name that neither the operator nor the table has."""
        if name == "stress" and stress:
            return "yes"
        entry = self.entry(name, service)
        return self._default(name, service) if entry is None else entry.value

    def text(self, name: str, service: str = "", *, stress: bool = False) -> str:
        """The value, expanded unless its kind is RAW; empty for an unknown name. Raises ConfigError."""
        written = self.raw(name, service, stress=stress) or ""
        parameter = find(name)
        if parameter is not None and parameter.kind is Kind.RAW:
            return written
        return self.expand(written, self.origin(name, service), service, stress=stress)

    def expand(self, text: str, origin: Origin, service: str = "", *, stress: bool = False) -> str:
        """`text` with `$names` of this configuration replaced. Raises ConfigError at `origin`."""
        try:
            return expand(text, lambda name: self.raw(name, service, stress=stress)).strip(SPACE)
        except ExpandError as error:
            raise ConfigError(origin, str(error)) from error

    def value(self, name: str, service: str = "", *, stress: bool = False) -> Value:
        """The value as the kind that the table gives it. Raises ConfigError; KeyError for a name it does not have."""
        parameter = find(name)
        if parameter is None:
            raise KeyError(name)
        try:
            return typed(parameter, self.text(name, service, stress=stress))
        except ValueError as error:
            raise ConfigError(self.origin(name, service), str(error)) from error

    def number(self, name: str, service: str = "") -> int:
        """The value of an INT or TIME parameter: `<transport>_destination_concurrency_limit` and the like."""
        value = self.value(name, service)
        if isinstance(value, bool) or not isinstance(value, int):
            raise KeyError(f"{name} is no number")
        return value

    def items(self, name: str, service: str = "") -> tuple[str, ...]:
        """The elements of a list. Raises ConfigError."""
        try:
            return split(self.text(name, service))
        except ValueError as error:
            raise ConfigError(self.origin(name, service), str(error)) from error

    def own_addresses(self) -> tuple[str, ...]:
        """Addresses of this machine that inet_interfaces and inet_protocols choose."""
        return names.own_addresses(self.system, self._items("inet_interfaces"), self._items("inet_protocols"))

    def _service(self, service: str) -> Service:
        found = self.find_service(service)
        if found is None:
            raise KeyError(f"no service {service} in master.cf")
        return found

    def _items(self, name: str, service: str = "") -> tuple[str, ...]:
        return tuple(item.lower() for item in self.items(name, service))

    def _default(self, name: str, service: str) -> str | None:
        if name == "myhostname":
            mydomain = self.entries.get("mydomain")
            domain = self.expand(mydomain.value, mydomain.origin) if mydomain else ""
            return names.hostname(self.system, domain)
        if name == "mydomain":
            return names.domain(self.text("myhostname", service))
        if name == "mynetworks":
            style = self.text("mynetworks_style", service)
            if style not in names.STYLES:
                text = f'unknown mynetworks mask style value "{style}" in "{style}"'
                raise ConfigError(self.origin("mynetworks_style", service), text)
            chosen = self._items("inet_interfaces", service)
            return names.networks(self.system, style, chosen, self._items("inet_protocols", service))
        if name == "config_directory":
            return self.config_directory
        if name in ("process_name", "service_name"):
            found = self.find_service(service) if service else None
            other = "postwarden" if name == "process_name" else ""
            return other if found is None else found.command if name == "process_name" else found.name
        parameter = find(name)
        return None if parameter is None else parameter.default


def this_system() -> System:
    return System(os.uname().nodename, interfaces())


def load(
    config_directory: str | Path, overrides: Mapping[str, str] | None = None, system: System | None = None
) -> Settings:
    """What `config_directory` says. A missing or empty file gives the built-in defaults; `overrides` win over main.cf.

    Raises ConfigError, with file and line, for what can't be parsed or read.
    """
    directory = os.path.abspath(config_directory)
    main_file, master_file = os.path.join(directory, "main.cf"), os.path.join(directory, "master.cf")
    entries, problems = parse_main_cf(read(main_file), main_file)
    if not entries:
        entries["compatibility_level"] = Entry(COMPATIBILITY_LEVEL, BUILT_IN)
    for name, value in (overrides or {}).items():
        entries[name] = Entry(value, Origin("command line", 1, f"{name} = {value}"))
    services, warnings = _services(master_file)
    settings = Settings(directory, entries, services, system or this_system(), (*problems, *warnings))
    return _without_disabled(_with_origin_file(settings))


def read(file: str) -> bytes:
    """The bytes of `file`, none if it does not exist. Raises ConfigError."""
    try:
        with open(file, "rb") as stream:
            data = stream.read(SIZE_LIMIT + 1)
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise ConfigError(Origin(file, 0, ""), f"can't be read: {error.strerror}") from error
    if len(data) > SIZE_LIMIT:
        raise ConfigError(Origin(file, 0, ""), f"larger than {SIZE_LIMIT} bytes")
    return data


def _services(file: str) -> tuple[tuple[Service, ...], list[Problem]]:
    services, problems = parse_master_cf(read(file), file)
    if not services:
        services, problems = parse_master_cf(MASTER_CF, "")
    return services, problems


def _without_disabled(settings: Settings) -> Settings:
    patterns, origin = settings.items(DISABLE), settings.origin(DISABLE)
    if not patterns:
        return settings
    services, problems = without_disabled(settings.services, patterns, origin)
    return structs.replace(settings, services=services, problems=(*settings.problems, *problems))


def _with_origin_file(settings: Settings) -> Settings:
    """Debian's way of `myorigin = /etc/mailname`: the first line of that file is the name. Read once, here, since a
    role may be shut in before it asks."""
    written = settings.entries.get("myorigin")
    if written is None:
        return settings
    file = settings.text("myorigin")
    if not file.startswith("/"):
        return settings
    lines = read(file).split(b"\n")
    try:
        name = lines[0].decode().strip(SPACE)
    except UnicodeDecodeError as error:
        raise ConfigError(Origin(file, 1, ""), "not UTF-8") from error
    if not name:
        raise ConfigError(written.origin, f"myorigin: {file} has no name in its first line")
    entries = settings.entries | {"myorigin": Entry(name, Origin(file, 1, name))}
    return Settings(settings.config_directory, entries, settings.services, settings.system, settings.problems)
