"""The disk refuses: nothing is lost, deliveries go on, and it ends by itself."""

import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.disks import fill, in_memory

from postwarden.mail.queue import Change, Entry
from postwarden.mail.status import Status
from postwarden.spool import ledgerwriter
from postwarden.spool.ledger import Ledger
from postwarden.testing.spool import FaultyFiles, Spool

SENT = Status("2.0.0", "delivered")
LATER = Status("4.4.1", "connection refused")


def taken(spool: Spool, ledger: Ledger) -> list[Entry]:
    entries = [ledger.take(stored) for stored in spool.stored]
    return [entry for entry in entries if entry is not None]


def finals(entry: Entry) -> Change:
    return Change(entry.key, tuple((n, SENT) for n in entry.open))


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledgerwriter, "_PAUSE", 0.001)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("text", ["database or disk is full", "disk I/O error", "attempt to write a readonly database"])
def test_settling_waits_for_the_disk(tmp_path: Path, text: str) -> None:
    spool = Spool(str(tmp_path))
    ledger = spool.ledger()
    list(ledger.recover())
    appender = spool.appender()
    for _ in range(3):
        spool.store(appender, b"x")
    entries = taken(spool, ledger)
    database = ledger._writer._db
    apply, refused = database.apply, []

    def refusing(operations: list[object]) -> list[str]:
        if len(refused) < 5:
            refused.append(1)
            raise sqlite3.OperationalError(text)
        return apply(operations)  # type: ignore[arg-type]

    database.apply = refusing  # type: ignore[method-assign, assignment]
    done: list[str] = []
    for entry in entries:
        ledger.settle(finals(entry), lambda _, entry=entry: done.append(entry.envelope.queue_id))  # type: ignore[misc]
    spool.pump.until(lambda: ledger.failing or done)
    assert not done or len(refused) == 5
    spool.pump.until(lambda: len(done) == 3)
    assert done == [stored.envelope.queue_id for stored in spool.stored]
    assert not ledger.failing
    assert spool.texts.count("queue.db can't be written") == 1
    assert "queue.db can be written again" in spool.texts
    spool.close()
    again = Spool(str(tmp_path))
    assert list(again.ledger().recover()) == []
    again.close()


def test_ending_while_the_disk_refuses(tmp_path: Path) -> None:
    """It ends, nothing is called durable, and the next start delivers again."""
    spool = Spool(str(tmp_path))
    ledger = spool.ledger()
    list(ledger.recover())
    appender = spool.appender()
    spool.store(appender, b"x")
    (entry,) = taken(spool, ledger)

    def refuse(operations: list[object]) -> list[str]:
        raise sqlite3.OperationalError("database or disk is full")

    ledger._writer._db.apply = refuse  # type: ignore[method-assign, assignment]
    done: list[object] = []
    ledger.settle(finals(entry), done.append)
    spool.pump.until(lambda: ledger.failing)
    spool.close()
    assert done == []
    again = Spool(str(tmp_path))
    assert [entry.envelope.queue_id for entry in again.ledger().recover()] == [spool.stored[0].envelope.queue_id]
    again.close()


def test_a_segment_that_can_not_be_removed(tmp_path: Path) -> None:
    """Its mail does not come back, and it goes when the disk allows it."""
    files = FaultyFiles()
    spool = Spool(str(tmp_path), files)
    ledger = spool.ledger()
    list(ledger.recover())
    appender = spool.appender()
    spool.store(appender, b"x")
    (entry,) = taken(spool, ledger)
    spool.settle(ledger, finals(entry))
    appender.close()
    files.fail("unlink", 30)
    spool.sweep(ledger)
    assert "can't be removed" in spool.texts
    assert len(list(tmp_path.glob("postwarden/incoming/1/*.segment"))) == 1
    assert ledger.due(1e12) == ()
    other = Spool(str(tmp_path))
    assert list(other.ledger().recover()) == []
    other.close()
    files.heal()
    spool.sweep(ledger)
    assert list(tmp_path.glob("postwarden/incoming/1/*.segment")) == []
    spool.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with in_memory(tmp_path / "disk", "size=48m,nr_inodes=64") as disk:
        yield disk


@pytest.mark.root
@pytest.mark.usefixtures("impatient")
def test_a_full_disk(small_disk: Path) -> None:
    """Receiving says 452, deliveries are settled and put away, and with room again all goes on."""
    spool = Spool(str(small_disk))
    ledger = spool.ledger(grown=4 << 20)
    list(ledger.recover())
    appender = spool.appender()
    for _ in range(400):
        assert spool.store(appender, b"x" * 2000) is None
    entries = taken(spool, ledger)
    ballast = fill(small_disk)
    reply = spool.store(appender, b"x" * 10_000)
    assert reply is not None and reply.code == 452
    reply = spool.store(appender, b"x" * 1_000_000)
    assert reply is not None and reply.code == 452
    spool.clock.advance(1)
    assert appender.room(0) is not None
    for n, entry in enumerate(entries):
        change = finals(entry) if n % 2 else Change(entry.key, (), ((0, LATER),), 10.0)
        spool.settle(ledger, change)
    assert len(ledger.due(10.0)) == 200
    ballast.unlink()
    spool.clock.advance(1)
    assert spool.store(appender, b"after") is None
    spool.close()
    again = Spool(str(small_disk))
    assert len(list(again.ledger().recover())) == 201
    again.close()


@pytest.mark.root
def test_no_inodes(small_disk: Path) -> None:
    spool = Spool(str(small_disk))
    appender = spool.appender()
    assert spool.store(appender, b"before") is None
    names = []
    for n in range(100):
        try:
            (small_disk / str(n)).touch()
        except OSError:
            break
        names.append(small_disk / str(n))
    assert spool.store(appender, b"in the segment that is open") is None
    reply = spool.store(appender, b"x" * 300_000)
    assert reply is not None and reply.code == 452
    spool.clock.advance(61)
    spool.pump.until(lambda: spool.sealed)
    reply = spool.store(appender, b"needs a new segment")
    assert reply is not None and reply.code == 452
    for name in names:
        name.unlink()
    assert spool.store(appender, b"after") is None
    spool.close()


@pytest.mark.root
def test_read_only(small_disk: Path) -> None:
    spool = Spool(str(small_disk))
    appender = spool.appender()
    assert spool.store(appender, b"before") is None
    spool.clock.advance(61)
    spool.pump.until(lambda: spool.sealed)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    for size in (10, 300_000):
        reply = spool.store(appender, b"x" * size)
        assert reply is not None and reply.code == 451
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    assert spool.store(appender, b"after") is None
    spool.close()
