"""The alias tables, and who answers for them."""

import os
from collections.abc import Mapping

from postwarden.tables.maps import Maps
from postwarden.tables.table import Found

_FILES = frozenset(("hash", "btree", "lmdb", "texthash", "regexp", "pcre", "cidr", "cdb", "dbm", "sdbm", "sqlite"))


class UnknownOwner(Exception):
    """Nobody can be found in whose name the list's files may be written."""


class AliasTables:
    """alias_maps. `directory` is what relative file names begin from."""

    def __init__(self, maps: Maps, directory: str) -> None:
        self._maps = maps
        self._files: Mapping[str, tuple[str, ...]] = {t.name: _files(t.name, directory) for t in maps.tables}

    def find(self, name: str) -> Found | None:
        """Raises TableError."""
        return self._maps.find(name)

    def owner(self, table: str) -> int:
        """The uid that owns the file behind a table: the index where there is one, else the text. What is written in
        main.cf itself or kept by a server is root's. Raises UnknownOwner."""
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
    if kind not in _FILES:
        return ()
    path = os.path.join(directory, name)
    return (f"{path}.lmdb", path) if kind in ("hash", "btree", "lmdb") else (path,)
