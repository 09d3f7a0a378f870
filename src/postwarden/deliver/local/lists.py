"""The alias tables, and who answers for them."""

import os
from collections.abc import Mapping
from types import MappingProxyType

from postwarden.tables.maps import Maps
from postwarden.tables.table import Found, TableError

_INDEXED = MappingProxyType(dict.fromkeys(("hash", "btree", "lmdb", "dbm"), ".lmdb") | {"cdb": ".cdb"})
_TEXTS = frozenset(("texthash", "regexp", "pcre", "cidr"))
_DEFINED = frozenset(("sqlite", "mysql", "pgsql", "ldap"))


class UnknownOwner(Exception):
    """Nobody can be found in whose name the list's files may be written."""


class AliasTables:
    """alias_maps. `directory` is what relative file names begin from; `optional`: nobody asked for these tables, they
    are the default, and on a machine without them there are no aliases."""

    def __init__(self, maps: Maps, directory: str, *, optional: bool = False) -> None:
        self._maps = maps
        self._optional = optional
        self._files: Mapping[str, tuple[str, ...]] = {t.name: _files(t.name, directory) for t in maps.tables}

    def find(self, name: str) -> Found | None:
        """Raises TableError."""
        try:
            return self._maps.find(name)
        except TableError:
            if self._optional and not any(os.path.exists(file) for files in self._files.values() for file in files):
                return None
            raise

    def owner(self, table: str) -> int:
        """The uid that owns the file behind a table: the index where there is one, else the text; of a data base
        the definition. What is written in main.cf itself is root's. Raises UnknownOwner."""
        files = self._files.get(table, ())
        for file in files:
            try:
                return os.stat(file).st_uid
            except OSError:
                continue
        if files:
            raise UnknownOwner(f"{table}: no owner UID for alias database")
        return 0


def _files(table: str, directory: str) -> tuple[str, ...]:
    kind, _, name = table.removeprefix("proxy:").partition(":")
    path = os.path.join(directory, name)
    if kind in _INDEXED:
        return (path + _INDEXED[kind], path)
    in_file = kind in _TEXTS and not name.startswith("{")
    return (path,) if in_file or (kind in _DEFINED and name.startswith(("/", "."))) else ()
