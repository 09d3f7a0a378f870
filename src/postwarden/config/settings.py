"""A loaded configuration: what main.cf and master.cf say, with the line of each entry, and what follows from it."""

from msgspec import Struct

from postwarden.config import system as names
from postwarden.config.errors import ConfigError
from postwarden.config.expand import ExpandError, expand
from postwarden.config.parameters import Kind, find
from postwarden.config.system import System
from postwarden.config.values import Value, split, typed
from postwarden.mail.decision import BUILT_IN, Origin


class Entry(Struct, frozen=True, array_like=True):
    """A value as written, and where."""

    value: str
    origin: Origin


class Service(Struct, frozen=True, array_like=True):
    """One entry of master.cf. The fields that are text are as written, `-` where the operator left the default."""

    name: str
    """First column: `smtp`, `127.0.0.1:10025`, `relay`."""
    type: str
    """inet, unix, fifo or pass."""
    private: str
    unprivileged: str
    chroot: str
    wakeup: str
    maxproc: str
    command: str
    arguments: tuple[str, ...]
    """What follows the command, without the `-o` pairs."""
    overrides: dict[str, Entry]
    origin: Origin

    @property
    def key(self) -> str:
        """`smtp/inet`: unique, while a name alone is not."""
        return f"{self.name}/{self.type}"


class Settings(Struct, frozen=True):
    """Everything that was read. msgspec encodes it: the master sends it to the roles.

    `service` is always `name/type` as in `smtp/inet`; a bare name means the entry that is no inet service, if there
    is one. `stress` gives the values that hold while smtpd is overloaded.
    """

    directory: str
    """Where main.cf is, absolute."""
    entries: dict[str, Entry]
    services: tuple[Service, ...]
    system: System

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
            return expand(text, lambda name: self.raw(name, service, stress=stress)).strip()
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

    def own_addresses(self) -> tuple[str, ...]:
        """Addresses of this machine that inet_interfaces and inet_protocols choose."""
        return names.own_addresses(self.system, self._items("inet_interfaces"), self._items("inet_protocols"))

    def _service(self, service: str) -> Service:
        found = self.find_service(service)
        if found is None:
            raise KeyError(f"no service {service} in master.cf")
        return found

    def _items(self, name: str, service: str = "") -> tuple[str, ...]:
        return split(self.text(name, service).lower())

    def _default(self, name: str, service: str) -> str | None:
        if name == "myhostname":
            mydomain = self.entries.get("mydomain")
            domain = self.expand(mydomain.value, mydomain.origin) if mydomain else ""
            return names.hostname(self.system, domain)
        if name == "mydomain":
            return names.domain(self.text("myhostname", service))
        if name == "mynetworks":
            style = self.text("mynetworks_style", service)
            chosen = self._items("inet_interfaces", service)
            return names.networks(self.system, style, chosen, self._items("inet_protocols", service))
        if name == "config_directory":
            return self.directory
        if name == "process_name":
            found = self.find_service(service) if service else None
            return found.command if found else "postwarden"
        parameter = find(name)
        return None if parameter is None else parameter.default
