"""A queue directory copied to another machine: whatever was on the disk when the first courier was killed is all that
the second needs. No path, inode, lock or process id of the first machine counts."""

import os
import shutil
from pathlib import Path

import pytest

from postwarden.mail.queue import HOLD, Change, Damaged, Entry, NewMessage, once
from postwarden.mail.status import Status
from postwarden.spool.ledger import Ledger
from postwarden.spool.offline import OfflineQueue
from postwarden.testing.spool import Spool, envelope

SENT = Status("2.0.0", "delivered")
LATER = Status("4.4.1", "connection refused")
SITE = "site.example"


def body_of(queue_id: str) -> bytes:
    size = 300_000 if queue_id[0] == "B" else 400
    return (queue_id.encode() + b".") * (size // (len(queue_id) + 1))


class First:
    """The machine that dies: its processes are never told to end."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.spool = Spool(str(root))
        self.ledger = self.spool.ledger()
        self.ledger.recover()
        self.appender = self.spool.appender()
        for name in ("D1", "H1", "B1", "B2", "X1", "W1"):
            assert self.spool.store(self.appender, body_of(name), queue_id=name) is None
        entries = [self.ledger.take(stored) for stored in self.spool.stored]
        first, held, big, _, done, late = [entry for entry in entries if entry is not None]
        self.settle(first, Change(first.key, (), ((0, LATER),), 50.0, sites=(SITE,)))
        self.settle(held, Change(held.key, due=HOLD))
        self.settle(big, Change(big.key, (), ((0, LATER),), 60.0))
        self.settle(done, Change(done.key, ((0, SENT),)))
        notice = NewMessage(envelope("N1"), Spool.HEAD, body_of("N1"))
        self.settle(late, Change(late.key, (), ((0, LATER),), 70.0, (notice,), warned=True))

    def settle(self, entry: Entry, change: Change) -> None:
        self.spool.settle(self.ledger, change)


LIVES = {"D1", "H1", "B1", "B2", "W1", "N1"}


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    first = First(tmp_path / "first" / "spool")
    copy = tmp_path / "second" / "var" / "mail-queue"
    shutil.copytree(first.root, copy, copy_function=shutil.copyfile)  # no times, no modes but those of the copy
    entry = first.ledger.find(["D1"])[0]
    first.settle(entry, Change(entry.key, ((0, SENT),)))  # the first one goes on
    first.spool.close()
    shutil.rmtree(first.root)
    return copy


def content(ledger: Ledger, entry: Entry) -> bytes:
    found = ledger.content(entry.key)
    if found.body is not None:
        return found.body
    with os.fdopen(found.fd, "rb") as file:
        return file.read()


def test_all_of_it_is_there(copied: Path) -> None:
    spool = Spool(str(copied))
    ledger = spool.ledger()
    ledger.recover()
    page, _ = ledger.page(None)
    page += ledger.page((1, 0, 0, 0))[0]
    assert {message.queue_id for message in once(page)} == LIVES
    ledger.flush_site(SITE)
    found = [*ledger.due(1.0), *ledger.due(100.0)]
    assert {entry.envelope.queue_id for entry in found} == LIVES - {"H1"}
    assert {entry.envelope.queue_id for entry in found if entry.warned} == {"W1"}
    found += ledger.find(["H1"])
    for entry in found:
        assert content(ledger, entry) == body_of(entry.envelope.queue_id)
        spool.settle(ledger, Change(entry.key, ((0, SENT),)))
    spool.clock.advance(61)
    spool.sweep(ledger)
    spool.close()
    assert not list(copied.glob("postwarden/incoming/*/*"))


def test_new_mail_beside_the_old(copied: Path) -> None:
    """The receivers of the second machine have the same numbers and directories."""
    spool = Spool(str(copied))
    ledger = spool.ledger()
    ledger.recover()
    appender = spool.appender()
    for n in range(3):
        assert spool.store(appender, body_of(f"S{n}"), queue_id=f"S{n}") is None
    taken = [ledger.take(stored, 1) for stored in spool.stored]
    found = [*ledger.due(100.0), *(entry for entry in taken if entry is not None)]
    names = [entry.envelope.queue_id for entry in found]
    assert sorted(names) == sorted([*LIVES - {"H1"}, "S0", "S1", "S2"])
    assert all(content(ledger, entry) == body_of(entry.envelope.queue_id) for entry in found)
    spool.close()


def test_tools_read_it_before_it_runs(copied: Path) -> None:
    with OfflineQueue(str(copied)) as queue:
        assert {message.queue_id for message in queue.listing()} == LIVES


def test_without_the_body_files(copied: Path) -> None:
    """Half a copy: what lacks is said of those messages alone, and they are not called done."""
    for path in copied.glob("postwarden/incoming/*/*.body"):
        path.unlink()
    spool = Spool(str(copied))
    ledger = spool.ledger()
    ledger.recover()
    found = ledger.due(100.0)
    assert {entry.envelope.queue_id for entry in found} == LIVES - {"H1"}
    for entry in found:
        if entry.envelope.queue_id[0] == "B":
            with pytest.raises((OSError, Damaged)):
                ledger.content(entry.key)
        else:
            assert content(ledger, entry) == body_of(entry.envelope.queue_id)
    spool.close()
    with OfflineQueue(str(copied)) as queue:
        assert {message.queue_id for message in queue.listing()} == LIVES
