"""sqlite: tables, sqlite_table(5). The data base is opened to read only."""

import contextlib
import os
import sqlite3
import time
from urllib.parse import quote

from postwarden.tables.configured import ConfiguredTable
from postwarden.tables.remote.domains import Domains
from postwarden.tables.source import Mark, mark
from postwarden.tables.table import Found, TableError
from postwarden.tables.template import Templates, over_limit, select

QUERY_SECONDS = 1.0
"""What one look-up may take: a query without an index must not stop everything else."""
BUSY_SECONDS = 0.05
_STEPS = 1000


class _Base:
    """One data base as one definition has it. Connections that nobody uses wait in a stack: each is one thread's at a
    time, and there are as many as were ever needed at once."""

    def __init__(self, path: str, templates: Templates, domains: Domains, limit: int) -> None:
        self.path, self.inode = path, _inode(path)
        self.domains = domains
        self._templates, self._limit = templates, limit
        self._idle: list[sqlite3.Connection] = []
        self._over = False

    def answers(self, key: str) -> list[str]:
        """Raises TableError, sqlite3.Error, UnicodeError."""
        query = self._templates.query(key, _quoted)
        if query is None or "\0" in query:
            return []
        connection = self._idle.pop() if self._idle else self._connect()
        try:
            values = self._selected(connection, key, first_statement(query))
        except BaseException:
            connection.close()
            raise
        self._idle.append(connection)
        if self._over:
            self.close()
        return values

    def _selected(self, connection: sqlite3.Connection, key: str, query: str) -> list[str]:
        deadline = time.monotonic() + QUERY_SECONDS
        connection.set_progress_handler(lambda: time.monotonic() > deadline, _STEPS)
        values: list[str] = []
        with contextlib.closing(connection.execute(query)) as rows:
            for row in rows:
                values += self._templates.answer(key, (None if row[0] is None else _text(row[0]),))
                if 0 < self._limit < len(values):
                    raise _Overflow
        return values

    def _connect(self) -> sqlite3.Connection:
        """At the first look-up: a connection must not go along into another process."""
        return sqlite3.connect(
            f"file:{quote(self.path)}?mode=ro",
            uri=True,
            timeout=BUSY_SECONDS,
            isolation_level=None,
            check_same_thread=False,
        )

    def close(self) -> None:
        self._over = True
        while self._idle:
            with contextlib.suppress(sqlite3.Error, IndexError):  # another thread may have taken the last one
                self._idle.pop().close()


class _Overflow(Exception):
    """More values than expansion_limit."""


class SqliteTable(ConfiguredTable):
    """What the data base answers is never older than its file."""

    _base: _Base | None = None

    def stale(self) -> bool:
        base = self._base
        if super().stale() or (base is not None and base.domains.stale()):
            return True
        return base is not None and _inode(base.path) != base.inode

    def _load(self) -> None:
        definition, problems = self._definition()
        path = os.path.join(self._directory, definition.text("dbpath", needed=True))
        templates, limit = select(definition), over_limit(definition)
        new = _Base(path, templates, Domains(definition, self._opener), limit)
        old, self._base, self.warnings = self._base, new, problems
        if old is not None:
            old.close()
        if new.inode is None:
            raise TableError(path, "can't be read: No such file or directory")

    def _find(self, key: str) -> Found | None:
        name = self._folded(key)
        base = self._base
        if base is None or not base.domains.hold(name):
            return None
        try:
            values = base.answers(name)
        except _Overflow:
            raise TableError(self.name, f"Expansion limit exceeded for key '{name}'") from None
        except UnicodeEncodeError:
            return None  # a key that is no text is in no data base
        except (sqlite3.Error, sqlite3.Warning, UnicodeDecodeError) as error:
            raise TableError(self.name, f"SQL query failed: {error}") from error
        return Found(",".join(values), key, self.name) if values else None


def first_statement(query: str) -> str:
    """What stands before the first semicolon that ends a statement; the rest counts for nothing, as in Postfix."""
    at = query.find(";")
    while at >= 0:
        if sqlite3.complete_statement(query[: at + 1]):
            return query[:at]
        at = query.find(";", at + 1)
    return query


def _quoted(text: str) -> str:
    return text.replace("'", "''")


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _inode(file: str) -> Mark:
    found = mark(file)
    return None if found is None else (*found[:2], 0, 0, 0)
