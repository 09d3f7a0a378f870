"""A message with a thousand recipients and a machine that stops after the first five hundred: those that are done are
not tried again, those that are open are, and a report that was committed with its outcomes is there."""

import shutil
from pathlib import Path

import pytest

from postwarden.mail.queue import HOLD, Change, Entry, NewMessage
from postwarden.mail.status import Status
from postwarden.spool.ledger import Ledger
from postwarden.testing.spool import Spool, envelope

SENT = Status("2.0.0", "delivered")
LATER = Status("4.4.1", "connection refused")
NEVER = Status("5.1.1", "no such user")
ALL = 1000
STEP = 50


class Machine:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.spool = Spool(str(root))
        self.ledger = self.spool.ledger()
        self.ledger.recover()
        appender = self.spool.appender()
        self.spool.store(appender, b"body\r\n", recipients=ALL, queue_id="Q1")
        entry = self.ledger.take(self.spool.stored[0])
        assert entry is not None
        self.entry = entry

    def settle(self, change: Change) -> None:
        self.spool.settle(self.ledger, change)

    def dies(self, to: Path) -> tuple[Spool, Ledger]:
        """What the next life begins with."""
        shutil.copytree(self.root, to)
        spool = Spool(str(to))
        ledger = spool.ledger()
        ledger.recover()
        return spool, ledger


def half(entry: Entry, machine: Machine) -> None:
    """Every third is refused, with a report for each group, the others are sent."""
    for start in range(0, ALL // 2, STEP):
        finals = tuple((n, NEVER if n % 3 == 0 else SENT) for n in range(start, start + STEP))
        report = NewMessage(envelope(f"R{start}"), Spool.HEAD, b"report\r\n")
        machine.settle(Change(entry.key, finals, spawned=(report,)))


@pytest.mark.parametrize("away", [False, True])
def test_half_of_them(tmp_path: Path, away: bool) -> None:
    """In its segment, and in queue.db."""
    machine = Machine(tmp_path / "first")
    entry = machine.entry
    if away:
        machine.settle(Change(entry.key, (), tuple((n, LATER) for n in range(ALL)), 50.0))
        (entry,) = machine.ledger.due(50.0)
    half(entry, machine)
    machine.ledger.settle(Change(entry.key, ((ALL // 2, SENT),)), lambda _: None)  # perhaps durable, perhaps not
    spool, ledger = machine.dies(tmp_path / "second")
    found = {e.envelope.queue_id: e for e in ledger.due(100.0)}
    assert set(found) == {"Q1", *(f"R{start}" for start in range(0, ALL // 2, STEP))}
    again = found["Q1"]
    assert again.open[-ALL // 2 + 1 :] == tuple(range(ALL // 2 + 1, ALL))
    assert len(again.open) in (ALL // 2 - 1, ALL // 2)
    assert spool.body(ledger, again) == b"body\r\n"
    spool.settle(ledger, Change(again.key, tuple((n, SENT) for n in again.open)))
    assert ledger.find(["Q1"]) == []
    spool.close()
    machine.spool.close()


def test_the_other_half_on_hold(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "first")
    half(machine.entry, machine)
    machine.settle(Change(machine.entry.key, due=HOLD))
    spool, ledger = machine.dies(tmp_path / "second")
    assert "Q1" not in [entry.envelope.queue_id for entry in ledger.due(1e12)]
    (entry,) = ledger.find(["Q1"])
    assert entry.open == tuple(range(ALL // 2, ALL))
    spool.close()
    machine.spool.close()
