import errno
import os
import threading
from pathlib import Path

import pytest

from postwarden.mail.reply import Reply
from postwarden.spool import appender as appender_module
from postwarden.spool.files import Buffers, DiskFiles, locked
from postwarden.spool.layout import parse_segment
from postwarden.spool.segment import HEAD_SIZE, Record, Segment
from postwarden.testing.spool import FaultyFiles, Spool, envelope


def segments(directory: Path) -> list[Path]:
    return sorted(directory.glob("postwarden/incoming/*/*.segment"))


def bodies(directory: Path) -> list[Path]:
    return sorted(directory.glob("postwarden/incoming/*/*.body"))


def records(path: Path) -> list[Record]:
    name = parse_segment(path.name)
    assert name is not None
    file = Segment(str(path), name)
    found = [item for item in file.scan(HEAD_SIZE, file.size(), writing=True) if isinstance(item, Record)]
    file.close()
    return found


def test_stored_tells_where_the_record_is(tmp_path: Path) -> None:
    spool = Spool(str(tmp_path))
    appender = spool.appender()
    for n in range(3):
        assert spool.store(appender, b"body %d\r\n" % n) is None
    (path,) = segments(tmp_path)
    found = records(path)
    assert [(r.offset, r.length) for r in found] == [(s.offset, s.length) for s in spool.stored]
    assert [r.meta.envelope for r in found] == [s.envelope for s in spool.stored]
    assert [(s.head, s.body) for s in spool.stored] == [(Spool.HEAD, b"body %d\r\n" % n) for n in range(3)]
    spool.close()


def test_done_comes_later_and_after_stored(tmp_path: Path) -> None:
    spool = Spool(str(tmp_path))
    appender = spool.appender()
    order: list[str] = []
    appender.on_stored = lambda stored: order.append(stored.envelope.queue_id)
    for name in ("A", "B"):
        draft = appender.draft()
        draft.write(b"x")
        draft.commit(envelope(name), b"\r\n", lambda fault, name=name: order.append(f"done {name}"))  # type: ignore[misc]
    assert order == []
    spool.pump.until(lambda: len(order) == 4)
    assert order == ["A", "done A", "B", "done B"]
    spool.close()


def test_segment_is_sealed_by_age_and_by_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(appender_module, "SEGMENT_SIZE", 1000)
    spool = Spool(str(tmp_path))
    appender = spool.appender()
    spool.store(appender, b"x" * 500)
    first = spool.stored[0].segment
    assert locked(str(segments(tmp_path)[0]))
    spool.clock.advance(61)
    spool.pump.until(lambda: spool.sealed)
    assert spool.sealed == [first]
    assert not locked(str(segments(tmp_path)[0]))
    for _ in range(3):
        spool.store(appender, b"x" * 700)
    numbers = [stored.segment for stored in spool.stored]
    assert numbers[1] == numbers[2] != numbers[3]
    assert numbers[2] in spool.sealed
    spool.close()
    assert set(spool.sealed) == set(numbers)


def test_no_segment_without_mail(tmp_path: Path) -> None:
    spool = Spool(str(tmp_path))
    spool.appender()
    spool.clock.advance(600)
    spool.close()
    assert segments(tmp_path) == []


def test_big_body_has_a_file_that_is_locked_until_its_record_is_durable(tmp_path: Path) -> None:
    spool = Spool(str(tmp_path))
    appender = spool.appender()
    draft = appender.draft()
    body = bytes(range(256)) * 4096
    for at in range(0, len(body), 100_000):
        draft.write(body[at : at + 100_000])
    spool.pump.until(lambda: bodies(tmp_path) and not appender.used)
    (path,) = bodies(tmp_path)
    assert locked(str(path))
    answers: list[Reply | None] = []
    draft.commit(envelope("BIG", b"H\r\n\r\n", body), b"H\r\n\r\n", answers.append)
    spool.pump.until(lambda: answers)
    assert answers == [None]
    assert not locked(str(path))
    assert path.read_bytes() == body
    (stored,) = spool.stored
    assert (stored.body, stored.body_file, stored.body_size) == (None, path.name, len(body))
    (record,) = records(segments(tmp_path)[0])
    assert (record.meta.body_file, record.meta.body_size, record.body_size) == (path.name, len(body), 0)
    spool.close()


def test_abandoned_body_file_is_removed(tmp_path: Path) -> None:
    spool = Spool(str(tmp_path))
    appender = spool.appender()
    draft = appender.draft()
    draft.write(b"x" * 300_000)
    draft.abandon()
    draft.abandon()
    small = appender.draft()
    small.write(b"y")
    small.abandon()
    spool.pump.until(lambda: not appender.used)
    spool.close()
    assert bodies(tmp_path) == []
    assert segments(tmp_path) == []


def test_memory_is_bounded_and_the_writer_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(appender_module, "BUDGET", 100_000)
    spool = Spool(str(tmp_path))
    appender = spool.appender()
    drafts = [appender.draft() for _ in range(5)]
    for draft in drafts:
        draft.write(b"x" * 30_000)
    spool.pump.until(lambda: appender.used <= 100_000)
    assert len(bodies(tmp_path)) == 2
    drained: list[int] = []
    big = drafts[4]
    big.on_drained = lambda: drained.append(1)
    while not big.congested:
        big.write(b"y" * 200_000)
    spool.pump.until(lambda: drained)
    assert not big.congested
    for draft in drafts:
        draft.abandon()
    spool.pump.until(lambda: not appender.used)
    spool.close()


