"""The fakes that other parts are tested with keep the promises of the real thing."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from postwarden.ipc.records import Stored
from postwarden.mail.queue import HOLD, Change, Listed, NewMessage, SpoolError, once
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
    assert side.ledger.last_due() == 50.0
    assert side.ledger.due(49.0) == ()
    (entry,) = side.ledger.due(50.0)
    assert (entry.attempts, entry.due, entry.reasons) == (1, 50.0, {0: LATER})
    assert side.ledger.last_due() is None
    settle(side, Change(entry.key, (), ((0, LATER),), 90.0))
    side.ledger.flush()
    (entry,) = side.ledger.due(60.0)
    assert side.ledger.due(60.0) == ()
    settle(side, Change(entry.key, ((0, SENT),)))


def test_set_aside(side: Any) -> None:
    stored = side.stored(1)
    side.ledger.set_aside(stored, -1)
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


def listing(side: Any, limit: int = 500) -> list[Listed]:
    found = []
    page, cursor = side.ledger.page(None, limit)
    found += page
    while cursor is not None:
        page, cursor = side.ledger.page(cursor, limit)
        found += page
    return list(once(found))


def test_hold_and_release(side: Any) -> None:
    entry = side.ledger.take(side.stored(2), -1)
    settle(side, Change(entry.key, due=HOLD))
    assert side.ledger.last_due() is None
    side.ledger.flush()
    assert side.ledger.due(1e14) == ()
    (listed,) = listing(side)
    state = listed.state()
    assert (listed.queue_id, listed.held, listed.queue(state)) == (entry.envelope.queue_id, False, "hold")
    assert (state.open, state.attempts) == ((0, 1), 0)
    (entry,) = side.ledger.find([listed.queue_id])
    settle(side, Change(entry.key, due=5.0))
    (entry,) = side.ledger.due(5.0)
    assert (entry.attempts, entry.open) == (0, (0, 1))


def test_by_name(side: Any) -> None:
    first = side.ledger.take(side.stored(1), -1)
    settle(side, Change(first.key, (), ((0, LATER),), 50.0, warned=True, expired=True))
    held = side.ledger.take(side.stored(1), -1)
    side.ledger.set_aside(side.stored(1), -1)
    side.ledger.set_aside(side.stored(1), -1)
    names = {listed.queue_id: listed for listed in listing(side)}
    assert len(names) == 4
    assert [listing(side, limit) for limit in (1, 2, 3)] == [listing(side)] * 3
    deferred = names[first.envelope.queue_id]
    state = deferred.state()
    assert (state.attempts, state.reasons, state.warned, state.expired) == (1, {0: LATER}, True, True)
    assert (deferred.due, deferred.queue(state)) == (50.0, "deferred")
    assert names[held.envelope.queue_id].held
    aside = [queue_id for queue_id in names if queue_id not in (first.envelope.queue_id, held.envelope.queue_id)]
    assert [names[queue_id].queue(names[queue_id].state()) for queue_id in aside] == ["incoming"] * 2
    for queue_id in names:
        listed, content = side.ledger.peek(queue_id)
        assert (listed, content.head, content.body) == (names[queue_id], Spool.HEAD, b"body\r\n")
    assert side.ledger.peek("none") is None
    assert side.ledger.find([held.envelope.queue_id, "none"]) == []
    (late,) = side.ledger.find([aside[1], held.envelope.queue_id])
    assert side.ledger.find([aside[1]]) == []
    (back,) = side.ledger.pick([deferred.key, names[held.envelope.queue_id].key])
    assert (back.envelope.queue_id, back.warned, back.expired) == (first.envelope.queue_id, True, True)
    side.ledger.put_back(back)
    found = side.ledger.due(60.0)
    assert sorted(entry.envelope.queue_id for entry in found) == sorted([first.envelope.queue_id, aside[0]])
    for entry in (late, held, *found):
        settle(side, Change(entry.key, ((0, SENT),)))
    assert listing(side) == []


def test_flush_of_a_site(side: Any) -> None:
    entries = [side.ledger.take(side.stored(1), -1) for _ in range(4)]
    sites = [("a.example",), ("b.example", "a.example"), ("b.example",), ()]
    for entry, names in zip(entries, sites, strict=True):
        settle(side, Change(entry.key, (), ((0, LATER),), 500.0, sites=names))
    side.ledger.flush_site("a.example")
    found = side.ledger.due(10.0)
    assert [e.envelope.queue_id for e in found] == [e.envelope.queue_id for e in entries[:2]]
    settle(side, Change(found[0].key, (), ((0, LATER),), 600.0, sites=("c.example",)))
    assert side.ledger.due(10.0) == ()
    side.ledger.flush_site("a.example")
    side.ledger.flush_site("none.example")
    assert side.ledger.due(10.0) == ()
    side.ledger.flush_site("c.example")
    (again,) = side.ledger.due(10.0)
    assert again.attempts == 2


def test_a_flush_hands_out_each_once(side: Any) -> None:
    entries = [side.ledger.take(side.stored(1), -1) for _ in range(3)]
    for entry in entries:
        settle(side, Change(entry.key, (), ((0, LATER),), 500.0))
    side.ledger.flush()
    (first,) = side.ledger.due(10.0, 1)
    settle(side, Change(first.key, (), ((0, LATER),), 400.0))
    assert len(side.ledger.due(10.0)) == 2
    assert side.ledger.due(10.0) == ()


def test_what_is_due_and_flushed_comes_once(side: Any) -> None:
    entries = [side.ledger.take(side.stored(1), -1) for _ in range(3)]
    for entry in entries:
        settle(side, Change(entry.key, (), ((0, LATER),), 500.0, sites=("a.example",)))
    side.ledger.flush()
    side.ledger.flush_site("a.example")
    found = side.ledger.due(600.0)
    assert sorted(e.envelope.queue_id for e in found) == sorted(e.envelope.queue_id for e in entries)
    assert side.ledger.due(600.0) == ()


def test_spawned_and_put_away(side: Any) -> None:
    entry = side.ledger.take(side.stored(1), -1)
    new = [
        NewMessage(envelope(name, HEAD, b"own\r\n"), HEAD, b"own\r\n", due=due)
        for name, due in (("N0", 0.0), ("N1", 70.0), ("N2", HOLD))
    ]
    made = settle(side, Change(entry.key, ((0, SENT),), spawned=tuple(new)))
    assert [m.due for m in made] == [0.0, 70.0, HOLD]
    (away,) = side.ledger.due(80.0)
    assert away.envelope.queue_id == "N1"
    assert {listed.queue_id: listed.held for listed in listing(side)} == {"N0": True, "N1": True, "N2": False}


def test_imported(side: Any) -> None:
    new = [
        NewMessage(envelope(name, HEAD, body), HEAD, body, due=due, attempts=int(due > 0), reasons=why)
        for name, body, due, why in (
            ("I0", b"x\r\n", 0.0, {}), ("I1", b"y" * 300_000, 70.0, {0: LATER}), ("I2", b"z\r\n", HOLD, {}),
        )
    ]  # fmt: skip
    done: list[int] = []
    side.ledger.import_(new, lambda: done.append(1))
    side.until(lambda: done)
    queues = {listed.queue_id: listed.queue(listed.state()) for listed in listing(side)}
    assert queues == {"I0": "incoming", "I1": "deferred", "I2": "hold"}
    (first,) = side.ledger.due(10.0)
    assert first.envelope.queue_id == "I0"
    (second,) = side.ledger.due(80.0)
    assert second.reasons == {0: LATER}


def test_spawned_with_recipients_that_are_closed(side: Any) -> None:
    entry = side.ledger.take(side.stored(1), -1)
    new = NewMessage(envelope("N1", HEAD, b"own\r\n", 3), HEAD, b"own\r\n", due=70.0, untold={1: SENT})
    settle(side, Change(entry.key, ((0, SENT),), spawned=(new,)))
    (away,) = side.ledger.due(80.0)
    assert (away.open, away.untold) == ((0, 2), {1: SENT})
