"""queue.db damaged with mail in it that waits in each way: deferred, on hold, told to be late, asked for by site. What
is on hold is never let go, nobody is told twice, and what a flush was to hand out comes after the file was rebuilt."""

import random
import shutil
import sqlite3
from pathlib import Path

import pytest
from msgspec import Struct

from postwarden.mail.queue import HOLD, Change, Cursor, Damaged, Entry, Listed, NewMessage
from postwarden.mail.status import Status
from postwarden.spool.ledger import Ledger
from postwarden.testing.spool import Spool, envelope

BLOCK = 4096
LATER = Status("4.4.1", "connect to mx[192.0.2.1]:25: Connection refused", "none")
DUE = 5e9
COUNT = 300
MOST = BLOCK // 100
"""Rows of one block, of which each may be another message's."""


class Life(Struct, frozen=True):
    """How a message waits."""

    hold: bool
    warned: bool
    expired: bool
    site: bool


def life(n: int) -> Life:
    return Life(n % 3 == 0, n % 4 == 1, n % 5 == 2, n % 2 == 0)


def names(entries: list[Entry] | tuple[Entry, ...] | list[Listed]) -> list[str]:
    return [entry.queue_id if isinstance(entry, Listed) else entry.envelope.queue_id for entry in entries]


@pytest.fixture(scope="module")
def waiting(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Life]]:
    root = tmp_path_factory.mktemp("waiting")
    spool = Spool(str(root))
    ledger = spool.ledger()
    ledger.recover()
    choice = random.Random(7)
    lives = {f"M{n:04}": life(n) for n in range(COUNT)}
    new = [NewMessage(envelope(name), Spool.HEAD, bytes(choice.choice((40, 700, 5_000))), due=1.0) for name in lives]
    ledger.import_(new, lambda: None)
    spool.barrier(ledger)
    for entry in ledger.due(1.0):
        how = lives[entry.envelope.queue_id]
        sites = ("a.example", "b.example") if how.site else ()
        spool.settle(ledger, Change(entry.key, (), ((0, LATER),), DUE, warned=how.warned, sites=sites))
    for entry in ledger.due(DUE):
        how = lives[entry.envelope.queue_id]
        due = HOLD if how.hold else DUE
        spool.settle(ledger, Change(entry.key, due=due, expired=how.expired, sites=("a.example",) if how.site else ()))
    spool.close()
    return root, lives


def damaged(root: Path, copy: Path, block: int) -> Spool:
    shutil.copytree(root, copy)
    with (copy / "postwarden" / "queue.db").open("r+b") as file:
        file.seek(block * BLOCK)
        file.write(bytes(BLOCK))
    return Spool(str(copy))


def asked(spool: Spool, ledger: Ledger) -> list[Entry]:
    """All that `due` gives, with the patience of a courier that looks again."""
    held: list[Entry] = []
    for _ in range(3):
        while page := ledger.due(1.0):
            held += page
        spool.barrier(ledger)
    return held


def blocks(root: Path, seed: int, count: int) -> list[int]:
    every = (root / "postwarden" / "queue.db").stat().st_size // BLOCK
    return [*range(12), *random.Random(seed).sample(range(12, every), count)]


def test_a_flush(waiting: tuple[Path, dict[str, Life]], tmp_path: Path) -> None:
    root, lives = waiting
    for block in blocks(root, 1, 60):
        spool = damaged(root, tmp_path / str(block), block)
        ledger = spool.ledger()
        ledger.recover()
        ledger.flush()
        found = asked(spool, ledger)
        free = {name for name, how in lives.items() if not how.hold}
        assert len(names(found)) == len(set(names(found)))
        assert set(names(found)) <= free, f"let go of what is on hold: block {block}"
        lost = free - set(names(found))
        assert len(lost) <= MOST, (block, len(lost))
        assert all(name in spool.texts for name in lost), (block, lost)
        for entry in found:
            name = entry.envelope.queue_id
            if f"{name}: queue.db: state" in spool.texts:
                continue  # said, and all there is to do
            how = lives[name]
            assert (entry.warned, entry.expired, entry.reasons) == (how.warned, how.expired, {0: LATER}), (block, name)
        spool.close()
        shutil.rmtree(tmp_path / str(block))


