"""The sources file: who sends an alias file, how it arrives, and what it may say.

It is one file in the form of main.cf. `sources` lists the names; what belongs to one source has its name and a dot in
front. `$name` means a parameter of main.cf.

    sources = sales, plant
    sales.pull = sftp://aliases@mail.sales.example/etc/aliases
    sales.key = /etc/postfix/ssh/sales
    sales.host_key = ssh-ed25519 AAAA...
    sales.names = sales, sales-*
    sales.hosts = mail.sales.example
    plant.push = /srv/aliases/plant/aliases
    plant.names = plant-*
"""

import os
import re
import stat

from msgspec import Struct

from postwarden.config.entries import Entry
from postwarden.config.errors import ConfigError
from postwarden.config.main_cf import parse_main_cf
from postwarden.config.settings import Settings, read
from postwarden.config.values import integer, seconds, split
from postwarden.federation.hostkeys import HostKey, host_keys
from postwarden.mail.decision import BUILT_IN, Origin
from postwarden.mail.hostname import valid_address, valid_hostname

TABLE_TYPES = ("hash", "btree", "dbm", "lmdb", "cdb")
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}\Z")
_URL = re.compile(
    r"sftp://([A-Za-z0-9_][A-Za-z0-9_.-]*)@(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9][A-Za-z0-9.-]*)(?::(\d{1,5}))?(/.+)\Z"
)
# What sftp(1) would take for a pattern, a quote or an option must not stand in a path.
_PATH = re.compile(r"/[A-Za-z0-9_./@:+,=~-]*\Z")
_GLOBAL = ("sources", "table", "virtual_table", "directory", "interval", "organization", "shrink_limit",
           "keep_versions", "size_limit", "pull_timeout")  # fmt: skip
_OF_SOURCE = ("pull", "push", "key", "host_key", "names", "domains", "hosts", "files", "includes", "commands",
              "priority", "shrink_limit", "end_mark")  # fmt: skip


class Pull(Struct, frozen=True):
    """Fetched by SFTP."""

    user: str
    host: str
    """Name or address, without brackets."""
    port: int
    path: str
    key: str
    """Path of the private key."""
    host_keys: tuple[HostKey, ...]

    def __str__(self) -> str:
        return f"sftp://{self.user}@{self.host}{f':{self.port}' if self.port != 22 else ''}{self.path}"


class Push(Struct, frozen=True):
    """The other side lays the file down."""

    path: str

    def __str__(self) -> str:
        return self.path


class Source(Struct, frozen=True):
    """One owner. Patterns have `*` and `?`; an empty list permits nothing."""

    name: str
    arrives: Pull | Push
    names: tuple[str, ...]
    """Patterns of alias names."""
    domains: tuple[str, ...]
    """Domains whose addresses it may define; `.example.com` means those below it."""
    hosts: tuple[str, ...]
    """Domains that targets may be in, besides its own and this gateway's; `.example.com` means those below it."""
    files: tuple[str, ...]
    includes: tuple[str, ...]
    commands: tuple[str, ...]
    """Whole command lines: a pattern would let something follow behind a `;`."""
    priority: int
    """The lowest number gets a name that two want."""
    shrink_limit: int
    """Percent of the names that may go at once."""
    end_mark: str
    """The last line that a whole file has; empty: no such line is asked for."""
    origin: Origin

    @property
    def label(self) -> str:
        """What findings call its file."""
        return f"{self.name}:{self.arrives.path}"


class Federation(Struct, frozen=True):
    """What the sources file says."""

    file: str
    sources: tuple[Source, ...]
    table: str
    """`type:path` of the merged aliases."""
    virtual_table: str
    """The same for entries `user@domain`; empty: they are refused."""
    directory: str
    """Where versions, states and the history are."""
    interval: int
    """Seconds between two pulls."""
    organization: tuple[str, ...]
    """Domains that are ours besides those of main.cf."""
    keep_versions: int
    size_limit: int
    pull_timeout: int

    def source(self, name: str) -> Source | None:
        return next((source for source in self.sources if source.name == name), None)


def sources_file(settings: Settings) -> str:
    """Where the sources file is, whether it is there or not."""
    return os.path.join(settings.config_directory, settings.text("postwarden_alias_sources"))


def configured(settings: Settings) -> bool:
    return os.path.exists(sources_file(settings))


def load_federation(settings: Settings) -> Federation:
    """Raises ConfigError, with file and line."""
    file = sources_file(settings)
    if not os.path.exists(file):
        raise ConfigError(
            Origin(file, 0, ""), "no such file: it names the sources of aliases (postwarden_alias_sources)"
        )
    _only_ours(file)
    entries, _ = parse_main_cf(read(file), file)
    return _Reader(settings, file, entries).federation()


def _only_ours(file: str) -> None:
    """Whoever may write the sources file may have every alias. Raises ConfigError."""
    state = os.stat(file)
    if state.st_uid not in (0, os.geteuid()) and os.geteuid() == 0:
        raise ConfigError(Origin(file, 0, ""), f"belongs to uid {state.st_uid}: it must be root's")
    if state.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise ConfigError(Origin(file, 0, ""), "can be written by others: chmod go-w")


