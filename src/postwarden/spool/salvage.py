"""Rebuilding a damaged queue.db: every row that can still be read goes into a new file, what is lost is named.

First the pages that are reached from the roots of the tables. Then the leaves that no tree reaches, since an inner page
is gone; of those only rows that were not seen yet. Free pages are left out, for they hold old rows; where the free list
itself is damaged some messages may come back that were delivered. Which messages existed is also told by an index, so
that a lost one can be named.

The new file gets a name of its own, queue.<n>.db, never the name of the old one: SQLite removes a log by its name, so
whoever still has the old file open and closes it late would remove the log of the new one. The rename that gives it its
name is the moment from which it counts; a crash before it begins anew, a crash after it is finished by `finish`.
"""

import contextlib
import os
import sqlite3
from collections.abc import Iterable

from postwarden.spool.layout import database, databases, next_database
from postwarden.spool.pages import Pages, Row
from postwarden.spool.schema import COLUMNS, PAGE_SIZE, TABLES, TAGS

ROOTS = {"message": 2, "body": 5, "settled": 7}
_NAMES = 4
"""Root of the index message_body, whose entries hold the queue id. SQLite gives roots in the order of `TABLES`."""


def finish(spool: str) -> None:
    """Remove databases that count no more; the last is kept as queue.db.damaged. Raises OSError."""
    for path in databases(spool)[:-1]:
        os.rename(path, os.path.join(spool, "queue.db.damaged"))
        for end in ("-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path + end)


def replace(spool: str) -> list[str]:
    """Rebuild the database; what to tell the operator. Nobody may write it meanwhile. Raises OSError, sqlite3.Error."""
    pages = Pages(database(spool))
    try:
        tables, unnamed = _collect(pages)
    finally:
        pages.close()
    draft = os.path.join(spool, "rebuilding")
    for name in (draft, f"{draft}-journal"):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
    _write(draft, tables)
    os.rename(draft, next_database(spool))
    _sync_directory(spool)
    finish(spool)
    kept = f"queue.db was rebuilt with {len(tables['message'])} messages; the damaged file is kept as queue.db.damaged"
    return [*[f"{queue_id}: lost with a damaged page of queue.db" for queue_id in unnamed], kept]


def _collect(pages: Pages) -> tuple[dict[str, dict[int, Row]], list[str]]:
    tables: dict[str, dict[int, Row]] = {name: {} for name in ROOTS}
    free = pages.free()
    reached: set[int] = set()
    for name, root in ROOTS.items():
        tree = pages.tree(root)
        reached |= tree
        _rows(pages, tree - free, {name: tables[name]})
    _rows(pages, set(range(2, pages.count + 1)) - reached - free, tables)
    names = (key for number in pages.tree(_NAMES) for key in pages.keys(number) if len(key) == 3)
    return tables, sorted({str(name) for _, name, row in names if row not in tables["message"]})


def _rows(pages: Pages, numbers: Iterable[int], tables: dict[str, dict[int, Row]]) -> None:
    for number in sorted(numbers):
        for row in pages.rows(number):
            for name, found in tables.items():
                if len(row.values) == COLUMNS[name] and row.values[1] == TAGS[name] and _sound(name, row):
                    found.setdefault(row.rowid, row)


def _sound(name: str, row: Row) -> bool:
    """Columns that are compared have the kinds that they must have; blobs have sums of their own."""
    values = row.values
    if name == "message":
        return isinstance(values[2], (int, float)) and all(isinstance(values[n], int) for n in (3, 4, 5))
    return isinstance(values[2], int)


def _write(path: str, tables: dict[str, dict[int, Row]]) -> None:
    db = sqlite3.connect(path, isolation_level=None)
    try:
        db.execute(f"PRAGMA page_size={PAGE_SIZE}")
        db.execute("PRAGMA journal_mode=DELETE")
        db.execute("PRAGMA synchronous=FULL")
        db.executescript(TABLES)
        db.execute("BEGIN")
        for name, rows in tables.items():
            marks = ",".join("?" * COLUMNS[name])
            values = ((row.rowid, *row.values[1:]) for row in rows.values())
            db.executemany(f"INSERT INTO {name} VALUES({marks})", values)
        db.execute("COMMIT")
    finally:
        db.close()


def _sync_directory(path: str) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
