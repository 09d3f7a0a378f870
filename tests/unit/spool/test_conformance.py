"""The fakes that other parts are tested with keep the promises of the real thing."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from postwarden.ipc.records import Stored
from postwarden.mail.queue import Change, NewMessage, SpoolError
from postwarden.mail.reply import Reply
from postwarden.mail.status import Status
from postwarden.testing.clock import VirtualClock
from postwarden.testing.ledger import MemoryLedger
from postwarden.testing.spool import MemoryStore, Spool, envelope

HEAD = b"S: x\r\n\r\n"
SENT = Status("2.0.0", "delivered")
LATER = Status("4.4.1", "connection refused")


class RealStore:
    def __init__(self, path: Path) -> None:
        self.spool = Spool(str(path))
        self.store: Any = self.spool.appender()
        self.until = self.spool.pump.until


class FakeStore:
    def __init__(self, path: Path) -> None:
        self.clock = VirtualClock()
        self.store: Any = MemoryStore(self.clock.call_soon)

    def until(self, happened: Callable[[], object]) -> None:
        self.clock.run()
        assert happened()


@pytest.mark.parametrize("kind", [RealStore, FakeStore])
def test_store(kind: Callable[[Path], Any], tmp_path: Path) -> None:
    side = kind(tmp_path)
    store = side.store
    assert store.room(0) is None
    ids = [store.new_queue_id() for _ in range(3)]
    assert len(set(ids)) == 3
    answers: list[Reply | None] = []
    for queue_id in ids:
        draft = store.draft()
        assert not draft.congested
        draft.on_drained = lambda: None
        draft.write(b"one\r\n")
        draft.write(b"two\r\n")
        draft.commit(envelope(queue_id, HEAD, b"one\r\ntwo\r\n"), HEAD, answers.append)
        draft.abandon()
    assert answers == []
    side.until(lambda: len(answers) == 3)
    assert answers == [None] * 3
    store.draft().abandon()


class RealLedger:
    def __init__(self, path: Path) -> None:
        self.spool = Spool(str(path))
        self.ledger: Any = self.spool.ledger()
        list(self.ledger.recover())
        self.until = self.spool.pump.until
        self._appender = self.spool.appender()

    def stored(self, recipients: int) -> Stored:
        assert self.spool.store(self._appender, b"body\r\n", recipients) is None
        return self.spool.stored[-1]


class FakeLedger:
    def __init__(self, path: Path) -> None:
        self.clock = VirtualClock()
        self.ledger: Any = MemoryLedger(self.clock.call_soon)
        self._count = 0

    def until(self, happened: Callable[[], object]) -> None:
        self.clock.run()
        assert happened()

    def stored(self, recipients: int) -> Stored:
        self._count += 1
        message = envelope(f"Q{self._count}", Spool.HEAD, b"body\r\n", recipients)
        return Stored(7, self._count * 100, 100, message, Spool.HEAD, b"body\r\n")


@pytest.fixture(params=[RealLedger, FakeLedger])
def side(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    side = request.param(tmp_path)
    yield side
    if isinstance(side, RealLedger):
        side.spool.close()


def settle(side: Any, change: Change) -> tuple[Any, ...]:
    answers: list[tuple[Any, ...]] = []
    side.ledger.settle(change, answers.append)
    assert answers == []
    side.until(lambda: answers)
    return answers[0]


def test_take_and_settle(side: Any) -> None:
    entry = side.ledger.take(side.stored(2), -1)
    assert (entry.open, entry.head, entry.body) == ((0, 1), Spool.HEAD, b"body\r\n")
    assert settle(side, Change(entry.key, ((0, SENT),))) == ()
    assert entry.open == (1,)
    content = side.ledger.content(entry.key)
    assert (content.head, content.body) == (Spool.HEAD, b"body\r\n")
    settle(side, Change(entry.key, ((1, SENT),)))
    with pytest.raises(SpoolError):
        side.ledger.settle(Change(entry.key), lambda _: None)


def test_put_away(side: Any) -> None:
    entry = side.ledger.take(side.stored(1), -1)
    settle(side, Change(entry.key, (), ((0, LATER),), 50.0))
    assert side.ledger.next_due() == 50.0
    assert side.ledger.due(49.0) == ()
    (entry,) = side.ledger.due(50.0)
    assert (entry.attempts, entry.due, entry.reasons) == (1, 50.0, {0: LATER})
    assert side.ledger.next_due() is None
    settle(side, Change(entry.key, (), ((0, LATER),), 90.0))
    side.ledger.flush()
    (entry,) = side.ledger.due(60.0)
    assert side.ledger.due(60.0) == ()
    settle(side, Change(entry.key, ((0, SENT),)))


def test_set_aside(side: Any) -> None:
    stored = side.stored(1)
    side.ledger.set_aside(stored, -1)
    assert side.ledger.next_due() == 0.0
    (entry,) = side.ledger.due(0.0)
    assert entry.envelope == stored.envelope
    assert side.ledger.due(0.0) == ()


def test_spawned_are_held(side: Any) -> None:
    entry = side.ledger.take(side.stored(1), -1)
    new = (
        NewMessage(envelope("N1", HEAD, b"own\r\n"), HEAD, b"own\r\n"),
        NewMessage(envelope("N2", HEAD), HEAD, body_of=entry.key),
    )
    made = settle(side, Change(entry.key, ((0, SENT),), spawned=new))
    assert [m.envelope.queue_id for m in made] == ["N1", "N2"]
    assert [side.ledger.content(m.key).body for m in made] == [b"own\r\n", b"body\r\n"]
    assert side.ledger.due(1e9) == ()
    for entry in made:
        settle(side, Change(entry.key, ((0, SENT),)))
