from collections.abc import Iterator
from pathlib import Path

import pytest

from postwarden.ipc.records import Stored
from postwarden.mail.envelope import Envelope
from postwarden.mail.queue import HOLD, Change, Damaged, Entry, NewMessage, SpoolError
from postwarden.mail.status import Status
from postwarden.spool import ledger as ledger_module
from postwarden.spool.ledger import Ledger
from postwarden.testing.spool import Spool, envelope

SENT = Status("2.0.0", "delivered")
LATER = Status("4.4.1", "connect to mx[192.0.2.1]:25: Connection refused", "none")
NEVER = Status("5.1.1", "no such user")


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    spool = Spool(str(tmp_path))
    yield spool
    spool.close()


def sent(entry: Entry, *indices: int) -> Change:
    return Change(entry.key, tuple((n, SENT) for n in indices or entry.open))


def put_away(entry: Entry, due: float) -> Change:
    return Change(entry.key, deferred=tuple((n, LATER) for n in entry.open), due=due)


def recover(spool: Spool) -> tuple[Ledger, list[Entry]]:
    """As after a crash: another ledger, with what it finds."""
    ledger = spool.ledger()
    return ledger, list(ledger.recover())


def queue_ids(entries: list[Entry] | tuple[Entry, ...]) -> list[str]:
    return [entry.envelope.queue_id for entry in entries]


def segments(spool: Spool) -> list[Path]:
    return sorted(Path(spool.directory).glob("postwarden/incoming/*/*.segment"))


def bodies(spool: Spool) -> list[Path]:
    return sorted(Path(spool.directory).glob("postwarden/incoming/*/*.body"))


def test_empty_queue(spool: Spool) -> None:
    ledger, found = recover(spool)
    assert found == []
    assert ledger.last_due() is None
    spool.close()


def test_taken_from_the_receiver_and_settled(spool: Spool) -> None:
    ledger, _ = recover(spool)
    appender = spool.appender()
    spool.store(appender, b"body\r\n", recipients=2)
    entry = ledger.take(spool.stored[0], 1)
    assert entry is not None
    assert (entry.open, entry.head, entry.body, entry.head_size, entry.body_size) == (
        (0, 1), Spool.HEAD, b"body\r\n", len(Spool.HEAD), 6,
    )  # fmt: skip
    assert spool.body(ledger, entry) == b"body\r\n"
    assert ledger.take(spool.stored[0], 1) is None
    spool.settle(ledger, sent(entry))
    assert entry.open == ()
    with pytest.raises(SpoolError):
        ledger.settle(sent(entry, 0), lambda _: None)
    spool.close()
    assert recover(spool)[1] == []
    spool.close()


def test_recovery_finds_what_nobody_told(spool: Spool) -> None:
    appender = spool.appender()
    for n in range(5):
        spool.store(appender, b"body %d\r\n" % n)
    ledger, found = recover(spool)
    assert queue_ids(found) == [stored.envelope.queue_id for stored in spool.stored]
    assert [spool.body(ledger, entry) for entry in found] == [b"body %d\r\n" % n for n in range(5)]
    assert all(ledger.take(stored, 1) is None for stored in spool.stored)
    assert ledger.due(spool.clock.now()) == ()
    spool.close()


def test_recovery_is_lazy(spool: Spool) -> None:
    appender = spool.appender()
    for _ in range(6):
        spool.store(appender, b"x")
    ledger = spool.ledger()
    ledger.recover()
    first = ledger.due(0.0, 4)
    assert queue_ids(first) == [stored.envelope.queue_id for stored in spool.stored[:4]]
    assert len(ledger.due(0.0, 4)) == 2
    assert ledger.due(0.0, 4) == ()
    spool.close()


def test_final_recipients_are_not_tried_again(spool: Spool) -> None:
    ledger, _ = recover(spool)
    appender = spool.appender()
    spool.store(appender, b"x", recipients=4)
    entry = ledger.take(spool.stored[0])
    assert entry is not None
    spool.settle(ledger, sent(entry, 1))
    spool.settle(ledger, Change(entry.key, ((3, NEVER),)))
    assert entry.open == (0, 2)
    (again,) = recover(spool)[1]
    assert again.open == (0, 2)
    spool.close()