class _Reader:
    def __init__(self, settings: Settings, file: str, entries: dict[str, Entry]) -> None:
        self._settings = settings
        self._file = file
        self._entries = entries

    def federation(self) -> Federation:
        names = self._items("sources")
        for name in names:
            if _NAME.match(name) is None:
                raise ConfigError(self._origin("sources"), f"{name}: a source's name has small letters, digits and -")
        if len(set(names)) < len(names):
            raise ConfigError(self._origin("sources"), "a source is named twice")
        self._known(names)
        at = os.path.dirname(self._file)
        table = self._table("table", f"hash:{at}/aliases.merged")
        virtual = self._table("virtual_table", "")
        if table.partition(":")[2] == virtual.partition(":")[2]:
            raise ConfigError(self._origin("virtual_table"), "virtual_table is the same file as table")
        return Federation(
            self._file,
            tuple(self._source(name) for name in names),
            table,
            virtual,
            self._absolute("directory", f"{at}/alias-sources"),
            self._number("interval", "300s", time=True, low=10),
            self._lowered("organization"),
            self._number("keep_versions", "100", low=2),
            self._number("size_limit", str(64 << 20), low=1024),
            self._number("pull_timeout", "60s", time=True, low=1),
        )

    def _known(self, names: tuple[str, ...]) -> None:
        """Raises ConfigError for a name that means nothing: a typing error must not take a limit away."""
        for name, entry in self._entries.items():
            source, dot, attribute = name.partition(".")
            if dot and source not in names:
                raise ConfigError(entry.origin, f"{name}: {source} is not in sources")
            if (attribute if dot else name) not in (_OF_SOURCE if dot else _GLOBAL):
                raise ConfigError(entry.origin, f"{name}: there is no such setting")

    def _source(self, name: str) -> Source:
        def items(attribute: str) -> tuple[str, ...]:
            return self._items(f"{name}.{attribute}")

        origin = self._origin(f"{name}.pull" if f"{name}.pull" in self._entries else f"{name}.push")
        share = f"{name}.shrink_limit" if f"{name}.shrink_limit" in self._entries else "shrink_limit"
        return Source(
            name,
            self._arrives(name),
            self._lowered(f"{name}.names"),
            self._lowered(f"{name}.domains"),
            self._lowered(f"{name}.hosts"),
            self._paths(f"{name}.files"),
            self._paths(f"{name}.includes"),
            tuple(item[1:-1].strip() if item.startswith("{") else item for item in items("commands")),
            self._number(f"{name}.priority", "100"),
            self._number(share, "20", high=100),
            self._text(f"{name}.end_mark"),
            origin,
        )

    def _arrives(self, name: str) -> Pull | Push:
        pull, push = self._text(f"{name}.pull"), self._text(f"{name}.push")
        if bool(pull) == bool(push):
            raise ConfigError(self._origin("sources"), f"source {name} needs either {name}.pull or {name}.push")
        if push:
            return Push(self._absolute(f"{name}.push", ""))
        origin = self._origin(f"{name}.pull")
        match = _URL.match(pull)
        if match is None or _PATH.match(match[4]) is None:
            raise ConfigError(origin, f"{name}.pull: expecting sftp://user@host/path, the path of plain characters")
        host, port = match[2].strip("[]"), int(match[3] or 22)
        if not (valid_hostname(host) or valid_address(host)) or not 0 < port < 65536:
            raise ConfigError(origin, f"{name}.pull: {match[2]}:{port} is no host and port")
        try:
            keys = host_keys(self._text(f"{name}.host_key"))
        except ValueError as error:
            raise ConfigError(self._origin(f"{name}.host_key", origin), f"{name}.host_key: {error}") from error
        return Pull(match[1], host, port, match[4], self._absolute(f"{name}.key", ""), keys)

    def _table(self, name: str, default: str) -> str:
        text = self._text(name) or default
        kind, colon, path = text.partition(":")
        if text and (kind not in TABLE_TYPES or not colon or not path):
            raise ConfigError(
                self._origin(name), f"{name}: expecting type:file, the type one of {' '.join(TABLE_TYPES)}"
            )
        return f"{kind}:{os.path.join(self._settings.config_directory, path)}" if text else ""

    def _absolute(self, name: str, default: str) -> str:
        path = self._text(name) or default
        if not path.startswith("/"):
            raise ConfigError(self._origin(name), f"{name}: expecting a path that begins with /")
        return os.path.normpath(path)

    def _paths(self, name: str) -> tuple[str, ...]:
        paths = self._items(name)
        for path in paths:
            if not path.startswith("/") or ".." in path.split("/"):
                raise ConfigError(self._origin(name), f"{name}: {path} is no absolute path")
        return paths

    def _lowered(self, name: str) -> tuple[str, ...]:
        return tuple(item.lower() for item in self._items(name))

    def _items(self, name: str) -> tuple[str, ...]:
        try:
            return split(self._text(name))
        except ValueError as error:
            raise ConfigError(self._origin(name), f"{name}: {error}") from error

    def _number(self, name: str, default: str, *, time: bool = False, low: int = 0, high: int = 0) -> int:
        text = self._text(name) or default
        try:
            value = seconds(name, text, "s") if time else integer(name, text)
        except ValueError as error:
            raise ConfigError(self._origin(name), str(error)) from error
        if value < low or (high and value > high):
            raise ConfigError(self._origin(name), f"{name}: {text} is not between {low} and {high or 'any number'}")
        return value

    def _text(self, name: str) -> str:
        entry = self._entries.get(name)
        return "" if entry is None else self._settings.expand(entry.value, entry.origin)

    def _origin(self, name: str, default: Origin = BUILT_IN) -> Origin:
        entry = self._entries.get(name)
        if entry is None:
            return default if default.file else Origin(self._file, 0, "")
        return entry.origin
