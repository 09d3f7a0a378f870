"""queue.db, SQLite with a write-ahead log and synchronous=FULL: one connection writes on the ledger's thread, one reads
on the loop. A commit is durable when COMMIT returns, and it is whole or absent.

Statements are few and fat: each call of SQLite gives the interpreter lock away, and getting it back from a busy loop
may take a switch interval. So rows are inserted by statements of up to `_ROWS` rows, and a commit group writes one
journal row a segment, however many messages it settles: 20 settled messages are 3 statements.

A full disk must not stop deliveries: they are what frees space. The log and the database are grown when they are opened
(`GROWN` bytes of free pages and of log), the log is never cut, and when even that is not enough a reserve file goes.
"""

import contextlib
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import msgspec

from postwarden.mail.envelope import Envelope
from postwarden.mail.queue import Damaged
from postwarden.spool.layout import database
from postwarden.spool.salvage import finish
from postwarden.spool.schema import (
    PAGE_SIZE,
    TABLES,
    Settled,
    State,
    read_settled,
    seal,
    seal_envelope,
    seal_settled,
    seal_state,
)

GROWN = 16 << 20
_ROWS = 32
_PIECE = 1 << 20
_DAMAGED_SIZE = -1

Load = Callable[[], tuple[bytes, bytes] | None]
"""Head and body from where they are now; None if they can't be read any more."""


class Settle(msgspec.Struct, frozen=True, gc=False):
    """A record of a segment: these recipients are final; None: done with, or moved into queue.db."""

    segment: int
    offset: int
    finals: tuple[int, ...] | None


class Insert(msgspec.Struct, frozen=True):
    """A message with its body, unless `body` is the row of one that is there already."""

    row: int
    due: float
    envelope: Envelope
    state: State
    load: Load
    body: int
    body_file: str
    body_size: int


class Update(msgspec.Struct, frozen=True):
    row: int
    due: float
    state: State


class Delete(msgspec.Struct, frozen=True):
    row: int
    body: int


class Unlink(msgspec.Struct, frozen=True):
    """A body file whose record is done with; it stays if a row of `body` still refers to it."""

    body_file: str


class Drop(msgspec.Struct, frozen=True):
    """A segment that is wholly settled."""

    segment: int
    path: str


Operation = Settle | Insert | Update | Delete | Unlink | Drop


def connect(path: str) -> sqlite3.Connection:
    """Raises sqlite3.Error."""
    db = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False, cached_statements=64)
    try:
        db.execute(f"PRAGMA page_size={PAGE_SIZE}")
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
        db.execute("PRAGMA wal_autocheckpoint=2048")
    except sqlite3.Error:
        db.close()
        raise
    return db


def grow(db: sqlite3.Connection, size: int = GROWN) -> None:
    """Free pages and a long log, for the day when the disk is full. Raises sqlite3.Error."""
    free = db.execute("PRAGMA freelist_count").fetchone()[0] * PAGE_SIZE
    pieces = max(size - free, 0) // _PIECE
    with transaction(db):
        for n in range(pieces):
            db.execute("INSERT INTO body(id, tag, data) VALUES(?, '', zeroblob(?))", (-1 - n, _PIECE))
    if pieces:
        db.execute("DELETE FROM body WHERE id < 0")
        db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()


@contextlib.contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            with contextlib.suppress(sqlite3.Error):
                db.execute("ROLLBACK")
        raise


class QueueWriter:
    """Applies operations. Runs on the ledger's thread, after `open`."""

    def __init__(self, spool: str) -> None:
        self._spool = spool
        self.path = ""
        self._db: sqlite3.Connection | None = None
        self._journal: dict[int, list[int]] = {}
        self._next_journal = 1
        self.damage: list[str] = []
        """What `open` could not read."""
        self.last_row = 0
        """The highest row in use when it was opened. One that is given twice costs the older message."""

    def open(self, grown: int = GROWN) -> dict[int, dict[int, tuple[int, ...] | None]]:
        """Open or create; what the journal says: segment -> offset -> finals. Raises sqlite3.Error,
        OSError."""
        self.close()
        finish(self._spool)
        self.path = database(self._spool)
        db = self._db = connect(self.path)
        db.executescript(TABLES)
        with contextlib.suppress(sqlite3.OperationalError):  # full: the reserve is for that
            db.execute("DELETE FROM body WHERE id < 0")
            grow(db, grown)
        self.last_row = _last_row(db)
        return self._read_journal(db)

    def _read_journal(self, db: sqlite3.Connection) -> dict[int, dict[int, tuple[int, ...] | None]]:
        journal: dict[int, dict[int, tuple[int, ...] | None]] = {}
        self._journal.clear()
        self.damage.clear()
        for row, segment, changes in db.execute("SELECT id, segment, changes FROM settled ORDER BY id"):
            self._journal.setdefault(segment, []).append(row)
            self._next_journal = row + 1
            try:
                changed = read_settled(changes, row)
            except Damaged as error:
                self.damage.append(f"{error}: some messages of segment {segment:016x} may be delivered again")
                continue
            settled = journal.setdefault(segment, {})
            for offset, finals in changed:
                before = settled.get(offset, ())
                settled[offset] = None if finals is None or before is None else before + finals
        return journal

    def close(self) -> None:
        if self._db is not None:
            self._db.close()
            self._db = None

    def apply(self, operations: Sequence[Operation]) -> list[str]:
        """One transaction; the body files that nobody refers to now. Raises sqlite3.Error; then nothing is done."""
        db = self._db
        if db is None:
            raise sqlite3.OperationalError("queue.db is not open")
        group = _Group()
        for operation in operations:
            group.add(operation)
        journal = {}
        with transaction(db):
            for segment, settled in group.settled.items():
                journal[segment] = self._next_journal
                self._next_journal += 1
                db.execute(
                    "INSERT INTO settled VALUES(?, 'S', ?, ?)", (journal[segment], segment, seal_settled(settled))
                )
            group.write(db)
            unused = group.clean(db)
        for segment, row in journal.items():
            self._journal.setdefault(segment, []).append(row)
        return unused

    def forget(self, segments: Iterable[int]) -> None:
        """Drop the journal of segments that are gone from the disk for good. Raises sqlite3.Error."""
        rows = [(row,) for segment in segments for row in self._journal.get(segment, ())]
        if rows and self._db is not None:
            with transaction(self._db):
                self._db.executemany("DELETE FROM settled WHERE id = ?", rows)
        for segment in segments:
            self._journal.pop(segment, None)

    @property
    def journaled(self) -> set[int]:
        """Segments that the journal speaks of."""
        return set(self._journal)


