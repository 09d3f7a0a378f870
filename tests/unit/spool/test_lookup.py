"""By name and by page, while messages move from segments to queue.db."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from zlib import crc32

import pytest
from msgspec.structs import replace

from postwarden.mail.queue import HOLD, Change, Cursor, Entry, Listed, NewMessage, SpoolError, once
from postwarden.mail.status import Status
from postwarden.spool import ledger as ledger_module
from postwarden.spool import lookup, queuerows
from postwarden.spool.ledger import Ledger
from postwarden.testing.spool import Spool, envelope

SENT = Status("2.0.0", "delivered")
LATER = Status("4.4.1", "connection refused")


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    spool = Spool(str(tmp_path))
    yield spool
    spool.close()


def opened(spool: Spool) -> Ledger:
    ledger = spool.ledger()
    ledger.recover()
    return ledger


def fill(spool: Spool, count: int) -> list[str]:
    appender = spool.appender()
    for n in range(count):
        assert spool.store(appender, b"body %d\r\n" % n, recipients=2) is None
    appender.close()
    return [stored.envelope.queue_id for stored in spool.stored]


def pages(ledger: Ledger, limit: int = 500, after: Cursor | None = None) -> Iterator[Listed]:
    while True:
        page, after = ledger.page(after, limit)
        yield from page
        if after is None:
            return


def names(entries: list[Entry] | tuple[Entry, ...]) -> list[str]:
    return [entry.envelope.queue_id for entry in entries]


def sent(entry: Entry) -> Change:
    return Change(entry.key, tuple((n, SENT) for n in entry.open))


def test_settled_before_its_turn(spool: Spool) -> None:
    """Deleted by name while it waited on disk: the cursor passes it over, now and after a restart."""
    ids = fill(spool, 5)
    ledger = opened(spool)
    (third,) = ledger.find([ids[2]])
    assert spool.body(ledger, third) == b"body 2\r\n"
    (first,) = ledger.due(0.0, 1)
    spool.settle(ledger, Change(third.key, ((1, SENT),)))
    assert [listed.state().open for listed in pages(ledger)] == [(0, 1), (0, 1), (0,), (0, 1), (0, 1)]
    spool.settle(ledger, sent(third))
    assert ledger.find([ids[2]]) == []
    assert [listed.queue_id for listed in pages(ledger)] == [ids[0], ids[1], ids[3], ids[4]]
    assert names(ledger.due(0.0)) == [ids[1], ids[3], ids[4]]
    assert names(list(spool_again(spool).due(0.0))) == [ids[0], ids[1], ids[3], ids[4]]
    assert first.open == (0, 1)


def spool_again(spool: Spool) -> Ledger:
    """As after a crash."""
    return opened(spool)


def test_put_on_hold_before_its_turn(spool: Spool) -> None:
    ids = fill(spool, 3)
    ledger = opened(spool)
    (second,) = ledger.find([ids[1]])
    spool.settle(ledger, Change(second.key, due=HOLD))
    assert names(ledger.due(0.0)) == [ids[0], ids[2]]
    again = spool_again(spool)
    assert names(again.due(1e14)) == [ids[0], ids[2]]
    (held,) = again.find([ids[1]])
    assert (held.due, held.attempts, held.open) == (HOLD, 0, (0, 1))


def test_what_is_wanted_on_hold_is_so_when_a_sweep_moves_it(spool: Spool) -> None:
    """Nobody took it up: a courier would take a due time for a release."""
    appender = spool.appender()
    answers: list[object] = []
    for name, hold in (("H", True), ("S", False)):
        draft = appender.draft()
        draft.commit(replace(envelope(name, Spool.HEAD), hold=hold), Spool.HEAD, answers.append)
    spool.pump.until(lambda: len(answers) == 2)
    appender.close()
    ledger = opened(spool)
    spool.clock.advance(61)
    spool.sweep(ledger)
    assert names(ledger.due(spool.clock.now())) == ["S"]
    assert [entry.due for entry in ledger.find(["H"])] == [HOLD]


def test_put_back_behind_the_cursor_and_before_it(spool: Spool) -> None:
    ids = fill(spool, 3)
    ledger = opened(spool)
    (second,) = ledger.find([ids[1]])
    ledger.put_back(second)
    (second,) = ledger.find([ids[1]])
    assert names(ledger.due(0.0)) == [ids[0], ids[2]]
    ledger.put_back(second)
    spool.barrier(ledger)
    assert names(ledger.due(spool.clock.now())) == [ids[1]]


def test_what_comes_in_on_hold_is_so_from_the_first(spool: Spool) -> None:
    answers: list[object] = []
    draft = spool.appender().draft()
    draft.commit(replace(envelope("H", Spool.HEAD), hold=True), Spool.HEAD, answers.append)
    spool.pump.until(lambda: answers)
    spool.close()
    ledger = opened(spool)
    assert [listed.queue(listed.state()) for listed in pages(ledger)] == ["hold"]
    (entry,) = ledger.due(0.0)
    ledger.put_back(entry)
    spool.barrier(ledger)
    assert ledger.due(spool.clock.now() + 1e9) == (), "its place in the segment was passed"
    (entry,) = ledger.find(["H"])
    assert entry.due == HOLD


def test_found_on_its_way_to_queue_db(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody holds and a sweep is moving can be had by name, and by the key that a listing gave."""
    monkeypatch.setattr(ledger_module, "_BATCH", 4)
    ids = fill(spool, 6)
    ledger = opened(spool)
    keys = {listed.queue_id: listed.key for listed in pages(ledger)}
    spool.clock.advance(61)
    ledger.sweep(spool.clock.now())
    assert [listed.queue_id for listed in once(pages(ledger, 1))] == ids
    (by_name,) = ledger.find([ids[0]])
    (by_key,) = ledger.pick([keys[ids[1]]])
    (returned,) = ledger.find([ids[2]])
    ledger.put_back(returned)
    found = ledger.peek(ids[3])
    assert found is not None
    assert (found[0].queue_id, found[1].body) == (ids[3], b"body 3\r\n")
    assert ledger.find([ids[0], ids[1]]) == []
    spool.sweep(ledger)
    spool.settle(ledger, sent(by_name))
    spool.settle(ledger, Change(by_key.key, (), ((0, LATER), (1, LATER)), 5e9))
    assert sorted(names(ledger.due(spool.clock.now()))) == sorted(ids[2:])
    assert names(spool_again(spool).due(6e9)) == [*ids[2:], ids[1]]


