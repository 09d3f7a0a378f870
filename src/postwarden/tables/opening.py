"""Opening `type:name`, and looking after what was opened."""

import os
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from types import MappingProxyType
from typing import Protocol, Self, TypedDict, Unpack

from postwarden.config.errors import ConfigError, Problem
from postwarden.config.settings import Settings
from postwarden.mail.decision import BUILT_IN, Origin
from postwarden.net.asking import Asker
from postwarden.tables.accounts import AccountTable
from postwarden.tables.cidr import CidrTable
from postwarden.tables.combined import PipeTable, RandomTable, UnionTable, leaves
from postwarden.tables.debug import DebugTable, Say, unheard
from postwarden.tables.indexed import IndexedTable, TextTable
from postwarden.tables.literal import EnvironTable, FailTable, InlineTable, StaticTable, UnusableTable
from postwarden.tables.maps import Maps
from postwarden.tables.pcre import PcreTable
from postwarden.tables.regexp import RegexpTable
from postwarden.tables.remote.asked import SocketmapTable, TcpTable
from postwarden.tables.remote.defined import DefinedTable
from postwarden.tables.remote.ldap import LdapTable
from postwarden.tables.remote.memcache import MemcacheTable
from postwarden.tables.remote.mysql import MysqlTable
from postwarden.tables.remote.pgsql import PgsqlTable
from postwarden.tables.remote.waiting import Waiting
from postwarden.tables.source import NOTHING_HANDED, SourceTable
from postwarden.tables.sqlite import SqliteTable
from postwarden.tables.table import Table, Wrapper

NOT_HERE: Mapping[str, str] = MappingProxyType({
    "nis": "NIS is not supported: copy the map into a file",
    "nisplus": "NIS+ is not supported: copy the map into a file",
    "netinfo": "NetInfo is not supported: copy the map into a file",
    "sdbm": "use lmdb: or hash: instead, and run postmap",
} | dict.fromkeys(
    (
        "internal", "mongodb",
    ),
    "not available in this version",
))  # fmt: skip
"""Types of Postfix that can't be opened, and what to do instead."""

FILES = frozenset(("hash", "btree", "dbm", "lmdb", "cdb", "texthash", "regexp", "pcre", "cidr"))
DEFINED: Mapping[str, Callable[..., Table]] = MappingProxyType({
    "sqlite": SqliteTable, "mysql": MysqlTable, "pgsql": PgsqlTable, "ldap": LdapTable, "memcache": MemcacheTable,
})  # fmt: skip
"""Types whose settings stand in a file of their own, or in main.cf under the table's name."""

OPEN_TO_ALL = frozenset(("tcp", "socketmap", "memcache"))
"""Types whose servers anybody may be: no way to a mailbox, a command or a user's rights is asked of them."""

NESTING_LIMIT = 20
"""Of tables that are made of tables."""


def as_it_is(table: Table) -> Table:
    """Where nothing else waits while a table is asked."""
    return table


class How(TypedDict, total=False):
    """How a table is opened, and the tables within it."""

    fold: bool
    """Keys are compared in lower case, where they are compared at all. The default."""
    literal: bool
    """Patterns put nothing of the key into their answer."""
    say: Say
    """Hears what debug: tells."""
    wrap: Callable[[Table], Table]
    """Makes of a table what may be asked where it is asked; see `remote.waiting`."""
    handed: Mapping[str, str]
    """Files that only root may read, and what to open instead."""
    sensitive: bool
    """What the table says is a user, a file or a command."""
    queue_directory: str
    """Where relative names of sockets begin; without one in the current directory."""
    approved: frozenset[str] | None
    """What proxy_read_maps has; None: proxy: is open to all tables."""


