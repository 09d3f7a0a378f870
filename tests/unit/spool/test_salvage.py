"""Pages, log and rebuilding: what is read without SQLite is what SQLite reads."""

import os
import random
import shutil
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest

from postwarden.mail.queue import Change
from postwarden.mail.status import Status
from postwarden.spool import salvage
from postwarden.spool.layout import databases
from postwarden.spool.logfile import read_log
from postwarden.spool.pages import Pages
from postwarden.spool.queuedb import connect
from postwarden.spool.salvage import ROOTS, finish, replace
from postwarden.spool.schema import COLUMNS, PAGE_SIZE, TABLES
from postwarden.testing.spool import Spool

LATER = Status("4.4.1", "connect to mx[192.0.2.1]:25: Connection refused", "none")


def fill(db: sqlite3.Connection, count: int, seed: int = 1) -> None:
    choice = random.Random(seed)
    for n in range(1, count + 1):
        size = choice.choice((0, 10, 1000, 4046, 4047, 4048, 5000, 8200, 30_000))
        db.execute("BEGIN")
        db.execute("INSERT INTO body VALUES(?, 'B', ?, ?, ?)", (n, size, None, choice.randbytes(size)))
        values = (n, "M", n / 7, n, 3, -size, f"Q{n}", choice.randbytes(50), choice.randbytes(200), b"", n % 4)
        db.execute("INSERT INTO message VALUES(?,?,?,?,?,?,?,?,?,?,?)", values)
        db.execute("INSERT INTO site VALUES(?, 'D', ?, ?)", (n, f"site{n % 9}.example", n))
        db.execute("INSERT INTO settled VALUES(?, 'S', ?, ?)", (n, n << 40, choice.randbytes(30)))
        if n % 3 == 0:
            db.execute("DELETE FROM message WHERE id = ?", (n - 1,))
            db.execute("DELETE FROM body WHERE id = ?", (n - 1,))
            db.execute("DELETE FROM site WHERE id = ?", (n - 1,))
        db.execute("COMMIT")


def dump(db: sqlite3.Connection) -> dict[str, list[Any]]:
    return {name: db.execute(f"SELECT * FROM {name} ORDER BY id").fetchall() for name in COLUMNS}


def read_pages(path: str) -> dict[str, list[Any]]:
    pages = Pages(path)
    found = {}
    for name, root in ROOTS.items():
        rows = sorted(row for number in pages.tree(root) for row in pages.rows(number))
        found[name] = [(row.rowid, *row.values[1:]) for row in rows]
    pages.close()
    return found


@pytest.fixture
def database(tmp_path: Path) -> tuple[str, dict[str, list[Any]]]:
    """As a killed courier leaves it: newest commits in the log only."""
    path = str(tmp_path / "live.db")
    (tmp_path / "spool").mkdir()
    db = connect(path)
    db.executescript(TABLES)
    db.execute("PRAGMA wal_autocheckpoint=100")
    fill(db, 100)
    content = dump(db)
    copy = str(tmp_path / "spool" / "queue.db")
    shutil.copy(path, copy)
    shutil.copy(f"{path}-wal", f"{copy}-wal")
    db.close()
    return copy, content


def test_pages_and_log_read_what_sqlite_reads(database: tuple[str, dict[str, list[Any]]]) -> None:
    path, content = database
    assert read_log(f"{path}-wal").pages
    assert read_log(f"{path}-wal").lost == 0
    assert read_pages(path) == {name: content[name] for name in ROOTS}


def test_roots_are_where_salvage_looks(tmp_path: Path) -> None:
    db = connect(str(tmp_path / "x.db"))
    db.executescript(TABLES)
    roots = dict(db.execute("SELECT name, rootpage FROM sqlite_master"))
    assert {name: roots[name] for name in ROOTS} == ROOTS
    assert roots["message_body"] == salvage._NAMES
    db.close()


def test_rebuilt_is_the_same(database: tuple[str, dict[str, list[Any]]]) -> None:
    path, content = database
    spool = os.path.dirname(path)
    for turn in (1, 2):
        assert "rebuilt with" in replace(spool)[-1]
        assert databases(spool) == [os.path.join(spool, f"queue.{turn}.db")]
        assert sorted(os.listdir(spool)) == sorted([f"queue.{turn}.db", "queue.db.damaged"])
    db = connect(databases(spool)[0])
    assert dump(db) == content
    assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    db.close()


def test_who_has_the_old_file_open_harms_nothing(database: tuple[str, dict[str, list[Any]]]) -> None:
    """SQLite removes the log when the last connection is closed: by name."""
    path, _ = database
    spool = os.path.dirname(path)
    late = connect(path)
    late.execute("SELECT count(*) FROM message").fetchall()
    replace(spool)
    db = connect(databases(spool)[0])
    db.execute("INSERT INTO settled VALUES(1000, 'S', 1, x'00')")
    late.close()
    killed = os.path.join(spool, "killed.db")
    shutil.copy(databases(spool)[0], killed)
    shutil.copy(f"{databases(spool)[0]}-wal", f"{killed}-wal")
    db.close()
    db = connect(killed)
    assert db.execute("SELECT segment FROM settled WHERE id = 1000").fetchall() == [(1,)]
    db.close()


def test_rebuilding_killed_half_way_is_finished(database: tuple[str, dict[str, list[Any]]]) -> None:
    path, content = database
    spool = os.path.dirname(path)
    old, log = Path(path).read_bytes(), Path(f"{path}-wal").read_bytes()
    replace(spool)
    # As it was just after the new file got its name.
    Path(path).write_bytes(old)
    Path(f"{path}-wal").write_bytes(log)
    finish(spool)
    finish(spool)
    assert databases(spool) == [os.path.join(spool, "queue.1.db")]
    assert not os.path.exists(f"{path}-wal")
    db = connect(databases(spool)[0])
    assert dump(db) == content
    db.close()