def test_found_by_name_and_then_moved(spool: Spool) -> None:
    ids = fill(spool, 3)
    ledger = opened(spool)
    (second,) = ledger.find([ids[1]])
    spool.clock.advance(61)
    ledger.sweep(spool.clock.now())
    ledger.put_back(second)
    spool.sweep(ledger)
    assert sorted(names(ledger.due(spool.clock.now()))) == ids


@pytest.mark.parametrize("limit", [1, 2, 3, 500])
def test_a_listing_misses_nothing_that_moves(spool: Spool, limit: int) -> None:
    """Whatever page the move comes after: each message is listed, and by `once` each once."""
    ids = fill(spool, 7)
    ledger = opened(spool)
    for entry in ledger.due(0.0, 3):
        spool.settle(ledger, Change(entry.key, (), ((0, LATER),), 5e9))
    total = len(list(pages(ledger, limit)))
    assert total == len(ids)
    for moment in range(9):
        spool.close()
        copy = Spool(f"{spool.directory}/copy{moment}")
        ids = fill(copy, 7)
        ledger = opened(copy)
        seen: list[Listed] = []
        cursor: Cursor | None = None
        for turn in range(100):
            if turn == moment:
                copy.clock.advance(61)
                copy.sweep(ledger)
            page, cursor = ledger.page(cursor, limit)
            seen += page
            if cursor is None:
                break
        assert sorted(listed.queue_id for listed in once(seen)) == sorted(ids)
        copy.close()


def test_any_number_of_names(spool: Spool) -> None:
    """More than SQLite takes in one statement."""
    ledger = opened(spool)
    ledger.import_([NewMessage(envelope(f"D{n}"), Spool.HEAD, b"", due=5e9) for n in range(1200)], lambda: None)
    spool.barrier(ledger)
    found = ledger.find([f"D{n}" for n in range(40_000)])
    assert len(found) == 1200
    for entry in found:
        ledger.put_back(entry)
    assert len(ledger.pick([(0, row) for row in range(40_000)])) == 1200


def test_pages_are_bounded_in_bytes(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queuerows, "PAGE_BYTES", 1000)
    ledger = opened(spool)
    new = [NewMessage(envelope(f"Q{n}", recipients=100), Spool.HEAD, b"", due=50.0) for n in range(6)]
    ledger.import_(new, lambda: None)
    spool.barrier(ledger)
    page, cursor = ledger.page(None)
    assert len(page) == 1
    assert cursor is not None
    assert [listed.queue_id for listed in pages(ledger)] == [f"Q{n}" for n in range(6)]


