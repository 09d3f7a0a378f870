"""Stop the machine after each single operation on a file, in three ways, and see what the next start finds.

What is acknowledged (250) and not settled must be there, whole; what was durably settled must not be; nothing else may
appear but messages that were under way.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.crash.commits import record_commits
from tests.crash.marks import wrecks

from postwarden.mail.queue import Change, Entry, NewMessage
from postwarden.mail.status import Status
from postwarden.spool import appender as appender_module
from postwarden.testing.spool import RecordingFiles, Spool, Step, Wreck, envelope

SENT = Status("2.0.0", "delivered")
LATER = Status("4.4.1", "connection refused")


def body_of(queue_id: str) -> bytes:
    """Each message's body is made of its queue id, so that a mixed-up body is noticed."""
    size = {"B": 300_000, "M": 3_000}.get(queue_id[0], 40)
    return (queue_id.encode() + b".") * (size // (len(queue_id) + 1))


class Story:
    """What happens to the spool; each mark stands where the world has learned something."""

    def __init__(self, root: Path) -> None:
        self.files = RecordingFiles(str(root))
        self.spool = Spool(str(root), self.files)

    def tell(self) -> list[Step]:
        spool = self.spool
        ledger = spool.ledger()
        list(ledger.recover())
        record_commits(self.files, ledger._writer)
        appender = spool.appender()
        for queue_id in ("S1", "B1", "S2", "M1", "S3", "S4", "S5", "B2", "S6"):
            self._store(appender, queue_id)
        held = {}
        for stored in spool.stored:
            entry = ledger.take(stored, 1)
            assert entry is not None
            held[stored.envelope.queue_id] = entry
        self._settle(ledger, held.pop("S1"))
        self._settle(ledger, held.pop("B1"))
        self._put_away(ledger, held.pop("S2"))
        self._put_away(ledger, held.pop("B2"))
        self._report(ledger, held.pop("S3"))
        self._forward(ledger, held.pop("M1"))
        spool.clock.advance(1)
        second = spool.appender(2)
        self._store(second, "S7")
        second.close()
        appender.close()
        for _ in range(3):
            spool.clock.advance(61)
            spool.sweep(ledger)
        for entry in ledger.due(spool.clock.now() + 1e6):
            self._settle(ledger, entry)
        self._settle(ledger, held.pop("S4"))
        spool.sweep(ledger)
        ledger.close()
        return self.files.steps

    def _store(self, appender: appender_module.Appender, queue_id: str) -> None:
        self.files.mark("may", queue_id)
        assert self.spool.store(appender, body_of(queue_id), queue_id=queue_id) is None
        self.files.mark("must", queue_id)

    def _settle(self, ledger: object, entry: Entry, *spawned: NewMessage) -> None:
        """From the first mark on a delivery has happened; from the second on it may not happen again."""
        finals = tuple((n, SENT) for n in entry.open)
        self.files.mark("gone", entry.envelope.queue_id)
        for new in spawned:
            self.files.mark("may", new.envelope.queue_id)
        self.spool.settle(ledger, Change(entry.key, finals, spawned=spawned))  # type: ignore[arg-type]
        for new in spawned:
            self.files.mark("must", new.envelope.queue_id)
        self.files.mark("never", entry.envelope.queue_id)

    def _put_away(self, ledger: object, entry: Entry) -> None:
        deferred = tuple((n, LATER) for n in entry.open)
        self.spool.settle(ledger, Change(entry.key, (), deferred, 1e6))  # type: ignore[arg-type]

    def _report(self, ledger: object, entry: Entry) -> None:
        body = body_of("R1")
        self._settle(ledger, entry, NewMessage(envelope("R1", Spool.HEAD, body), Spool.HEAD, body))

    def _forward(self, ledger: object, entry: Entry) -> None:
        entry.body = None
        self._settle(ledger, entry, NewMessage(envelope("M2"), Spool.HEAD, body_of=entry.key))


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> list[Step]:
    return Story(tmp_path_factory.mktemp("story")).tell()


def survivors(root: Path) -> Iterator[tuple[str, bytes]]:
    spool = Spool(str(root))
    ledger = spool.ledger()
    for entry in [*ledger.recover(), *ledger.due(1e12)]:
        yield entry.envelope.queue_id, spool.body(ledger, entry)
    spool.close()


@pytest.mark.parametrize("way", Wreck.WAYS)
def test_every_prefix(steps: list[Step], tmp_path: Path, way: str) -> None:
    assert sum(step.name == "never" for step in steps) >= 8
    for root, must, may, place in wrecks(steps, tmp_path, way):
        found = list(survivors(root))
        names = [queue_id for queue_id, _ in found]
        assert len(set(names)) == len(names), place
        assert must <= set(names), f"lost {must - set(names)}: {place}"
        assert set(names) <= may, f"again {set(names) - may}: {place}"
        for queue_id, body in found:
            if queue_id in must:
                assert body == body_of("M1" if queue_id == "M2" else queue_id), place
