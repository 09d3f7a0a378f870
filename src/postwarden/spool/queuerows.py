"""Reading queue.db on the loop: what is due, content, in pages.

`due` walks the index (due, id) with a cursor. What lies before the cursor is held by the courier, or was put away since
with a later due time; `put_away` sets the cursor back when the time is not later (a clock that was set back).
"""

import os
import sqlite3
from collections.abc import Callable, Container, Iterator
from typing import Any

from postwarden.mail.queue import Content, Damaged, Entry
from postwarden.spool.layout import database
from postwarden.spool.queuedb import connect
from postwarden.spool.schema import State, read_envelope, read_state, unseal

_PAGE = 500
_COLUMNS = "id, due, body, head_size, body_size, state, envelope"
_START = (-1.0, 0)


class QueueRows:
    def __init__(self, spool: str, report: Callable[[str], None], broken: Callable[[], None]) -> None:
        """`report` gets what is lost; `broken` is called when SQLite says that the file is malformed."""
        self._spool = spool
        self._report = report
        self._broken = broken
        self._db: sqlite3.Connection | None = None
        self._cursor = _START
        self._flush = (0, 0)
        self._bad: set[int] = set()

    def open(self) -> None:
        """Raises sqlite3.Error. Also when the file was replaced."""
        self.close()
        self._db = connect(database(self._spool))
        self._cursor = _START

    def close(self) -> None:
        if self._db is not None:
            self._db.close()
            self._db = None

    def _query(self, text: str, values: tuple[Any, ...] = ()) -> list[Any]:
        if self._db is None:
            return []
        try:
            return self._db.execute(text, values).fetchall()
        except sqlite3.OperationalError as error:
            self._report(f"queue.db: {error}")
        except sqlite3.DatabaseError as error:
            self._report(f"queue.db: {error}")
            self._broken()
        return []

    # what is due

    def due(self, now: float, limit: int, held: Container[int]) -> list[Entry]:
        found: list[Entry] = []
        while len(found) < limit:
            page = self._query(
                f"SELECT {_COLUMNS} FROM message WHERE (due, id) > (?, ?) AND due <= ? ORDER BY due, id LIMIT ?",
                (*self._cursor, now, limit - len(found)),
            )
            if not page:
                return found + self._flushed(limit - len(found), held)
            self._cursor = (page[-1][1], page[-1][0])
            found += self._entries(page, held)
        return found

    def _flushed(self, limit: int, held: Container[int]) -> list[Entry]:
        found: list[Entry] = []
        at, last = self._flush
        while at < last and len(found) < limit:
            page = self._query(
                f"SELECT {_COLUMNS} FROM message WHERE id > ? AND id <= ? ORDER BY id LIMIT ?",
                (at, last, limit - len(found)),
            )
            at = page[-1][0] if page else last
            found += self._entries(page, held)
        self._flush = (at, last)
        return found

    def _entries(self, page: list[Any], held: Container[int]) -> Iterator[Entry]:
        for row in page:
            if row[0] not in held and row[0] not in self._bad:
                entry = self._entry(*row)
                if entry is not None:
                    yield entry

    def _entry(self, row: int, due: float, body: int, *rest: Any) -> Entry | None:
        head_size, body_size, state_blob, envelope_blob = rest
        try:
            envelope = read_envelope(envelope_blob, row)
        except Damaged as error:
            self._bad.add(row)
            self._report(f"{error}; the message is lost")
            return None
        try:
            state = read_state(state_blob, row)
        except Damaged as error:
            self._report(f"{envelope.queue_id}: {error}; all its recipients are tried again")
            state = State(tuple(range(len(envelope.recipients))))
        return Entry(
            (0, row), envelope, state.open, head_size, body_size, state.attempts, due, state.reasons, content=body
        )

    def next_due(self, held: Container[int]) -> float | None:
        if self._flush[0] < self._flush[1]:
            return 0.0
        due, row = self._cursor
        while page := self._query(
            "SELECT due, id FROM message WHERE (due, id) > (?, ?) ORDER BY due, id LIMIT ?", (due, row, _PAGE)
        ):
            for due, row in page:
                if row not in held and row not in self._bad:
                    return float(due)
        return None

    def flush(self, last: int) -> None:
        """Hand out all rows up to `last` once, whatever their time."""
        self._flush = (0, last)

    def put_away(self, due: float) -> None:
        """A row with this due time is held no more."""
        if due <= self._cursor[0]:
            self._cursor = (due, 0)

    # content

    def content(self, row: int) -> Content:
        """Raises Damaged, OSError."""
        found = self._query(
            "SELECT head, data, file, size FROM message LEFT JOIN body ON body.id = message.body WHERE message.id = ?",
            (row,),
        )
        if not found:
            raise Damaged(f"queue.db: message {row} can't be read")
        head_blob, data, file, size = found[0]
        head = unseal(head_blob, f"head of message {row}")
        if file:
            return Content(head, None, self.open_body(file), 0, size)
        return Content(head, unseal(data, f"body of message {row}"))

    def open_body(self, file: str) -> int:
        """Raises OSError."""
        return os.open(os.path.join(self._spool, "incoming", file), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)

    def body_files(self) -> set[str]:
        return {file for (file,) in self._query("SELECT file FROM body WHERE file IS NOT NULL")}
