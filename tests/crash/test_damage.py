"""Blocks overwritten with zeros: lost is what lay on them, it is named, and the rest lives."""

import random
import shutil
from pathlib import Path

import pytest

from postwarden.mail.queue import Change, Damaged, Entry
from postwarden.mail.status import Status
from postwarden.spool.ledger import Ledger
from postwarden.testing.spool import Spool

BLOCK = 4096
SENT = Status("2.0.0", "delivered")
LATER = Status("4.4.1", "connection refused")


def sizes() -> list[int]:
    choice = random.Random(5)
    return [choice.choice((40, 700, 2_000, 5_000, 5_000, 20_000)) for _ in range(250)]


def body(n: int, size: int) -> bytes:
    return b"%06d." % n * (size // 7)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, bytes], dict[str, tuple[int, int]]]:
    """A queue with all mail in one segment; what is in it, and where its records lie."""
    root = tmp_path_factory.mktemp("segment")
    spool = Spool(str(root))
    appender = spool.appender()
    bodies = {}
    for n, size in enumerate(sizes()):
        spool.store(appender, body(n, size))
        bodies[spool.stored[-1].envelope.queue_id] = body(n, size)
    places = {s.envelope.queue_id: (s.offset, s.offset + s.length) for s in spool.stored}
    spool.close()
    return root, bodies, places


@pytest.fixture(scope="module")
def deferred(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, bytes], set[str]]:
    """A queue with all mail in queue.db; what is in it, and what was there before."""
    root = tmp_path_factory.mktemp("queue")
    spool = Spool(str(root))
    ledger = spool.ledger()
    list(ledger.recover())
    appender = spool.appender()
    bodies, gone = {}, set()
    for n, size in enumerate(sizes() * 2):
        spool.store(appender, body(n, size))
        entry = ledger.take(spool.stored[-1])
        assert entry is not None
        spool.settle(ledger, Change(entry.key, (), ((0, LATER),), 10.0))
        bodies[entry.envelope.queue_id] = body(n, size)
    for entry in ledger.due(10.0, 250):
        spool.settle(ledger, Change(entry.key, ((0, SENT),)))
        gone.add(entry.envelope.queue_id)
        del bodies[entry.envelope.queue_id]
    appender.close()
    spool.sweep(ledger)
    spool.close()
    return root, bodies, gone


def zero(path: Path, block: int) -> None:
    with path.open("r+b") as file:
        file.seek(block * BLOCK)
        file.write(bytes(BLOCK))


def read(spool: Spool, ledger: Ledger, entry: Entry) -> bytes | None:
    try:
        return spool.body(ledger, entry)
    except Damaged:
        return None


def test_a_block_of_a_segment(
    written: tuple[Path, dict[str, bytes], dict[str, tuple[int, int]]], tmp_path: Path
) -> None:
    root, bodies, places = written
    (segment,) = root.glob("postwarden/incoming/*/*.segment")
    blocks = segment.stat().st_size // BLOCK + 1
    for turn, block in enumerate(random.Random(1).sample(range(blocks), 100)):
        copy = tmp_path / str(turn)
        shutil.copytree(root, copy)
        zero(copy / segment.relative_to(root), block)
        hit = {q for q, (start, stop) in places.items() if start < (block + 1) * BLOCK and stop > block * BLOCK}
        spool = Spool(str(copy))
        ledger = spool.ledger()
        found = {entry.envelope.queue_id: read(spool, ledger, entry) for entry in ledger.recover()}
        assert set(found) <= set(bodies)
        lost = {queue_id for queue_id in bodies if found.get(queue_id) != bodies[queue_id]}
        assert lost == {q for q in hit if found.get(q) != bodies[q]}
        assert set(bodies) - lost >= set(bodies) - hit
        assert all(data is None or data == bodies[queue_id] for queue_id, data in found.items())
        if set(bodies) - set(found):
            assert str(segment.name) in spool.texts
        spool.close()
        shutil.rmtree(copy)