def test_put_away_and_back(spool: Spool) -> None:
    ledger, _ = recover(spool)
    appender = spool.appender()
    spool.store(appender, b"body\r\n", recipients=3)
    entry = ledger.take(spool.stored[0])
    assert entry is not None
    now = spool.clock.now()
    spool.settle(ledger, Change(entry.key, ((1, SENT),), ((0, LATER), (2, LATER)), now + 300))
    assert ledger.due(now + 299) == ()
    assert ledger.last_due() == now + 300
    (back,) = ledger.due(now + 300)
    assert (back.open, back.attempts, back.due, back.reasons) == ((0, 2), 1, now + 300, {0: LATER, 2: LATER})
    assert spool.body(ledger, back) == b"body\r\n"
    assert ledger.due(now + 300) == ()
    assert ledger.last_due() is None
    spool.settle(ledger, put_away(back, now + 900))
    ledger, found = recover(spool)
    assert found == []
    (back,) = ledger.due(now + 900)
    assert back.attempts == 2
    spool.settle(ledger, sent(back))
    assert recover(spool)[0].last_due() is None
    spool.close()


def test_not_handed_out_twice_while_the_commit_is_under_way(spool: Spool) -> None:
    ledger, _ = recover(spool)
    appender = spool.appender()
    spool.store(appender, b"x")
    entry = ledger.take(spool.stored[0])
    assert entry is not None
    now = spool.clock.now()
    spool.settle(ledger, put_away(entry, now + 1))
    (entry,) = ledger.due(now + 1)
    answers: list[object] = []
    ledger.settle(put_away(entry, now + 2), answers.append)
    assert ledger.due(now + 5) == ()
    spool.pump.until(lambda: answers)
    assert len(ledger.due(now + 5)) == 1
    spool.close()


def test_a_clock_set_back_hides_nothing(spool: Spool) -> None:
    ledger, _ = recover(spool)
    appender = spool.appender()
    entries = []
    for _ in range(2):
        spool.store(appender, b"x")
        entry = ledger.take(spool.stored[-1])
        assert entry is not None
        entries.append(entry)
    now = spool.clock.now()
    spool.settle(ledger, put_away(entries[0], now + 1000))
    assert len(ledger.due(now + 1000)) == 1
    spool.settle(ledger, put_away(entries[1], now + 10))
    assert ledger.last_due() == now + 10
    assert len(ledger.due(now + 10)) == 1
    spool.close()


def test_flush_hands_out_all_once(spool: Spool) -> None:
    ledger, _ = recover(spool)
    appender = spool.appender()
    now = spool.clock.now()
    for n in range(7):
        spool.store(appender, b"x")
        entry = ledger.take(spool.stored[-1])
        assert entry is not None
        spool.settle(ledger, put_away(entry, now + 1000 + n))
    assert ledger.due(now) == ()
    ledger.flush()
    flushed: list[Entry] = []
    while page := ledger.due(now, 2):
        flushed += page
        for entry in page:
            spool.settle(ledger, put_away(entry, now + 5000))
    assert sorted(queue_ids(flushed)) == sorted(stored.envelope.queue_id for stored in spool.stored)
    spool.close()


def test_report_and_outcome_are_one_transaction(spool: Spool) -> None:
    ledger, _ = recover(spool)
    appender = spool.appender()
    spool.store(appender, b"original\r\n", recipients=2)
    entry = ledger.take(spool.stored[0])
    assert entry is not None
    report = NewMessage(envelope("REPORT", b"R\r\n\r\n", b"report\r\n"), b"R\r\n\r\n", b"report\r\n")
    (made,) = spool.settle(ledger, Change(entry.key, ((0, NEVER), (1, NEVER)), spawned=(report,)))
    assert spool.body(ledger, made) == b"report\r\n"
    assert ledger.due(spool.clock.now()) == ()
    ledger, found = recover(spool)
    assert queue_ids(found) == ["REPORT"]
    assert ledger.content(found[0].key).head == b"R\r\n\r\n"
    spool.settle(ledger, sent(found[0]))
    assert recover(spool)[1] == []
    spool.close()


