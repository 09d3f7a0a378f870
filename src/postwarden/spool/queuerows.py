"""Reading queue.db on the loop: what is due, what has a name, content, in pages.

`due` walks the index (due, id) with a cursor. What lies before the cursor is held by the courier, or was put away since
with a later due time; `put_away` sets the cursor back when the time is not later (a clock that was set back).

A flush of all walks the index (epoch, id) up to the epoch at which it was asked for, a flush of a site the index (name,
message): what is deferred again meanwhile has a newer epoch, or lies behind the cursor.
"""

import os
import sqlite3
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Sequence
from typing import Any

from postwarden.mail.queue import HOLD, Content, Damaged, Entry, Listed, State
from postwarden.spool.layout import database
from postwarden.spool.queuedb import connect
from postwarden.spool.schema import read_envelope, read_state, unseal

_PAGE = 500
PAGE_BYTES = 1 << 20
"""Of envelopes and states in a page of a listing: messages with a thousand recipients must not hold up the loop."""
_COLUMNS = "message.id, due, body, head_size, body_size, state, envelope"
_START = (-1.0, 0)


class QueueRows:
    def __init__(self, spool: str, report: Callable[[str], None], broken: Callable[[], None]) -> None:
        """`report` gets what is lost; `broken` is called when SQLite says that the file is malformed."""
        self._spool = spool
        self._report = report
        self._broken = broken
        self._db: sqlite3.Connection | None = None
        self._cursor = _START
        self._flush_at = (0, 0)
        self._flush_before = 0
        """A flush hands out epochs before this one."""
        self._sites: dict[str, tuple[int, int]] = {}
        """Sites whose mail is asked for -> rows from .. to."""
        self._failing = False
        """The last query failed: that it found nothing means nothing."""
        self._bad: set[int] = set()

    def open(self) -> None:
        """Raises sqlite3.Error. Also when the file was replaced."""
        self.close()
        self._db = connect(database(self._spool))
        self._cursor = _START
        self._failing = False

    def close(self) -> None:
        if self._db is not None:
            self._db.close()
            self._db = None

    def _query(self, text: str, values: tuple[Any, ...] = ()) -> list[Any]:
        if self._db is None:
            return []
        try:
            found = self._db.execute(text, values).fetchall()
            self._failing = False
            return found
        except sqlite3.DatabaseError as error:
            self._failed(error)
        return []

    def _failed(self, error: sqlite3.DatabaseError) -> None:
        self._failing = True
        self._report(f"queue.db: {error}")
        if not isinstance(error, sqlite3.OperationalError):
            self._broken()

    def _walk(self, text: str, until: str, after: tuple[float, int], end: float, limit: int) -> list[Any]:
        """A page of an index whose column `text` ends with. Two queries, since SQLite takes `(due, id) > (?, ?)` for
        `due >= ?`: in a million rows of the same time it reads on from the first (100 ms a page)."""
        column = text.rpartition(" ")[2]
        value, row = after
        page: list[Any] = []
        self._failing = False
        if value < end or (value == end and until == "<="):
            page = self._query(f"{text} = ? AND id > ? ORDER BY id LIMIT ?", (value, row, limit))
        if len(page) < limit and not self._failing:
            rest = (value, end, limit - len(page))
            page += self._query(f"{text} > ? AND {column} {until} ? ORDER BY {column}, id LIMIT ?", rest)
        return page

    # what is due

    def due(self, now: float, limit: int, held: Container[int]) -> list[Entry]:
        found: dict[int, Entry] = {}
        while len(found) < limit:
            page = self._walk(f"SELECT {_COLUMNS} FROM message WHERE due", "<=", self._cursor, now, limit - len(found))
            if not page:
                self._flushed(found, limit, held)
                self._for_sites(found, limit, held)
                break
            self._cursor = (page[-1][1], page[-1][0])
            self._add(found, page, held)
        return list(found.values())

    def _add(self, found: dict[int, Entry], page: Iterable[Any], held: Container[int]) -> None:
        """A row may be due and flushed at once: nobody holds it before the call is over."""
        for entry in self._entries([row for row in page if row[0] not in found], held):
            found[entry.key[1]] = entry

    def _flushed(self, found: dict[int, Entry], limit: int, held: Container[int]) -> None:
        while self._flush_before and len(found) < limit:
            page = self._walk(
                f"SELECT {_COLUMNS}, epoch FROM message INDEXED BY message_epoch WHERE due < 1e15 AND epoch",
                "<", self._flush_at, self._flush_before, limit - len(found),
            )  # fmt: skip
            if not page:
                self._flush_before = self._flush_before if self._failing else 0
                break
            self._flush_at = (page[-1][-1], page[-1][0])
            self._add(found, [row[:-1] for row in page], held)

    def _for_sites(self, found: dict[int, Entry], limit: int, held: Container[int]) -> None:
        while self._sites and len(found) < limit:
            site, (at, last) = next(iter(self._sites.items()))
            page = self._query(
                f"SELECT {_COLUMNS} FROM site JOIN message ON message.id = site.message "
                "WHERE name = ? AND site.message > ? AND site.message <= ? AND due < ? ORDER BY site.message LIMIT ?",
                (site, at, last, HOLD, limit - len(found)),
            )
            if self._failing:
                break
            if page:
                self._sites[site] = (page[-1][0], last)
            else:
                del self._sites[site]
            self._add(found, page, held)

    def _entries(self, page: Iterable[Any], held: Container[int]) -> Iterator[Entry]:
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
            (0, row), envelope, state.open, head_size, body_size, state.attempts, due, state.reasons, content=body,
            warned=state.warned, expired=state.expired, untold=state.untold, told=state.told,
        )  # fmt: skip

    def last_due(self, held: Container[int]) -> float | None:
        if self._flush_before:
            return None
        last = self._query("SELECT due, id FROM message WHERE due < ? ORDER BY due DESC LIMIT ?", (HOLD, _PAGE))
        return next((float(due) for due, row in last if row not in held and row not in self._bad), None)

    def flush(self, epoch: int) -> None:
        """Hand out all rows of older epochs once, whatever their time."""
        self._flush_at, self._flush_before = (-1, 0), epoch

    def flush_site(self, site: str, last: int) -> None:
        """Hand out the rows of this site up to `last` once."""
        self._sites[site] = (0, last)

    def put_away(self, due: float) -> None:
        """A row with this due time is held no more."""
        if due <= self._cursor[0]:
            self._cursor = (due, 0)

    # by name

    def rows_of(self, queue_ids: Collection[str]) -> list[int]:
        """On hold or not, held or not."""
        return [row for (row,) in self._among("SELECT id FROM message WHERE queue_id", list(set(queue_ids)))]

    def pick(self, rows: Sequence[int], held: Container[int]) -> list[Entry]:
        """Of these rows, those that nobody holds."""
        return list(self._entries(self._among(f"SELECT {_COLUMNS} FROM message WHERE id", sorted(set(rows))), held))

    def _among(self, text: str, values: Sequence[Any]) -> Iterator[Any]:
        for at in range(0, len(values), _PAGE):
            part = tuple(values[at : at + _PAGE])
            yield from self._query(f"{text} IN ({','.join('?' * len(part))})", part)

    def page(self, after: int, limit: int, held: Container[int]) -> tuple[list[Listed], int | None]:
        """Rows behind `after`, and where to go on; None: that was all. Raises Damaged."""
        found: list[Listed] = []
        if self._db is None:
            return found, None
        size, at = 0, after
        try:
            page = self._db.execute(
                "SELECT id, queue_id, due, state, envelope FROM message WHERE id > ? ORDER BY id LIMIT ?",
                (after, limit),
            )
            for at, *row in page:
                size += len(row[-1] or b"") + len(row[-2] or b"")
                listed = self._listed(at, held, *row)
                if listed is not None:
                    found.append(listed)
                if size > PAGE_BYTES:
                    break
            page.close()
        except sqlite3.DatabaseError as error:
            self._failed(error)
            raise Damaged(f"queue.db: {error}") from error
        return found, None if at == after else at

    def _listed(self, row: int, held: Container[int], queue_id: str, *rest: Any) -> Listed | None:
        due, state, envelope = rest
        try:
            plain = unseal(envelope, f"envelope of message {row}")
        except Damaged as error:
            if row not in self._bad:
                self._bad.add(row)
                self._report(f"{error}; the message is lost")
            return None
        try:
            waiting = unseal(state, f"state of message {row}")
        except Damaged:  # said when it is taken
            waiting = b""
        return Listed((0, row), queue_id, due, row in held, plain, waiting)

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
            crc = int.from_bytes(data) if isinstance(data, bytes) and len(data) == 4 else 0
            return Content(head, None, self.open_body(file), 0, size, crc)
        return Content(head, unseal(data, f"body of message {row}"))

    def open_body(self, file: str) -> int:
        """Raises OSError."""
        return os.open(os.path.join(self._spool, "incoming", file), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)

    def body_files(self, of: Iterable[str]) -> set[str]:
        """Those of these that a message needs."""
        return {file for file in of if self._query("SELECT 1 FROM body WHERE file = ? LIMIT 1", (file,))}
