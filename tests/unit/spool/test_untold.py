"""Of what a sender is still to hear: kept with the message, wherever it lives, until he has heard."""

from pathlib import Path

import pytest

from postwarden.mail.queue import Change, Entry
from postwarden.mail.status import Part, Status
from postwarden.spool.ledger import Ledger
from postwarden.testing.spool import Spool

SENT = Status("2.0.0", "alias expanded", "local", report="expanded", parts=(Part("b@x", "a@x", "2.0.0", "delivered"),))
LATER = Status("4.4.1", "connect to mx[192.0.2.1]:25: Connection refused")


def again(spool: Spool) -> tuple[Ledger, Entry]:
    """As after a crash, whatever the due time."""
    ledger = spool.ledger()
    found = [*ledger.recover(), *ledger.due(1e14)]
    assert len(found) == 1
    return ledger, found[0]


@pytest.mark.parametrize("moved", [False, True])
def test_it_outlives_a_crash_until_it_is_told(tmp_path: Path, moved: bool) -> None:
    spool = Spool(str(tmp_path))
    spool.store(spool.appender(), b"body", recipients=3)
    ledger, entry = again(spool)
    if moved:
        spool.settle(ledger, Change(entry.key, deferred=((0, LATER), (1, LATER), (2, LATER)), due=1.0))
        ledger, entry = again(spool)
    spool.settle(ledger, Change(entry.key, ((0, SENT),), untold=((0, SENT),)))
    assert (entry.untold, entry.told) == ({0: SENT}, False)
    ledger, entry = again(spool)
    assert (entry.open, entry.untold, entry.told) == ((1, 2), {0: SENT}, False)
    spool.settle(ledger, Change(entry.key, ((1, SENT),), untold=((1, SENT),)))
    ledger, entry = again(spool)
    assert (entry.open, entry.untold) == ((2,), {0: SENT, 1: SENT})
    spool.settle(ledger, Change(entry.key, deferred=((2, LATER),), due=1.0, told=True))
    _, entry = again(spool)
    assert (entry.open, entry.untold, entry.told) == ((2,), {}, True)
    spool.close()


def test_being_told_alone_is_kept(tmp_path: Path) -> None:
    spool = Spool(str(tmp_path))
    spool.store(spool.appender(), b"body")
    ledger, entry = again(spool)
    spool.settle(ledger, Change(entry.key, told=True))
    _, entry = again(spool)
    assert entry.told
    spool.close()