@pytest.mark.parametrize(
    ("operation", "number", "code", "status"),
    [
        ("write", errno.ENOSPC, 452, "4.3.1"),
        ("write", errno.EDQUOT, 452, "4.3.1"),
        ("write", errno.EIO, 451, "4.3.0"),
        ("sync", errno.EIO, 451, "4.3.0"),
        ("sync", errno.ENOSPC, 452, "4.3.1"),
        ("create", errno.ENOSPC, 452, "4.3.1"),
        ("create", errno.EROFS, 451, "4.3.0"),
        ("rename", errno.EIO, 451, "4.3.0"),
        ("sync_directory", errno.EIO, 451, "4.3.0"),
    ],
)
@pytest.mark.parametrize("size", [100, 300_000])
def test_a_fault_is_answered_and_ends_by_itself(
    tmp_path: Path, operation: str, number: int, code: int, status: str, size: int
) -> None:
    files = FaultyFiles()
    spool = Spool(str(tmp_path), files)
    appender = spool.appender()
    if operation in ("write", "sync"):
        assert spool.store(appender, b"before") is None
    files.fail(operation, number)
    for _ in range(3):
        fault = spool.store(appender, b"x" * size)
        assert fault is not None
        assert (fault.code, fault.status) == (code, status)
    assert spool.texts.count("queue file write error") == 1
    files.heal()
    spool.clock.advance(1)
    assert spool.store(appender, b"after") is None
    assert "can be written again" in spool.texts
    assert appender.used == 0
    spool.close()
    bodies_now = [records(path) for path in segments(tmp_path)]
    good = [r.meta.envelope.queue_id for found in bodies_now for r in found]
    assert good == [stored.envelope.queue_id for stored in spool.stored]
    assert bodies(tmp_path) == []


def test_after_a_fault_the_segment_is_cut_back_and_never_written_again(tmp_path: Path) -> None:
    files = FaultyFiles()
    spool = Spool(str(tmp_path), files)
    appender = spool.appender()
    spool.store(appender, b"good")
    (path,) = segments(tmp_path)
    before = path.read_bytes()
    files.fail("sync", errno.EIO)
    assert spool.store(appender, b"bad") is not None
    files.heal()
    assert spool.sealed == [spool.stored[0].segment]
    assert not locked(str(path))
    spool.store(appender, b"next")
    assert path.read_bytes() == before
    assert len(segments(tmp_path)) == 2
    spool.close()


def test_full_disk_cuts_a_write_short(tmp_path: Path) -> None:
    files = FaultyFiles()
    spool = Spool(str(tmp_path), files)
    appender = spool.appender()
    spool.store(appender, b"good")
    files.capacity = 50
    fault = spool.store(appender, b"x" * 1000)
    assert fault is not None and fault.code == 452
    files.heal()
    spool.close()
    assert [len(records(path)) for path in segments(tmp_path)] == [1]


def test_room_as_smtpd_has_it(tmp_path: Path) -> None:
    files = FaultyFiles()
    spool = Spool(str(tmp_path), files)
    appender = spool.appender()
    assert appender.room(0) is None
    files.capacity = (10 << 20) * 3 // 2
    spool.clock.advance(1)
    fault = appender.room(0)
    assert fault is not None
    assert str(fault) == "452 4.3.1 Insufficient system storage"
    files.capacity += 1
    spool.clock.advance(1)
    assert appender.room(0) is None
    assert appender.room(20 << 20) is not None
    files.fail("free", errno.EIO)
    spool.clock.advance(1)
    fault = appender.room(0)
    assert fault is not None and fault.code == 451
    spool.close()


def test_receivers_directory_is_its_own(tmp_path: Path) -> None:
    spool = Spool(str(tmp_path))
    spool.store(spool.appender(1), b"x")
    spool.store(spool.appender(2), b"x")
    assert sorted(path.parent.name for path in segments(tmp_path)) == ["1", "2"]
    assert os.stat(tmp_path / "postwarden" / "incoming" / "1").st_mode & 0o777 == 0o700
    spool.close()


def test_many_big_bodies_and_a_slow_disk_keep_within_the_budget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(appender_module, "BUDGET", 2 << 20)
    go_on = threading.Event()

    class Slow(DiskFiles):
        def write(self, fd: int, buffers: Buffers) -> None:
            go_on.wait(20)
            super().write(fd, buffers)

    spool = Spool(str(tmp_path), files=Slow())
    appender = spool.appender()
    drafts = [appender.draft() for _ in range(20)]
    drained: list[int] = []
    piece = bytes(100_000)
    for n, draft in enumerate(drafts):
        draft.on_drained = lambda n=n: drained.append(n)
        for _ in range(30):
            if not draft.congested:
                draft.write(piece)
    assert appender.used < (2 << 20) + 20 * len(piece) + appender_module.INLINE
    go_on.set()
    spool.pump.until(lambda: len(drained) == 20)
    assert not any(draft.congested for draft in drafts)
    for draft in drafts:
        draft.abandon()
    spool.close()