def open_table(
    name: str,
    config_directory: str,
    origin: Origin = BUILT_IN,
    *,
    aliases: bool | None = None,
    depth: int = 0,
    **how: Unpack[How],
) -> Table:
    """The table `type:name`; a relative file name is one of the configuration directory.

    `origin` is where the name was written: that is what an error names when the name itself is wrong; a wrong line
    within the table is named by the table's own file and line. `aliases` says that the text is in the form of
    aliases(5); None lets the text decide. `depth`: of tables within tables. Raises ConfigError.
    """
    kind, colon, rest = name.partition(":")
    if not colon or not kind or not rest:
        raise ConfigError(origin, f'expecting "type:name" form instead of "{name}"')
    if depth > NESTING_LIMIT:
        raise ConfigError(origin, f"tables within tables: more than {NESTING_LIMIT}")
    inner = partial(open_table, config_directory=config_directory, depth=depth + 1, **how)
    if kind == "proxy":
        approved = how.get("approved")
        if approved is not None and rest not in approved and not how.get("sensitive"):
            return UnusableTable(name, f'proxymap service is not configured for table "{rest}"')
        return inner(rest, origin=origin, aliases=aliases)
    if kind == "debug":
        return DebugTable(name, inner(rest, origin=origin, aliases=aliases), how.get("say", unheard))
    if kind in ("unionmap", "pipemap"):
        combined = UnionTable if kind == "unionmap" else PipeTable
        return combined(name, rest, origin, partial(inner, origin=origin, aliases=aliases))
    if kind in OPEN_TO_ALL and how.get("sensitive"):
        return UnusableTable(name, f"{kind}:{rest} map is not allowed for security sensitive data")
    wrap, fold = how.get("wrap", as_it_is), how.get("fold", True)
    if kind == "tcp":
        return wrap(TcpTable(name, rest, origin))
    if kind == "socketmap":
        return wrap(SocketmapTable(name, rest, origin, how.get("queue_directory", "")))
    table = _without_file(kind, name, rest, origin, fold=fold)
    if table is not None:
        return wrap(table)
    if kind in DEFINED:
        # What it stands on it asks itself, in the thread in which it is asked.
        directly = partial(inner, wrap=as_it_is)
        handed = how.get("handed", NOTHING_HANDED)

        def opener(part: str, at: Origin) -> Table:
            return directly(part, origin=at)

        return wrap(DEFINED[kind](name, rest, config_directory, origin, opener, fold=fold, handed=handed))
    if kind in NOT_HERE or kind not in FILES:
        raise ConfigError(origin, f"{name}: {NOT_HERE.get(kind, f'unsupported dictionary type: {kind}')}")
    file = rest if rest.startswith("{") else os.path.join(config_directory, rest)
    return wrap(_in_file(kind, name, file, origin, aliases=aliases, fold=fold, literal=how.get("literal", False)))


def _in_file(
    kind: str, name: str, file: str, origin: Origin, *, aliases: bool | None, fold: bool, literal: bool
) -> Table:
    if kind == "texthash":
        return TextTable(name, file, False, fold=fold)  # as in Postfix, never in the form of aliases(5)
    if kind == "regexp":
        return RegexpTable(name, file, origin, literal=literal)
    if kind == "pcre":
        return PcreTable(name, file, origin, literal=literal)
    if kind == "cidr":
        return CidrTable(name, file, origin)
    return IndexedTable(name, file, aliases, fold=fold)


def _without_file(kind: str, name: str, rest: str, origin: Origin, *, fold: bool) -> Table | None:
    if kind == "static":
        return StaticTable(name, rest, origin)
    if kind == "inline":
        return InlineTable(name, rest, origin)
    if kind == "randmap":
        return RandomTable(name, rest, origin)
    if kind == "unix":
        return AccountTable(name, rest, origin, fold=fold)
    if kind == "environ":
        return EnvironTable(name, fold=fold)
    return FailTable(name) if kind == "fail" else None


LITERAL = frozenset((
    "alias_maps", "fallback_transport_maps", "mailbox_command_maps", "mailbox_transport_maps",
    "sender_dependent_default_transport_maps", "sender_dependent_relayhost_maps", "transport_maps",
    "virtual_gid_maps", "virtual_mailbox_maps", "virtual_uid_maps",
))  # fmt: skip
"""Parameters whose tables answer with a path, a transport or a host; what a sender wrote must not get into those."""


SENSITIVE = frozenset((
    "alias_maps", "mailbox_command_maps", "virtual_gid_maps", "virtual_mailbox_maps", "virtual_uid_maps",
))  # fmt: skip
"""Those that say what is run, written to, or done with whose rights."""


class Watched(Protocol):
    """Something that stands on files. The methods are those of Table."""

    def stale(self) -> bool: ...

    def reload(self) -> None: ...