def test_what_is_on_hold(waiting: tuple[Path, dict[str, Life]], tmp_path: Path) -> None:
    """It is found by name, and a start after the damage does not let it go either."""
    root, lives = waiting
    held = {name for name, how in lives.items() if how.hold}
    for block in blocks(root, 2, 40):
        spool = damaged(root, tmp_path / str(block), block)
        for _ in range(2):
            ledger = spool.ledger()
            ledger.recover()
            found = ledger.find(sorted(held))  # finds the damage, if it is there
            spool.barrier(ledger)
            found += ledger.find(sorted(held))
            assert not set(names(ledger.due(DUE))) & held
        lost = held - set(names(found))
        assert len(lost) <= MOST
        assert all(name in spool.texts for name in lost), (block, lost)
        assert {entry.due for entry in found} == {HOLD}
        spool.close()
        shutil.rmtree(tmp_path / str(block))


def test_a_site(waiting: tuple[Path, dict[str, Life]], tmp_path: Path) -> None:
    """Sites that are lost are so until the next attempt: what is handed out never belongs to another."""
    root, lives = waiting
    of_site = {name for name, how in lives.items() if how.site and not how.hold}
    for block in blocks(root, 3, 40):
        spool = damaged(root, tmp_path / str(block), block)
        ledger = spool.ledger()
        ledger.recover()
        ledger.flush_site("b.example")
        ledger.flush_site("a.example")
        found = set(names(asked(spool, ledger)))
        assert found <= of_site
        assert len(of_site - found) <= BLOCK // 20, block
        spool.close()
        shutil.rmtree(tmp_path / str(block))


def test_a_listing(waiting: tuple[Path, dict[str, Life]], tmp_path: Path) -> None:
    """Each that lives is listed once, as it waits, after at most one repetition."""
    root, lives = waiting
    for block in blocks(root, 4, 40):
        spool = damaged(root, tmp_path / str(block), block)
        ledger = spool.ledger()
        ledger.recover()
        listed = listing(spool, ledger)
        lost = set(lives) - set(names(listed))
        assert len(names(listed)) == len(set(names(listed)))
        assert len(lost) <= MOST
        assert all(name in spool.texts or f"message {number(name)}" in spool.texts for name in lost), (block, lost)
        assert all((message.due == HOLD) == lives[message.queue_id].hold for message in listed)
        spool.close()
        shutil.rmtree(tmp_path / str(block))


def number(name: str) -> int:
    return int(name[1:]) + 1


def listing(spool: Spool, ledger: Ledger) -> list[Listed]:
    for _ in range(2):
        found: list[Listed] = []
        cursor: Cursor | None = None
        try:
            while True:
                page, cursor = ledger.page(cursor, 50)
                found += page
                if cursor is None:
                    return found
        except Damaged:
            spool.barrier(ledger)
    raise AssertionError("it was not rebuilt")


def test_sites_go_with_their_messages(waiting: tuple[Path, dict[str, Life]], tmp_path: Path) -> None:
    """Messages that are lost take their sites along: else a new one would get their row, and be asked for by them."""
    root, _ = waiting
    copy = tmp_path / "copy"
    shutil.copytree(root, copy)
    db = sqlite3.connect(copy / "postwarden" / "queue.db")
    db.execute("DELETE FROM message WHERE id > 100")
    db.execute("DELETE FROM body WHERE id > 100")
    db.commit()
    db.close()
    with (copy / "postwarden" / "queue.db").open("r+b") as file:
        file.write(bytes(100))
    spool = Spool(str(copy))
    ledger = spool.ledger()
    ledger.recover()
    ledger.import_([NewMessage(envelope(f"N{n}"), Spool.HEAD, b"", due=DUE) for n in range(10)], lambda: None)
    spool.barrier(ledger)
    ledger.flush_site("a.example")
    assert not [name for name in names(ledger.due(1.0)) if name.startswith("N")]
    spool.close()