@pytest.mark.parametrize("size", [10, 300_000])
@pytest.mark.parametrize("moved", [False, True])
@pytest.mark.parametrize("in_memory", [False, True])
def test_forwards_share_the_body(spool: Spool, size: int, moved: bool, in_memory: bool) -> None:
    ledger, _ = recover(spool)
    appender = spool.appender()
    body = b"b" * size
    spool.store(appender, body, recipients=2)
    entry = ledger.take(spool.stored[0])
    assert entry is not None
    if moved:
        spool.settle(ledger, put_away(entry, 1.0))
        (entry,) = ledger.due(1.0)
    elif not in_memory:
        entry.body = None
    forwards = tuple(NewMessage(envelope(f"F{n}"), b"F\r\n\r\n", body_of=entry.key) for n in range(2))
    made = spool.settle(ledger, Change(entry.key, ((0, SENT),), spawned=forwards))
    spool.settle(ledger, sent(entry))
    for forward in made:
        forward.head = forward.body = None
        assert spool.body(ledger, forward) == body
    spool.settle(ledger, sent(made[0]))
    ledger, (left,) = recover(spool)
    assert left.envelope.queue_id == "F1"
    assert ledger.content(left.key).head == b"F\r\n\r\n"
    assert spool.body(ledger, left) == body
    spool.settle(ledger, sent(left))
    assert bodies(spool) == []
    assert ledger._rows._query("SELECT id FROM body") == []
    spool.close()


def test_a_full_courier_sets_aside(spool: Spool) -> None:
    ledger, _ = recover(spool)
    appender = spool.appender()
    for _ in range(4):
        spool.store(appender, b"x")
    assert ledger.take(spool.stored[0]) is not None
    ledger.set_aside(spool.stored[1])
    assert ledger.take(spool.stored[2]) is None  # older ones come first
    assert queue_ids(ledger.due(0.0)) == queue_ids_of(spool, 1, 2)
    assert ledger.take(spool.stored[3]) is not None
    spool.close()


def queue_ids_of(spool: Spool, *numbers: int) -> list[str]:
    return [spool.stored[n].envelope.queue_id for n in numbers]


def test_what_a_receiver_stored_while_nobody_listened(spool: Spool) -> None:
    ledger, _ = recover(spool)
    appender = spool.appender()
    for _ in range(3):
        spool.store(appender, b"x")
    ledger.linked(1)
    assert queue_ids(ledger.due(0.0)) == queue_ids_of(spool, 0, 1, 2)
    spool.store(appender, b"x")
    spool.store(appender, b"x")
    assert ledger.take(spool.stored[4]) is None  # number 3 was lost on the way
    assert queue_ids(ledger.due(0.0)) == queue_ids_of(spool, 3, 4)
    spool.close()


def test_an_orphans_mail_is_found(spool: Spool) -> None:
    ledger, _ = recover(spool)
    appender = spool.appender()
    spool.store(appender, b"x")
    assert ledger.take(spool.stored[0]) is not None
    spool.store(appender, b"y")
    ledger.sweep(0.0)  # still being written: the receiver will tell
    assert ledger.due(0.0) == ()
    ledger.orphan(1)
    assert queue_ids(ledger.due(0.0)) == queue_ids_of(spool, 1)
    spool.store(appender, b"z")
    appender.close()
    ledger.sweep(0.0)  # nobody writes it any more
    assert queue_ids(ledger.due(0.0)) == queue_ids_of(spool, 2)
    spool.close()


def test_a_receiver_speaks_of_its_own_segments_only(spool: Spool) -> None:
    ledger, _ = recover(spool)
    spool.store(spool.appender(1), b"secret")
    with pytest.raises(SpoolError, match="not its own"):
        ledger.take(spool.stored[0], 2)
    with pytest.raises(SpoolError, match="not its own"):
        ledger.set_aside(spool.stored[0], 2)
    invented = spool.stored[0].segment + 1
    assert ledger.take(Stored(invented, 64, 10, envelope("X"), b"", b""), 1) is None
    assert "X: segment" in spool.texts
    known = spool.stored[0]
    for bad in (
        Stored(known.segment, 64, 10, envelope("X"), b"", None, "../../x"),
        Stored(known.segment, 64, 0, envelope("X"), b"", b""),
        Stored(known.segment, 64, 10, envelope("X"), b"", None, "0" * 32 + ".body", 1 << 63),
        Stored(known.segment, 64, 10, Envelope("X", float("nan"), "", (), 5), b"", b""),
        Stored(known.segment, 64, 10, Envelope("X", 1.0, "", (), -5), b"", b""),
    ):
        with pytest.raises(SpoolError, match="can't be"):
            ledger.take(bad, 1)
    spool.close()


