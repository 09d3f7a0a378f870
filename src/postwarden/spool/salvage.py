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

from postwarden.config.durable import sync_directory
from postwarden.spool.files import make_private
from postwarden.spool.layout import database, databases, next_database
from postwarden.spool.pages import Pages, Value
from postwarden.spool.schema import COLUMNS, PAGE_SIZE, TABLES, TAGS

ROOTS = {"message": 2, "body": 5, "settled": 7}
"""Where these trees begin in each file. `site` begins elsewhere in a file that had the first layout: its leaves are
found like those that no tree reaches."""
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
    draft = os.path.join(spool, "rebuilding")
    for name in (draft, f"{draft}-journal"):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
    pages = Pages(database(spool))
    try:
        count, unnamed = _rebuild(pages, draft)
    finally:
        pages.close()
    os.rename(draft, next_database(spool))
    sync_directory(spool)
    finish(spool)
    kept = f"queue.db was rebuilt with {count} messages; the damaged file is kept as queue.db.damaged"
    return [*[f"{queue_id}: lost with a damaged page of queue.db" for queue_id in unnamed], kept]


def _rebuild(pages: Pages, path: str) -> tuple[int, list[str]]:
    """How many messages there are, and the names of those that are lost. Row by row: a queue is larger than memory."""
    make_private(path)
    db = sqlite3.connect(path, isolation_level=None)
    try:
        db.execute(f"PRAGMA page_size={PAGE_SIZE}")
        db.execute("PRAGMA journal_mode=DELETE")
        db.execute("PRAGMA synchronous=FULL")
        db.executescript(TABLES)
        db.execute("BEGIN")
        _collect(pages, db)
        db.execute("DELETE FROM site WHERE message NOT IN (SELECT id FROM message)")
        lost = _lost(pages, db)
        (count,) = db.execute("SELECT count(*) FROM message").fetchone()
        db.execute("COMMIT")
    finally:
        db.close()
    return count, lost


def _collect(pages: Pages, db: sqlite3.Connection) -> None:
    free = pages.free()
    reached: set[int] = set()
    for name, root in ROOTS.items():
        tree = pages.tree(root)
        reached |= tree
        _keep(pages, sorted(tree - free), db, (name,))
    _keep(pages, (n for n in range(2, pages.count + 1) if n not in reached and n not in free), db, tuple(COLUMNS))


def _keep(pages: Pages, numbers: Iterable[int], db: sqlite3.Connection, names: tuple[str, ...]) -> None:
    """The rows of these tables that are on these pages. A row that is there already stays as it is."""
    statements = {name: f"INSERT OR IGNORE INTO {name} VALUES({','.join('?' * max(COLUMNS[name]))})" for name in names}
    for number in numbers:
        for row in pages.rows(number):
            for name, statement in statements.items():
                if len(row.values) in COLUMNS[name] and row.values[1] == TAGS[name] and _sound(name, row.values):
                    values = (row.rowid, *row.values[1:])
                    db.execute(statement, values if len(values) == max(COLUMNS[name]) else (*values, 0))


def _lost(pages: Pages, db: sqlite3.Connection) -> list[str]:
    """Queue ids that the index knows and the table does not."""
    there = "SELECT 1 FROM message WHERE id = ?"
    keys = (key for number in pages.tree(_NAMES) for key in pages.keys(number) if len(key) == 3)
    gone = (name for _, name, row in keys if isinstance(row, int) and db.execute(there, (row,)).fetchone() is None)
    return sorted({str(name) for name in gone})


def _sound(name: str, values: tuple[Value, ...]) -> bool:
    """Columns that are compared have the kinds that they must have; blobs have sums of their own."""
    if name == "message":
        whole = [*values[3:6], *values[10:]]
        return isinstance(values[2], (int, float)) and all(isinstance(value, int) for value in whole)
    if name == "site":
        return isinstance(values[2], str) and isinstance(values[3], int)
    return isinstance(values[2], int)