def test_pages_of_segments_are_bounded_in_bytes(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookup, "PAGE_BYTES", 1000)
    appender = spool.appender()
    for n in range(6):
        spool.store(appender, b"", recipients=100, queue_id=f"Q{n}")
    ledger = opened(spool)
    _, cursor = ledger.page(None)
    page, cursor = ledger.page(cursor)
    assert len(page) == 1 and cursor is not None
    assert [listed.queue_id for listed in pages(ledger)] == [f"Q{n}" for n in range(6)]


def test_damaged_rows(spool: Spool) -> None:
    ledger = opened(spool)
    new = [NewMessage(envelope(f"Q{n}", recipients=3), Spool.HEAD, b"", due=50.0) for n in range(3)]
    ledger.import_(new, lambda: None)
    spool.barrier(ledger)
    db = sqlite3.connect(f"{spool.directory}/postwarden/queue.db")
    db.execute("UPDATE message SET state = x'0000' WHERE queue_id = 'Q0'")
    db.execute("UPDATE message SET envelope = zeroblob(90) WHERE queue_id = 'Q1'")
    db.commit()
    db.close()
    for _ in range(2):
        found = {listed.queue_id: listed.state().open for listed in pages(ledger)}
        assert found == {"Q0": (0, 1, 2), "Q2": (0, 1, 2)}
    assert spool.texts.count("the message is lost") == 1
    assert names(ledger.find(["Q0", "Q1"])) == ["Q0"]
    assert ledger.peek("Q1") is None


def test_the_sum_of_a_body_file_goes_with_it(spool: Spool) -> None:
    body = b"x" * 300_000
    appender = spool.appender()
    spool.store(appender, body)
    appender.close()
    ledger = opened(spool)
    (read,) = ledger.due(0.0)
    assert (read.body_crc, ledger.content(read.key).crc) == (crc32(body), crc32(body))
    forward = NewMessage(envelope("F"), Spool.HEAD, body_of=read.key)
    (made,) = spool.settle(ledger, Change(read.key, (), ((0, LATER),), 50.0, (forward,)))
    assert ledger.content(made.key).crc == crc32(body)
    again = spool_again(spool)
    assert {ledger.content(entry.key).crc for entry in again.due(60.0)} == {crc32(body)}


def test_the_sum_is_told_by_the_receiver(spool: Spool) -> None:
    ledger = opened(spool)
    appender = spool.appender()
    spool.store(appender, b"x" * 300_000)
    entry = ledger.take(spool.stored[0])
    assert entry is not None
    assert ledger.content(entry.key).crc == crc32(b"x" * 300_000)


def test_warned_and_expired_survive(spool: Spool) -> None:
    """Even where nothing else about the message changes, and it still lives in a segment."""
    fill(spool, 2)
    ledger = opened(spool)
    first, second = ledger.due(0.0)
    spool.settle(ledger, Change(first.key, warned=True))
    spool.settle(ledger, Change(second.key, expired=True))
    spool.settle(ledger, Change(second.key, warned=True))
    found = {entry.envelope.queue_id: (entry.warned, entry.expired) for entry in spool_again(spool).due(1e9)}
    assert list(found.values()) == [(True, False), (True, True)]


def test_what_is_to_be_held_is_on_hold_after_a_crash(spool: Spool) -> None:
    """The first lives in a segment; the second has been put away, and comes back from queue.db."""
    fill(spool, 2)
    ledger = opened(spool)
    first, second = ledger.due(0.0)
    spool.settle(ledger, Change(second.key, due=7.0))
    (second,) = ledger.due(7.0)
    for entry in (first, second):
        spool.settle(ledger, Change(entry.key, held=True))
    assert not ledger.due(1e9), "the courier still has them"
    again = spool_again(spool)
    assert not again.due(1e9)
    ids = {first.envelope.queue_id, second.envelope.queue_id}
    assert {listed.queue_id for listed in again.page(None)[0] if listed.queue(listed.state()) == "hold"} == ids
    for entry in again.find(ids):
        spool.settle(again, Change(entry.key, due=9.0))
    assert {entry.envelope.queue_id for entry in again.due(9.0)} == ids


def test_a_flush_reads_nothing_of_what_is_on_hold(spool: Spool) -> None:
    ledger = opened(spool)
    on_hold = [NewMessage(envelope(f"H{n}"), Spool.HEAD, b"", due=HOLD) for n in range(2000)]
    deferred = [NewMessage(envelope(f"D{n}"), Spool.HEAD, b"", due=5e9) for n in range(3)]
    ledger.import_([*on_hold, *deferred], lambda: None)
    spool.barrier(ledger)
    steps = 0

    def step() -> int:
        nonlocal steps
        steps += 1
        return 0

    assert ledger._rows._db is not None
    ledger._rows._db.set_progress_handler(step, 100)
    ledger.flush()
    assert names(ledger.due(1.0)) == ["D0", "D1", "D2"]
    assert ledger.due(1.0) == ()
    assert ledger.last_due() is None
    assert steps < 20


