"""The cache on disk: one SQLite file. Every function may wait for the disk.

Not LMDB, which our other indexed files are: a page of it that is damaged, or a file that was cut, ends the process that
looks at it, and this one is written all day while the courier, whose process it is, carries mail. SQLite says that it
is damaged. Postfix's own Berkeley DB file beside it is not read: what is not known is asked for again.
"""

import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path

from postwarden.mail.verified import BOUNCE, DEFER, OK
from postwarden.verify.cache import Known

SUFFIX = ".sqlite"
_PATIENCE = 5.0
_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS verified"
    " (address TEXT PRIMARY KEY, status TEXT NOT NULL, updated REAL NOT NULL, text TEXT NOT NULL) WITHOUT ROWID"
)
_STATUSES = (OK, DEFER, BOUNCE)
_WRONG = (sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
"""What no waiting mends: other tables than ours, and bytes that make no sense."""
_ERRORS = (sqlite3.Error, OSError)


class CacheError(Exception):
    """The file can't be used now; the text says why. `damaged`: nor ever again."""

    def __init__(self, text: str, *, damaged: bool = False) -> None:
        super().__init__(text)
        self.damaged = damaged


def read(path: str) -> list[tuple[str, Known]]:
    """All of it, oldest first; nothing where there is no file. Raises CacheError."""
    if not os.path.exists(path):
        return []
    found = []
    try:
        with closing(_open(path)) as database:
            database.execute(_SCHEMA)
            found_wrong = str(database.execute("PRAGMA quick_check(1)").fetchone()[0])
            if found_wrong != "ok":
                raise CacheError(found_wrong, damaged=True)
            for address, status, updated, text in database.execute(
                "SELECT address, status, updated, text FROM verified ORDER BY updated"
            ):
                if _sound(address, status, updated, text):
                    found.append((address, Known(status, text, updated)))
    except _ERRORS as error:
        raise _wrong(error) from error
    return found


def find(path: str, address: str) -> Known | None:
    """What the file has of one address; it is left as it is. For who is not the courier. Raises CacheError."""
    return next((known for _, known in _selected(path, "WHERE address = ?", address)), None)


def items(path: str) -> Iterator[tuple[str, Known]]:
    """All of it, by address; as `find`."""
    return _selected(path, "ORDER BY address")


def _selected(path: str, which: str, *values: str) -> Iterator[tuple[str, Known]]:
    if not os.path.exists(path):
        return
    query = f"SELECT address, status, updated, text FROM verified {which}"
    try:
        with closing(_existing(path, "ro")) as database:
            for address, status, updated, text in database.execute(query, values):
                if _sound(address, status, updated, text):
                    yield address, Known(status, text, updated)
    except _ERRORS as error:
        raise _wrong(error) from error


def forget(path: str, addresses: Iterable[str]) -> int:
    """For who is not the courier: how many of them were there. Raises CacheError."""
    if not os.path.exists(path):
        return 0
    try:
        with closing(_existing(path, "rw")) as database, database:
            rows = ((address,) for address in addresses)
            return max(database.executemany("DELETE FROM verified WHERE address = ?", rows).rowcount, 0)
    except _ERRORS as error:
        raise _wrong(error) from error


def write(path: str, changes: Mapping[str, Known | None]) -> None:
    """All of it or nothing. Raises CacheError."""
    try:
        with closing(_open(path)) as database, database:
            database.execute(_SCHEMA)
            database.executemany("DELETE FROM verified WHERE address = ?", _gone(changes))
            database.executemany("REPLACE INTO verified VALUES (?, ?, ?, ?)", _rows(changes))
    except _ERRORS as error:
        raise _wrong(error) from error


def discard(path: str) -> None:
    """A file that is damaged. Raises CacheError."""
    try:
        for name in (path, f"{path}-journal"):
            Path(name).unlink(missing_ok=True)
    except OSError as error:
        raise _wrong(error) from error


def _open(path: str) -> sqlite3.Connection:
    # Without WAL: who only reads would have to write beside the file.
    return sqlite3.connect(path, timeout=_PATIENCE)


def _existing(path: str, mode: str) -> sqlite3.Connection:
    """`ro` or `rw`; it is not made."""
    return sqlite3.connect(f"{Path(path).absolute().as_uri()}?mode={mode}", uri=True, timeout=_PATIENCE)


def _gone(changes: Mapping[str, Known | None]) -> Iterable[tuple[str]]:
    return ((address,) for address, known in changes.items() if known is None)


def _rows(changes: Mapping[str, Known | None]) -> Iterable[tuple[str, str, float, str]]:
    return (
        (address, known.status, known.updated, known.text) for address, known in changes.items() if known is not None
    )


def _sound(address: object, status: object, updated: object, text: object) -> bool:
    """Somebody else may have written there."""
    return (
        isinstance(address, str)
        and status in _STATUSES
        and isinstance(updated, (int, float))
        and isinstance(text, str)
        and text.isprintable()
    )


def _wrong(error: Exception) -> CacheError:
    damaged = isinstance(error, sqlite3.Error) and getattr(error, "sqlite_errorcode", 1) & 0xFF in _WRONG
    return CacheError(str(error), damaged=damaged)