def test_a_block_of_queue_db(deferred: tuple[Path, dict[str, bytes], set[str]], tmp_path: Path) -> None:
    root, bodies, gone = deferred
    database = root / "postwarden" / "queue.db"
    blocks = database.stat().st_size // BLOCK
    order = [0, 1, 2, 3, 4, 5, 6, 7, *random.Random(2).sample(range(8, blocks), 92)]
    again = 0
    for turn, block in enumerate(order):
        copy = tmp_path / str(turn)
        shutil.copytree(root, copy)
        zero(copy / database.relative_to(root), block)
        spool = Spool(str(copy))
        found, named = collect(spool)
        lost = {queue_id for queue_id in bodies if found.get(queue_id) != bodies[queue_id]}
        assert len(lost) <= BLOCK // 150, (block, len(lost))  # so many rows of this test share a page
        assert all(queue_id in named for queue_id in lost), (block, lost)
        assert all(data is None or data == bodies.get(q, data) for q, data in found.items())
        again += len(set(found) & gone)
        shutil.rmtree(copy)
    assert again == 0


def collect(spool: Spool) -> tuple[dict[str, bytes | None], str]:
    """All that a courier gets; what was said."""
    ledger = spool.ledger()
    held = list(ledger.recover())
    for _ in range(3):  # a reader that finds damage has the file rebuilt, then asks again
        while page := ledger.due(1e6):
            held += page
        spool.barrier(ledger)
    found = {entry.envelope.queue_id: read(spool, ledger, entry) for entry in held}
    # A content that can't be read is said by whoever asked for it.
    said = spool.texts + "".join(queue_id for queue_id, data in found.items() if data is None)
    spool.close()
    return found, said


def test_all_of_queue_db(deferred: tuple[Path, dict[str, bytes], set[str]], tmp_path: Path) -> None:
    """Nothing to rebuild from: it starts, and says so."""
    root, _, _ = deferred
    copy = tmp_path / "copy"
    shutil.copytree(root, copy)
    (copy / "postwarden" / "queue.db").write_bytes(bytes(BLOCK * 10))
    spool = Spool(str(copy))
    found, said = collect(spool)
    assert found == {}
    assert "rebuilt with 0 messages" in said
    assert (copy / "postwarden" / "queue.db.damaged").stat().st_size == BLOCK * 10


def test_a_block_of_the_log(tmp_path: Path) -> None:
    """The courier was killed, its newest commits are in the log alone, and one block of that is lost."""
    root = tmp_path / "live"
    spool = Spool(str(root))
    ledger = spool.ledger()
    list(ledger.recover())
    appender = spool.appender()
    bodies = {}
    for n, size in enumerate(sizes()[:100]):
        spool.store(appender, body(n, size))
        entry = ledger.take(spool.stored[-1])
        assert entry is not None
        spool.settle(ledger, Change(entry.key, (), ((0, LATER),), 10.0))
        bodies[entry.envelope.queue_id] = body(n, size)
    appender.close()
    spool.sweep(ledger)
    killed = tmp_path / "killed"
    shutil.copytree(root, killed)
    spool.close()
    log = killed / "postwarden" / "queue.db-wal"
    damaged = 0
    for turn, block in enumerate(random.Random(3).sample(range(1, log.stat().st_size // BLOCK), 20)):
        copy = tmp_path / str(turn)
        shutil.copytree(killed, copy)
        zero(copy / log.relative_to(killed), block)
        again = Spool(str(copy))
        found, named = collect(again)
        lost = {queue_id for queue_id in bodies if found.get(queue_id) != bodies[queue_id]}
        assert len(lost) <= 3 * BLOCK // 150, (block, len(lost))
        assert all(queue_id in named for queue_id in lost), (block, lost)
        damaged += "pages of its log are damaged" in named
    assert damaged > 10