def test_settled_segment_is_unlinked(spool: Spool) -> None:
    ledger, _ = recover(spool)
    appender = spool.appender()
    spool.store(appender, b"x")
    spool.store(appender, b"b" * 300_000)
    for stored in spool.stored:
        entry = ledger.take(stored)
        assert entry is not None
        spool.settle(ledger, sent(entry))
    assert bodies(spool) == []
    spool.sweep(ledger)
    assert len(segments(spool)) == 1  # still being written
    appender.close()
    ledger.sealed(spool.stored[0].segment)
    ledger.sweep(0.0)
    spool.barrier(ledger)
    assert segments(spool) == []
    assert ledger.take(spool.stored[0]) is None  # a word that comes late
    assert spool.events == []
    spool.sweep(ledger)
    assert ledger._rows._query("SELECT id FROM settled") == []
    assert recover(spool)[1] == []


@pytest.mark.parametrize("size", [10, 300_000])
def test_what_is_alive_a_minute_after_sealing_moves(spool: Spool, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_module, "_BATCH", 3)
    ledger, _ = recover(spool)
    appender = spool.appender()
    sizes = [5] * 8 + [size]
    for number in sizes:
        spool.store(appender, b"b" * number, recipients=2)
    held = [ledger.take(stored) for stored in spool.stored[:4]]
    for entry in held:
        assert entry is not None
        entry.body = entry.head = None
    assert held[0] is not None and held[1] is not None and held[2] is not None and held[3] is not None
    spool.settle(ledger, sent(held[0]))
    spool.settle(ledger, sent(held[1], 1))
    appender.close()
    ledger.sealed(spool.stored[0].segment)
    ledger.sweep(spool.clock.now())
    assert len(segments(spool)) == 1
    spool.clock.advance(61)
    ledger.sweep(spool.clock.now())
    # While the move is under way the message can be read and settled by its new key.
    assert held[2].key[0] == 0
    assert spool.body(ledger, held[2]) == b"bbbbb"
    spool.settle(ledger, sent(held[2]))
    spool.sweep(ledger, 8)
    assert segments(spool) == []
    assert spool.body(ledger, held[3]) == b"bbbbb"
    rest = ledger.due(spool.clock.now())
    assert queue_ids(rest) == queue_ids_of(spool, 4, 5, 6, 7, 8)
    assert spool.body(ledger, rest[4]) == b"b" * size
    ledger, found = recover(spool)
    assert sorted(queue_ids(found)) == sorted(queue_ids_of(spool, 1, 3, 4, 5, 6, 7, 8))
    assert {entry.envelope.queue_id: entry.open for entry in found}[spool.stored[1].envelope.queue_id] == (0,)
    for entry in found:
        spool.settle(ledger, sent(entry))
    assert bodies(spool) == []


def test_new_and_old_mail_take_turns(spool: Spool) -> None:
    ledger, _ = recover(spool)
    appender = spool.appender()
    for n in range(20):
        spool.store(appender, b"x")
        if n < 10:
            entry = ledger.take(spool.stored[-1])
            assert entry is not None
            spool.settle(ledger, put_away(entry, 1.0))
        else:
            ledger.set_aside(spool.stored[-1])
    page = queue_ids(ledger.due(5.0, 4))
    assert page == queue_ids_of(spool, 0, 1, 10, 11)
    spool.close()


def test_garbage_bodies_are_removed_and_others_stay(spool: Spool) -> None:
    appender = spool.appender()
    spool.store(appender, b"b" * 300_000)
    open_draft = appender.draft()
    open_draft.write(b"o" * 300_000)
    spool.pump.until(lambda: len(bodies(spool)) == 2 and not appender.used)
    (Path(spool.directory) / "postwarden" / "incoming" / "1" / ("0" * 32 + ".body")).write_bytes(b"left by a crash")
    ledger, found = recover(spool)
    ledger.barrier(lambda: None)
    spool.sweep(ledger)
    names = {path.name for path in bodies(spool)}
    assert spool.stored[0].body_file in names
    assert len(names) == 2
    assert spool.body(ledger, found[0]) == b"b" * 300_000
    spool.close()


