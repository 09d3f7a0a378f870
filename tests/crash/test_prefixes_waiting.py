"""Stop the machine after each operation on a file while mail is put on hold, let go, told to be late, expired, found by
name, imported: what waits waits as the last commit said, and a notice is stored if and only if its message says so."""

from pathlib import Path

import pytest
from tests.crash.commits import record_commits
from tests.crash.marks import wrecks

from postwarden.mail.queue import HOLD, Change, Entry, Listed, NewMessage, once
from postwarden.mail.status import Status
from postwarden.spool.ledger import Ledger
from postwarden.testing.spool import RecordingFiles, Spool, Step, Wreck, envelope

SENT = Status("2.0.0", "delivered")
LATER = Status("4.4.1", "connection refused")
DUE = 1.8e9
SITE = "site.example"


def body_of(queue_id: str) -> bytes:
    size = 300_000 if queue_id[0] == "B" else 40
    return (queue_id.encode() + b".") * (size // (len(queue_id) + 1))


class Story:
    """What is seen of a message: `ID`, `ID hold`, `ID warned`, `ID expired`, `ID site`."""

    def __init__(self, root: Path) -> None:
        self.files = RecordingFiles(str(root))
        self.spool = Spool(str(root), self.files)
        self.ledger = self.spool.ledger()

    def tell(self) -> list[Step]:
        spool, ledger = self.spool, self.ledger
        list(ledger.recover())
        record_commits(self.files, ledger._writer)
        appender = spool.appender()
        for queue_id in ("S1", "S2", "B1", "S3", "S4", "S5", "S6"):
            self._begin(queue_id)
            assert spool.store(appender, body_of(queue_id), queue_id=queue_id) is None
            self._known(queue_id)
        first, second, big = [self._take(n) for n in range(3)]
        for stored in spool.stored[3:]:
            ledger.set_aside(stored)
        self._change(first, Change(first.key, due=HOLD), "S1 hold")
        self._change(second, self._late(second), "S2 warned", "S2 site")
        self._change(big, Change(big.key, due=HOLD), "B1 hold")
        (entry,) = ledger.find(["S5"])
        self._change(entry, Change(entry.key, due=HOLD), "S5 hold")
        (entry,) = ledger.find(["S6"])
        self._settle(entry)
        self._import("I1", "B2", "H1")
        self._let_go("S1")
        (entry,) = ledger.find(["S2"])
        self._change(entry, Change(entry.key, due=DUE, expired=True, sites=(SITE,)), "S2 expired")
        appender.close()
        for _ in range(2):
            spool.clock.advance(61)
            spool.sweep(ledger)
        (third, fourth) = ledger.find(["S3", "S4"])
        self._settle(third)
        self._notice(fourth)
        for queue_id in ("B1", "B2", "S2"):
            for entry in ledger.find([queue_id]):
                self._settle(entry)
        self.files.mark("never", "S2 site")
        spool.sweep(ledger)
        ledger.close()
        return self.files.steps

    def _begin(self, *what: str) -> None:
        for name in what:
            self.files.mark("may", name)

    def _known(self, *what: str) -> None:
        for name in what:
            self.files.mark("must", name)

    def _take(self, number: int) -> Entry:
        entry = self.ledger.take(self.spool.stored[number], 1)
        assert entry is not None
        return entry

    def _late(self, entry: Entry, *new: NewMessage) -> Change:
        return Change(entry.key, (), ((0, LATER),), DUE, new, warned=True, sites=(SITE,))

    def _change(self, entry: Entry, change: Change, *seen: str) -> None:
        self._begin(*seen)
        self.spool.settle(self.ledger, change)
        self._known(*seen)

    def _settle(self, entry: Entry) -> None:
        queue_id = entry.envelope.queue_id
        for what in (queue_id, f"{queue_id} hold", f"{queue_id} warned", f"{queue_id} expired", f"{queue_id} site"):
            self.files.mark("gone", what)
        self.spool.settle(self.ledger, Change(entry.key, ((0, SENT),)))
        self.files.mark("never", queue_id)

    def _import(self, *names: str) -> None:
        seen = [*names, f"{names[-1]} hold"]
        self._begin(*seen)
        new = [NewMessage(envelope(name), Spool.HEAD, body_of(name), due=DUE) for name in names[:-1]]
        held = NewMessage(envelope(names[-1]), Spool.HEAD, body_of(names[-1]), due=HOLD)
        self.ledger.import_([*new, held], lambda: None)
        self.spool.barrier(self.ledger)
        self._known(*seen)

    def _let_go(self, queue_id: str) -> None:
        (entry,) = self.ledger.find([queue_id])
        self.files.mark("gone", f"{queue_id} hold")
        self.spool.settle(self.ledger, Change(entry.key, due=DUE))
        self.files.mark("never", f"{queue_id} hold")

    def _notice(self, entry: Entry) -> None:
        """That it is late: both or neither."""
        queue_id = entry.envelope.queue_id
        seen = ["N1", f"{queue_id} warned", f"{queue_id} site"]
        self._begin(*seen)
        notice = NewMessage(envelope("N1"), Spool.HEAD, body_of("N1"))
        self.spool.settle(self.ledger, self._late(entry, notice))
        self._known(*seen)


def look(root: Path, place: str) -> set[str]:
    """What the next courier sees."""
    spool = Spool(str(root))
    ledger = spool.ledger()
    ledger.recover()
    listed = list(once(pages(ledger)))
    names = [message.queue_id for message in listed]
    assert len(set(names)) == len(names), place
    seen = set(names)
    for message in listed:
        state = message.state()
        seen |= {f"{message.queue_id} {flag}" for flag in ("warned", "expired") if getattr(state, flag)}
        found = ledger.peek(message.queue_id)
        assert found is not None, place
        assert content(found[1]) == body_of(message.queue_id), place
    ledger.flush_site(SITE)
    asked = ledger.due(-1.0)
    seen |= {f"{entry.envelope.queue_id} site" for entry in asked if entry.key[0] == 0 and entry.due > 1.0}
    free = [*asked, *ledger.due(1e12)]
    held = set(names) - {entry.envelope.queue_id for entry in free}
    assert held == {message.queue_id for message in listed if message.due >= HOLD}, place
    spool.close()
    return seen | {f"{name} hold" for name in held}


def pages(ledger: Ledger) -> list[Listed]:
    page, cursor = ledger.page(None)
    found = page
    while cursor is not None:
        page, cursor = ledger.page(cursor)
        found = found + page
    return found


def content(found: object) -> bytes:
    from postwarden.mail.queue import Content

    assert isinstance(found, Content)
    if found.body is not None:
        return found.body
    with open(found.fd, "rb") as file:
        return file.read()


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> list[Step]:
    return Story(tmp_path_factory.mktemp("story")).tell()


@pytest.mark.parametrize("way", Wreck.WAYS)
def test_every_prefix(steps: list[Step], tmp_path: Path, way: str) -> None:
    assert sum(step.name == "must" for step in steps) >= 20
    for root, must, may, place in wrecks(steps, tmp_path, way):
        seen = look(root, place)
        assert must <= seen, f"lost {must - seen}: {place}"
        assert seen <= may, f"again {seen - may}: {place}"
        assert ("N1" in seen) == ("S4 warned" in seen), place
