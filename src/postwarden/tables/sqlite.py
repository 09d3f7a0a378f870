"""sqlite: tables, sqlite_table(5). The data base is opened to read only."""

import contextlib
import os
import sqlite3
import time
from urllib.parse import quote

from postwarden.config.errors import Problem
from postwarden.mail.decision import Origin
from postwarden.tables.definition import Definition, in_file, in_main_cf, stands_in_main_cf
from postwarden.tables.keys import folded
from postwarden.tables.source import Mark, SourceTable, mark
from postwarden.tables.table import Found, TableError
from postwarden.tables.template import Domains, Opener, Templates, over_limit, select

QUERY_SECONDS = 1.0
"""What one look-up may take: a query without an index must not stop everything else."""
BUSY_SECONDS = 0.05
_STEPS = 1000


class SqliteTable(SourceTable):
    """Keys are put into the query in lower case. What the data base answers is never older than its file."""

    def __init__(
        self, name: str, place: str, config_directory: str, origin: Origin, opener: Opener, *, fold: bool = True
    ) -> None:
        """`place`: a file with a slash or dot at its front, or the prefix of parameters of main.cf.
        Raises ConfigError."""
        self._place = place
        self._directory = config_directory
        self._origin = origin
        self._opener = opener
        self._fold = fold
        self._connection: sqlite3.Connection | None = None
        self._path = ""
        self._inode: Mark = None
        self._templates = Templates("%s", "%s")
        self._domains: Domains | None = None
        self._limit = 0
        file = os.path.join(config_directory, "main.cf" if stands_in_main_cf(place) else place)
        super().__init__(name, (file,))

    def stale(self) -> bool:
        if super().stale() or (self._domains is not None and self._domains.stale()):
            return True
        return bool(self._path) and _inode(self._path) != self._inode

    def _load(self) -> None:
        definition, problems = self._definition()
        path = definition.text("dbpath", needed=True)
        templates, limit = select(definition), over_limit(definition)
        self._domains = Domains(definition, self._opener)
        self._templates, self._limit, self.warnings = templates, limit, problems
        self._path, self._inode = os.path.join(self._directory, path), _inode(os.path.join(self._directory, path))
        self._close()
        if self._inode is None:
            raise TableError(self._path, "can't be read: No such file or directory")

    def _definition(self) -> tuple[Definition, tuple[Problem, ...]]:
        if stands_in_main_cf(self._place):
            return in_main_cf(self._place, self._directory, self._origin), ()
        return in_file(self._files[0])

    def _find(self, key: str) -> Found | None:
        name = folded(key) if self._fold else key
        if self._domains is None or not self._domains.hold(name):
            return None
        query = self._templates.query(name, _quoted)
        if query is None or "\0" in query:
            return None
        try:
            values = self._answers(name, first_statement(query))
        except UnicodeEncodeError:
            return None  # a key that is no text is in no data base
        except (sqlite3.Error, sqlite3.Warning, UnicodeDecodeError) as error:
            self._close()
            raise TableError(self.name, f"SQL query failed: {error}") from error
        return Found(",".join(values), key, self.name) if values else None

    def _answers(self, key: str, query: str) -> list[str]:
        deadline = time.monotonic() + QUERY_SECONDS
        connection = self._connected()
        connection.set_progress_handler(lambda: time.monotonic() > deadline, _STEPS)
        values: list[str] = []
        with contextlib.closing(connection.execute(query)) as rows:
            for row in rows:
                values += self._templates.answer(key, (None if row[0] is None else _text(row[0]),))
                if 0 < self._limit < len(values):
                    raise TableError(self.name, f"Expansion limit exceeded for key '{key}'")
        return values

    def _connected(self) -> sqlite3.Connection:
        """Opened at the first look-up: a connection must not go along into another process."""
        if self._connection is None:
            self._connection = sqlite3.connect(
                f"file:{quote(self._path)}?mode=ro",
                uri=True,
                timeout=BUSY_SECONDS,
                isolation_level=None,
                check_same_thread=False,
            )
        return self._connection

    def _close(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None


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
