"""The alias tables, and who answers for them."""

import os
from types import MappingProxyType

from postwarden.tables.combined import PipeTable, UnionTable, braced
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
        self._directory = directory

    def find(self, name: str) -> Found | None:
        """Raises TableError."""
        try:
            return self._maps.find(name)
        except TableError:
            files = [f for table in self._maps.tables for part in _parts(table.name, self._directory) for f in part]
            if self._optional and not any(map(os.path.exists, files)):
                return None
            raise

    def owner(self, table: str) -> int:
        """The uid that owns the file behind a table: the index where there is one, else the text; of a data base
        the definition. What is written in main.cf itself is root's. A table of tables is of the one user who has a part
        in it: what he writes there must not be done in root's name. Raises UnknownOwner, too, where there are two."""
        owners = {_owner(files) for files in _parts(table, self._directory)} - {0}
        if None in owners or len(owners) > 1:
            raise UnknownOwner(f"{table}: no owner UID for alias database")
        return owners.pop() or 0 if owners else 0


_Files = tuple[str, ...]
"""The first that is there counts."""


def _owner(files: _Files) -> int | None:
    for file in files:
        try:
            return os.stat(file).st_uid
        except OSError:
            continue
    return None


def _parts(table: str, directory: str) -> tuple[_Files, ...]:
    kind, _, name = table.partition(":")
    if kind in ("proxy", "debug"):
        return _parts(name, directory)
    if kind in (UnionTable.kind, PipeTable.kind):
        return tuple([files for part in braced(name) for files in _parts(part, directory)])
    path = os.path.join(directory, name)
    if kind in _INDEXED:
        return ((path + _INDEXED[kind], path),)
    in_file = kind in _TEXTS and not name.startswith("{")
    return ((path,),) if in_file or (kind in _DEFINED and name.startswith(("/", "."))) else ()