def test_a_page_costs_the_same_wherever_it_is(spool: Spool) -> None:
    """A thousand messages with one due time and one epoch: no page reads those of the pages before."""
    ledger = opened(spool)
    ledger.import_([NewMessage(envelope(f"D{n}"), Spool.HEAD, b"", due=5.0) for n in range(3000)], lambda: None)
    spool.barrier(ledger)
    costs: list[int] = []

    def step() -> int:
        costs[-1] += 1
        return 0

    assert ledger._rows._db is not None
    ledger._rows._db.set_progress_handler(step, 100)
    for flush in (True, False):
        if flush:
            ledger.flush()
        costs.clear()
        for _ in range(30):
            costs.append(0)
            found = ledger.due(1.0 if flush else 9.0, 100)
            assert len(found) == 100
            if flush:
                for entry in found:
                    ledger.put_back(entry)
                ledger._rows._cursor = (-1.0, 0)
        assert max(costs) < 3 * costs[1] + 10, costs


FIRST_LAYOUT = """
CREATE TABLE message(
    id INTEGER PRIMARY KEY, tag TEXT, due REAL, body INTEGER, head_size INTEGER, body_size INTEGER,
    queue_id TEXT, state BLOB, envelope BLOB, head BLOB);
CREATE INDEX message_due ON message(due);
CREATE INDEX message_body ON message(body, queue_id);
CREATE TABLE body(id INTEGER PRIMARY KEY, tag TEXT, size INTEGER, file TEXT, data BLOB);
CREATE INDEX body_file ON body(file) WHERE file IS NOT NULL;
CREATE TABLE settled(id INTEGER PRIMARY KEY, tag TEXT, segment INTEGER, changes BLOB);
"""


@pytest.mark.parametrize("damaged", [False, True])
def test_a_queue_of_the_first_layout(spool: Spool, tmp_path: Path, damaged: bool) -> None:
    new = Spool(str(tmp_path / "new"))
    ledger = opened(new)
    messages = [NewMessage(envelope(f"Q{n}"), Spool.HEAD, b"body %d" % n, due=50.0 + n) for n in range(50)]
    ledger.import_(messages, lambda: None)
    new.close()
    (tmp_path / "postwarden").mkdir()
    path = tmp_path / "postwarden" / "queue.db"
    db = sqlite3.connect(path)
    db.execute("PRAGMA page_size=4096")
    db.executescript(FIRST_LAYOUT)
    db.execute("ATTACH ? AS new", (str(tmp_path / "new" / "postwarden" / "queue.db"),))
    columns = "id, tag, due, body, head_size, body_size, queue_id, state, envelope, head"
    db.execute(f"INSERT INTO message SELECT {columns} FROM new.message")
    db.execute("INSERT INTO body SELECT * FROM new.body")
    db.commit()
    db.close()
    if damaged:
        with path.open("r+b") as file:
            file.write(bytes(100))
    ledger = opened(spool)
    assert [listed.queue_id for listed in pages(ledger)] == [f"Q{n}" for n in range(50)]
    ledger.flush()
    found = ledger.due(1.0)
    assert names(found) == [f"Q{n}" for n in range(50)]
    assert [spool.body(ledger, entry) for entry in found] == [b"body %d" % n for n in range(50)]
    spool.settle(ledger, Change(found[0].key, (), ((0, LATER),), 70.0, sites=("a.example",)))
    (again,) = spool_again(spool).find(["Q0"])
    assert again.reasons == {0: LATER}
    assert ("rebuilt with 50 messages" in spool.texts) is damaged


@pytest.mark.parametrize("verp", ["+", "+=+"])
def test_delimiters_that_can_not_be(spool: Spool, verp: str) -> None:
    """A receiver that somebody has taken over must not stop the courier, told or found on disk."""
    appender = spool.appender()
    answers: list[object] = []
    appender.draft().commit(replace(envelope("Q"), verp=verp), Spool.HEAD, answers.append)
    spool.pump.until(lambda: answers)
    ledger = spool.ledger()
    ledger.recover()
    with pytest.raises(SpoolError):
        ledger.take(spool.stored[0], 1)
    assert ledger.due(0.0) == ()
    assert "are damaged" in spool.texts