class _Group:
    """The operations of one commit group, sorted into statements."""

    def __init__(self) -> None:
        self.settled: dict[int, Settled] = {}
        self._messages: dict[int, list[Any]] = {}
        self._bodies: list[tuple[Any, ...]] = []
        self._updates: dict[int, tuple[float, bytes, int]] = {}
        self._deletes: list[Delete] = []
        self._files: list[str] = []

    def add(self, operation: Operation) -> None:
        match operation:
            case Settle(segment, offset, finals):
                self.settled.setdefault(segment, []).append((offset, finals))
            case Insert():
                self._insert(operation)
            case Update(row, due, state):
                self._updates[row] = (due, seal_state(state), row)
            case Delete():
                self._updates.pop(operation.row, None)
                self._deletes.append(operation)
            case Unlink(body_file):
                self._files.append(body_file)

    def _insert(self, new: Insert) -> None:
        loaded = new.load()
        head: bytes | None = None
        if loaded is not None:
            head = seal(loaded[0])
        if not new.body:
            size = _DAMAGED_SIZE if loaded is None else new.body_size
            data = None if loaded is None or new.body_file else seal(loaded[1])
            self._bodies.append((new.row, "B", size, new.body_file or None, data))
        self._messages[new.row] = [
            new.row, "M", new.due, new.body or new.row, len(head or b"    ") - 4, new.body_size,
            new.envelope.queue_id, seal_state(new.state), seal_envelope(new.envelope), head,
        ]  # fmt: skip

    def write(self, db: sqlite3.Connection) -> None:
        _insert_rows(db, "body", self._bodies)
        _insert_rows(db, "message", list(self._messages.values()))
        if self._updates:
            db.executemany("UPDATE message SET due = ?, state = ? WHERE id = ?", self._updates.values())
        if self._deletes:
            db.executemany("DELETE FROM message WHERE id = ?", [(gone.row,) for gone in self._deletes])

    def clean(self, db: sqlite3.Connection) -> list[str]:
        """Remove bodies that no message has any more; the body files that are free."""
        files = list(self._files)
        for gone in self._deletes:
            if db.execute("SELECT 1 FROM message WHERE body = ? LIMIT 1", (gone.body,)).fetchone() is None:
                for (file,) in db.execute("DELETE FROM body WHERE id = ? RETURNING file", (gone.body,)).fetchall():
                    if file:
                        files.append(file)
        return [file for file in files if not _in_use(db, file)]


def _last_row(db: sqlite3.Connection) -> int:
    """Of messages, of bodies, and of bodies that a message refers to. Raises sqlite3.Error, above all when it can't be
    read: the file is then rebuilt before a row is given."""
    rows = db.execute("SELECT max(id) FROM message UNION ALL SELECT max(body) FROM message UNION ALL "
                      "SELECT max(id) FROM body").fetchall()  # fmt: skip
    return max((row or 0 for (row,) in rows), default=0)


def _in_use(db: sqlite3.Connection, file: str) -> bool:
    return db.execute("SELECT 1 FROM body WHERE file = ? LIMIT 1", (file,)).fetchone() is not None


def _insert_rows(db: sqlite3.Connection, table: str, rows: Sequence[Sequence[Any]]) -> None:
    at = 0
    while at < len(rows):
        count = _ROWS if len(rows) - at >= _ROWS else 1
        part = rows[at : at + count]
        one = f"({','.join('?' * len(part[0]))})"
        db.execute(
            f"INSERT OR REPLACE INTO {table} VALUES {','.join([one] * count)}", [value for row in part for value in row]
        )
        at += count
