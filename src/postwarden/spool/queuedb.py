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
from postwarden.mail.queue import Damaged, State
from postwarden.spool.files import make_private
from postwarden.spool.layout import database
from postwarden.spool.salvage import finish
from postwarden.spool.schema import (
    ADD_EPOCH,
    PAGE_SIZE,
    TABLES,
    Settled,
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
    body_crc: int
    """Of the body file; 0: not known."""
    epoch: int
    sites: tuple[str, ...] = ()


class Update(msgspec.Struct, frozen=True):
    row: int
    due: float
    state: State
    epoch: int
    sites: tuple[str, ...] | None = None
    """None: as they are."""


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
        self.last_epoch = 0
        """Of any message that a flush may hand out, when it was opened."""
        self._sited = False
        """There may be rows in `site`."""

    def open(self, grown: int = GROWN) -> dict[int, dict[int, tuple[int, ...] | None]]:
        """Open or create; what the journal says: segment -> offset -> finals. Raises sqlite3.Error,
        OSError."""
        self.close()
        finish(self._spool)
        self.path = database(self._spool)
        make_private(self.path)  # the log gets the mode of its database
        db = self._db = connect(self.path)
        _complete(db)
        with contextlib.suppress(sqlite3.OperationalError):  # full: the reserve is for that
            db.execute("DELETE FROM body WHERE id < 0")
            grow(db, grown)
        self.last_row = _last_row(db)
        self.last_epoch = db.execute("SELECT max(epoch) FROM message WHERE due < 1e15").fetchone()[0] or 0
        self._sited = db.execute("SELECT 1 FROM site LIMIT 1").fetchone() is not None
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
            self._sited = group.place(db, self._sited)
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


class _Group:
    """The operations of one commit group, sorted into statements."""

    def __init__(self) -> None:
        self.settled: dict[int, Settled] = {}
        self._messages: dict[int, list[Any]] = {}
        self._bodies: list[tuple[Any, ...]] = []
        self._updates: dict[int, Update] = {}
        self._sites: dict[int, tuple[str, ...]] = {}
        self._deletes: list[Delete] = []
        self._files: list[str] = []

    def add(self, operation: Operation) -> None:
        match operation:
            case Settle(segment, offset, finals):
                self.settled.setdefault(segment, []).append((offset, finals))
            case Insert():
                self._insert(operation)
            case Update():
                self._updates[operation.row] = operation  # only the last is written
                if operation.sites is not None:
                    self._sites[operation.row] = operation.sites
            case Delete():
                self._updates.pop(operation.row, None)
                self._sites[operation.row] = ()
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
            data = None if loaded is None else seal(loaded[1])
            if new.body_file:
                data = new.body_crc.to_bytes(4) if new.body_crc else None
            self._bodies.append((new.row, "B", size, new.body_file or None, data))
        self._messages[new.row] = [
            new.row, "M", new.due, new.body or new.row, len(head or b"    ") - 4, new.body_size,
            new.envelope.queue_id, seal_state(new.state), seal_envelope(new.envelope), head, new.epoch,
        ]  # fmt: skip
        if new.sites:
            self._sites[new.row] = new.sites

    def write(self, db: sqlite3.Connection) -> None:
        _insert_rows(db, "body", self._bodies)
        _insert_rows(db, "message", list(self._messages.values()))
        if self._updates:
            updates = [(new.due, seal_state(new.state), new.epoch, new.row) for new in self._updates.values()]
            db.executemany("UPDATE message SET due = ?, state = ?, epoch = ? WHERE id = ?", updates)
        if self._deletes:
            db.executemany("DELETE FROM message WHERE id = ?", [(gone.row,) for gone in self._deletes])

    def place(self, db: sqlite3.Connection, sited: bool) -> bool:
        """Note the sites of messages, where any message has (`sited`) or gets one; whether one may have now."""
        rows = [(name, row) for row, names in self._sites.items() for name in names]
        if sited or rows:
            db.executemany("DELETE FROM site WHERE message = ?", [(row,) for row in self._sites])
            db.executemany("INSERT INTO site(tag, name, message) VALUES('D', ?, ?)", rows)
        return sited or bool(rows)

    def clean(self, db: sqlite3.Connection) -> list[str]:
        """Remove bodies that no message has any more; the body files that are free."""
        files = list(self._files)
        for gone in self._deletes:
            if db.execute("SELECT 1 FROM message WHERE body = ? LIMIT 1", (gone.body,)).fetchone() is None:
                for (file,) in db.execute("DELETE FROM body WHERE id = ? RETURNING file", (gone.body,)).fetchall():
                    if file:
                        files.append(file)
        return [file for file in files if not _in_use(db, file)]


def _complete(db: sqlite3.Connection) -> None:
    """Make what lacks; in a file of the first layout that is a column and two indexes. Raises sqlite3.Error."""
    columns = [row[1] for row in db.execute("PRAGMA table_info(message)")]
    if columns and "epoch" not in columns:
        db.execute(ADD_EPOCH)
    db.executescript(TABLES)


def _last_row(db: sqlite3.Connection) -> int:
    """Of messages, of bodies, and of those that another row refers to. Raises sqlite3.Error, above all when it can't be
    read: the file is then rebuilt before a row is given."""
    rows = db.execute("SELECT max(id) FROM message UNION ALL SELECT max(body) FROM message UNION ALL "
                      "SELECT max(id) FROM body UNION ALL SELECT max(message) FROM site").fetchall()  # fmt: skip
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