def test_sound_log_cut_anywhere(database: tuple[str, dict[str, list[Any]]], tmp_path: Path) -> None:
    """After a power failure the tail is missing or torn: no damage, and SQLite agrees on what counts."""
    path, _ = database
    log = Path(f"{path}-wal").read_bytes()
    for cut in random.Random(3).sample(range(33, len(log)), 12):
        for torn in (log[:cut], log[:cut] + bytes(len(log) - cut)):
            copy = tmp_path / "cut.db"
            shutil.copy(path, copy)
            Path(f"{copy}-wal").write_bytes(torn)
            found = read_log(f"{copy}-wal")
            assert found.lost == 0
            ours = read_pages(str(copy))
            db = connect(str(copy))
            assert {name: rows for name, rows in dump(db).items() if name in ROOTS} == ours
            db.close()


def test_a_damaged_block_of_the_log(database: tuple[str, dict[str, list[Any]]], tmp_path: Path) -> None:
    """SQLite would drop all commits behind it; rebuilt, only rows of the damaged pages lack."""
    path, content = database
    log = Path(f"{path}-wal").read_bytes()
    whole = {row[0] for row in content["message"]}
    last = [row[0] for row in content["message"]][-10:]
    hits = 0
    for block in random.Random(4).sample(range(1, len(log) // PAGE_SIZE // 2), 15):
        copy = tmp_path / str(block) / "queue.db"
        copy.parent.mkdir()
        shutil.copy(path, copy)
        at = block * PAGE_SIZE
        Path(f"{copy}-wal").write_bytes(log[:at] + bytes(PAGE_SIZE) + log[at + PAGE_SIZE :])
        if read_log(f"{copy}-wal").lost == 0:
            continue  # it lies in frames of a log before this one
        hits += 1
        replace(str(copy.parent))
        db = connect(databases(str(copy.parent))[0])
        found = {row[0] for row in dump(db)["message"]}
        assert found <= whole
        assert set(last) <= found
        assert len(whole - found) <= 16
        db.close()
    assert hits >= 5


def test_reading_a_full_log_is_quick(database: tuple[str, dict[str, list[Any]]]) -> None:
    """It is read at each start after a kill: 2048 frames, 8 MB."""
    path, _ = database
    start = time.process_time()
    read_log(f"{path}-wal")
    frames = os.path.getsize(f"{path}-wal") // PAGE_SIZE
    assert (time.process_time() - start) / frames < 0.001


def test_garbage_never_raises(tmp_path: Path) -> None:
    choice = random.Random(9)
    path = str(tmp_path / "g.db")
    for turn in range(60):
        data = bytearray(choice.randbytes(PAGE_SIZE * 8))
        for number in range(8):
            data[number * PAGE_SIZE] = choice.choice((2, 5, 10, 13))
        Path(path).write_bytes(data)
        Path(f"{path}-wal").write_bytes(choice.randbytes(turn * 300))
        pages = Pages(path)
        pages.free()
        for number in range(12):
            list(pages.rows(number))
            list(pages.keys(number))
            pages.tree(number)
        pages.close()


def test_new_rows_never_take_the_place_of_old_ones(tmp_path: Path) -> None:
    """The highest row can't be read at the start: what the rebuilt file still has must not be written over."""
    spool = Spool(str(tmp_path))
    ledger = spool.ledger()
    list(ledger.recover())
    appender = spool.appender()
    for _ in range(60):
        spool.store(appender, b"body\r\n")
        entry = ledger.take(spool.stored[-1])
        assert entry is not None
        spool.settle(ledger, Change(entry.key, deferred=((0, LATER),), due=1.0))
    appender.close()
    spool.sweep(ledger)
    ledger.close()
    path = tmp_path / "postwarden" / "queue.db"
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    page = unreadable_last_page(path, tmp_path / "copy")
    with path.open("r+b") as file:
        file.seek(page * PAGE_SIZE)
        file.write(bytes(PAGE_SIZE))
    ledger = spool.ledger()
    survivors = {entry.envelope.queue_id for entry in ledger.recover()}
    spool.barrier(ledger)
    spool.pump.rest()
    survivors |= {entry.envelope.queue_id for entry in ledger.due(spool.clock.now())}
    assert 10 < len(survivors) < 60
    appender = spool.appender()
    for n in range(20):
        spool.store(appender, b"new\r\n", queue_id=f"NEW{n}")
        entry = ledger.take(spool.stored[-1])
        assert entry is not None
        survivors.add(entry.envelope.queue_id)
        spool.settle(ledger, Change(entry.key, deferred=((0, LATER),), due=1.0))
    ledger.close()
    found = {entry.envelope.queue_id for entry in spool.ledger().recover()}
    assert survivors <= found
    spool.close()


def unreadable_last_page(path: Path, copy: Path) -> int:
    """A page without which SQLite can't tell the highest row, though it opens the file."""
    data = path.read_bytes()
    for page in range(len(data) // PAGE_SIZE - 1, 7, -1):
        at = page * PAGE_SIZE
        copy.write_bytes(data[:at] + bytes(PAGE_SIZE) + data[at + PAGE_SIZE :])
        db = sqlite3.connect(copy)
        try:
            db.execute("SELECT max(id) FROM message").fetchall()
        except sqlite3.DatabaseError:
            return page
        finally:
            db.close()
    raise AssertionError("no such page")