class Tables:
    """All tables of one role: each opened once, looked at together."""

    def __init__(
        self,
        config_directory: str,
        aliases: frozenset[str] = frozenset(),
        say: Say = unheard,
        asker: Asker | None = None,
        handed: Mapping[str, str] = NOTHING_HANDED,
        *,
        wrapper: Wrapper | None = None,
    ) -> None:
        """`aliases`: the names of tables whose text is in the form of aliases(5). `say` hears what debug: tells.
        `asker`: asks slow tables, whose `get` then may raise Pending; without one they block. `handed`: as for
        open_table. `wrapper`: in the place of the one that an asker needs."""
        self._wrapper = wrapper or (Wrapper() if asker is None else Waiting(asker, say))
        self._how: How = {"say": say, "handed": handed, "wrap": self._wrapper.wrap}
        self._directory = config_directory
        self._aliases = aliases
        self._open: dict[tuple[str, bool, bool], Table] = {}
        self._watched: list[Watched] = []

    @classmethod
    def of(
        cls,
        settings: Settings,
        say: Say = unheard,
        asker: Asker | None = None,
        handed: Mapping[str, str] = NOTHING_HANDED,
        *,
        wrapper: Wrapper | None = None,
    ) -> Self:
        """For the tables of `settings`; alias_maps and alias_database say which are aliases. Raises ConfigError."""
        names = (*settings.items("alias_maps"), *settings.items("alias_database"))
        aliases = frozenset(name.removeprefix("proxy:") for name in names)
        tables = cls(settings.config_directory, aliases, say, asker, handed, wrapper=wrapper)
        approved = settings.items("proxy_read_maps")
        tables._how["approved"] = frozenset(one[6:] for one in approved if one.startswith("proxy:"))
        tables._how["queue_directory"] = settings.text("queue_directory")
        return tables

    def table(self, name: str, origin: Origin = BUILT_IN, *, literal: bool = False, sensitive: bool = False) -> Table:
        """As open_table. Raises ConfigError."""
        known = self._open.get((name, literal, sensitive))
        if known is None:
            bare = name.removeprefix("proxy:")
            # postalias makes indexes; a texthash: of aliases is in the form of postmap, as in Postfix.
            aliases = True if bare in self._aliases and not bare.startswith("texthash:") else None
            how: How = {**self._how, "literal": literal, "sensitive": sensitive}
            known = open_table(name, self._directory, origin, aliases=aliases, **how)
            self._open[name, literal, sensitive] = known
        return self._wrapper.wrap_whole(known)

    def maps(
        self, names: tuple[str, ...], origin: Origin = BUILT_IN, *, literal: bool = False, sensitive: bool = False
    ) -> Maps:
        """The tables of a `…_maps` parameter. A name without a type inherits none. Raises ConfigError."""
        return Maps(self.table(name, origin, literal=literal, sensitive=sensitive) for name in names)

    def wrapped(self, table: Table) -> Table:
        """`table`, as those that are opened here are asked."""
        return self._wrapper.wrap(table)

    def watch(self, thing: Watched) -> None:
        """Look after `thing` too: a list that names files."""
        self._watched.append(thing)

    def __iter__(self) -> Iterator[Table]:
        return iter(self._open.values())

    def refresh(self) -> list[Problem]:
        """Read again what has changed; to be called once a second. What is wrong is given, and its old text stays."""
        problems: list[Problem] = []
        for thing in (*self._open.values(), *self._watched):
            self._tell(thing)
            if thing.stale():
                try:
                    thing.reload()
                except ConfigError as error:
                    problems.append(Problem(error.origin, "error", error.text))
                else:
                    problems += warnings(thing)
        return problems

    def _tell(self, thing: object) -> None:
        """Why mail is put off: the reply does not say it, and a decision is not read by who looks into the log."""
        for leaf in leaves(thing):
            text = leaf.trouble() if isinstance(leaf, DefinedTable) else ""
            if text:
                self._how["say"](f"warning: {text}")


def warnings(table: object) -> tuple[Problem, ...]:
    """What was strange in the table's text when it was read last."""
    found = [leaf.warnings for leaf in leaves(table) if isinstance(leaf, SourceTable)]
    return tuple(problem for problems in found for problem in problems)