def test_damaged_content_is_named(spool: Spool) -> None:
    ledger, _ = recover(spool)
    appender = spool.appender()
    spool.store(appender, b"x" * 5000)
    spool.store(appender, b"y" * 5000)
    entries = [ledger.take(stored) for stored in spool.stored]
    (path,) = segments(spool)
    data = bytearray(path.read_bytes())
    data[2000:3000] = bytes(1000)
    path.write_bytes(data)
    assert entries[0] is not None and entries[1] is not None
    entries[0].body = None
    with pytest.raises(Damaged, match="segment"):
        ledger.content(entries[0].key)
    # Put away it stays known, so that its sender is told in the end.
    spool.settle(ledger, put_away(entries[0], 1.0))
    assert f"{entries[0].envelope.queue_id}: the content is lost" in spool.texts
    (again,) = ledger.due(1.0)
    with pytest.raises(Damaged):
        ledger.content(again.key)
    assert spool.body(ledger, entries[1]) == b"y" * 5000
    spool.close()


def test_unknown_key(spool: Spool) -> None:
    ledger, _ = recover(spool)
    for key in ((0, 99), (12345, 64)):
        with pytest.raises(SpoolError):
            ledger.settle(Change(key), lambda _: None)
    spool.close()


def test_a_forward_that_is_done_leaves_the_body_of_a_message_that_is_not(spool: Spool) -> None:
    ledger, _ = recover(spool)
    appender = spool.appender()
    body = b"x" * 300_000 + b"\r\n"
    spool.store(appender, body, recipients=2)
    entry = ledger.take(spool.stored[0], 1)
    assert entry is not None
    new = NewMessage(envelope("FORWARD", b"Received: x\r\n\r\n", body), b"Received: x\r\n\r\n", body_of=entry.key)
    (forward,) = spool.settle(ledger, Change(entry.key, ((0, SENT),), spawned=(new,)))
    assert spool.body(ledger, forward) == body
    spool.settle(ledger, sent(forward))
    assert spool.body(ledger, entry) == body
    spool.settle(ledger, put_away(entry, 1.0))
    ledger.close()
    again, found = recover(spool)
    assert [(e.open, spool.body(again, e)) for e in found] == [((1,), body)]
    spool.settle(again, sent(found[0]))
    appender.close()
    spool.sweep(again)
    assert bodies(spool) == [] and segments(spool) == []
    spool.close()


def test_what_is_moved_unheld_is_due_at_the_time_of_the_sweep(spool: Spool) -> None:
    """More than one batch, and a clock that goes on while they are moved."""
    ledger, _ = recover(spool)
    appender = spool.appender()
    for _ in range(ledger_module._BATCH + 50):
        spool.store(appender, b"body\r\n")
    appender.close()
    ledger.orphan(1)
    ledger.sweep(spool.clock.now())
    began = spool.clock.now()
    spool.clock.advance(61)
    ledger.sweep(began)
    spool.clock.advance(10)
    while segments(spool):
        spool.barrier(ledger)
        ledger.sweep(began)
    assert len(ledger.due(began)) == ledger_module._BATCH + 50


def test_the_last_due_time_of_those_that_nobody_holds(spool: Spool) -> None:
    ledger, _ = recover(spool)
    appender = spool.appender()
    for n in range(3):
        spool.store(appender, b"body\r\n")
        entry = ledger.take(spool.stored[n])
        assert entry is not None
        spool.settle(ledger, put_away(entry, 100.0 * (n + 1)))
    assert ledger.last_due() == 300.0
    (entry,) = ledger.find([spool.stored[2].envelope.queue_id])
    assert ledger.last_due() == 200.0
    spool.settle(ledger, Change(entry.key, due=HOLD))
    assert ledger.last_due() == 200.0, "what is on hold is never due"
    ledger.flush()
    assert ledger.last_due() is None, "all are due"
    assert len(ledger.due(50.0)) == 2 and ledger.due(50.0) == ()
