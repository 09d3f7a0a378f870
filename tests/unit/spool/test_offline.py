import fcntl
import os
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from tests.passable import passable

from postwarden.mail.events import Event
from postwarden.mail.queue import HOLD, Change, NewMessage
from postwarden.mail.status import Status
from postwarden.spool import offline
from postwarden.spool.files import make_spool
from postwarden.spool.offline import InUse, OfflineQueue
from postwarden.spool.queuedb import Operation, QueueWriter
from postwarden.testing.spool import Spool, envelope

SENT = Status("2.0.0", "delivered")
LATER = Status("4.4.1", "connection refused")
NOBODY = 65534


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """A queue with deferred mail, mail on hold, and mail that nobody has taken yet."""
    spool = Spool(str(tmp_path))
    ledger = spool.ledger()
    ledger.recover()
    new = [NewMessage(envelope(name), Spool.HEAD, b"body\r\n", due=due) for name, due in (("D", 5e9), ("H", HOLD))]
    ledger.import_(new, lambda: None)
    spool.barrier(ledger)
    appender = spool.appender()
    for name, body in (("S", b"body\r\n"), ("B", b"b" * 300_000)):
        spool.store(appender, body, queue_id=name)
    spool.close()
    yield tmp_path
    assert not list(tmp_path.glob("postwarden/*-wal"))


def queues(queue: OfflineQueue) -> dict[str, str]:
    return {listed.queue_id: listed.queue(listed.state()) for listed in queue.listing()}


def test_what_a_tool_does(root: Path) -> None:
    with OfflineQueue(str(root)) as queue:
        assert queues(queue) == {"D": "incoming", "H": "hold", "S": "incoming", "B": "incoming"}
        deferred, small = sorted(queue.find(["D", "S", "none"]), key=lambda entry: entry.envelope.queue_id)
        assert queue.content(small.key).body == b"body\r\n"
        queue.settle([Change(small.key, due=HOLD), Change(deferred.key, ((0, SENT),))])
        (big,) = queue.pick([listed.key for listed in queue.listing() if listed.queue_id == "B"])
        queue.put_back(big)
        found = queue.peek("B")
        assert found is not None
        with os.fdopen(found[1].fd, "rb") as file:
            assert file.read() == b"b" * 300_000
        assert queue.peek("D") is None
        queue.import_([NewMessage(envelope(queue.new_queue_id()), Spool.HEAD, b"i" * 300_000, due=5.0)])
        queue.close()
    with OfflineQueue(str(root)) as queue:
        found_queues = queues(queue)
        assert len(found_queues) == 4
        assert [found_queues[name] for name in ("H", "S", "B")] == ["hold", "hold", "incoming"]


def test_a_courier_has_it(root: Path) -> None:
    fd = os.open(root / "postwarden" / "courier.lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(fd, fcntl.LOCK_EX)
    os.write(fd, b"      4711\n")
    with pytest.raises(InUse) as error:
        OfflineQueue(str(root))
    assert error.value.pid == 4711
    os.close(fd)
    with OfflineQueue(str(root)), pytest.raises(InUse) as error:
        OfflineQueue(str(root))
    assert error.value.pid == os.getpid()


def test_there_is_no_queue(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        OfflineQueue(str(tmp_path))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "postwarden").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(NotADirectoryError):
        OfflineQueue(str(tmp_path))
    assert not list((tmp_path / "elsewhere").iterdir())


def test_a_lock_that_is_a_link_is_not_followed(root: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("precious")
    (root / "postwarden" / "courier.lock").unlink(missing_ok=True)
    (root / "postwarden" / "courier.lock").symlink_to(target)
    with pytest.raises(OSError):
        OfflineQueue(str(root))
    assert target.read_text() == "precious"


def test_a_disk_that_refuses(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tool ends with the reason; nothing of what it asked for is half done."""
    monkeypatch.setattr(offline, "_PATIENCE", 0.05)

    def full(self: QueueWriter, operations: Sequence[Operation]) -> list[str]:
        raise sqlite3.OperationalError("database or disk is full")

    events: list[Event] = []
    with monkeypatch.context() as patch, OfflineQueue(str(root), on_event=events.append) as queue:
        patch.setattr(QueueWriter, "apply", full)
        (entry,) = queue.find(["D"])
        with pytest.raises(OSError, match="disk is full"):
            queue.settle([Change(entry.key, ((0, SENT),))])
        with pytest.raises(OSError, match="disk is full"):
            queue.import_([NewMessage(envelope("I"), Spool.HEAD, b"", due=5.0)])
    assert "disk is full" in str(events[0])
    with OfflineQueue(str(root)) as queue:
        assert set(queues(queue)) == {"D", "H", "S", "B"}


@pytest.mark.parametrize("damaged", [False, True])
def test_nobody_else_may_read_it(tmp_path: Path, damaged: bool) -> None:
    (tmp_path / "postwarden").mkdir()
    if damaged:
        (tmp_path / "postwarden" / "queue.db").write_bytes(b"no database" * 1000)
    before = os.umask(0)
    try:
        with OfflineQueue(str(tmp_path)) as queue:
            queue.import_([NewMessage(envelope("I"), Spool.HEAD, b"i" * 300_000, due=5.0)])
            made = [path for path in tmp_path.rglob("*") if path.is_file() and "damaged" not in path.name]
            assert {path.stat().st_mode & 0o777 for path in made} == {0o600}
            assert {path.suffix for path in made} == {".db", ".db-wal", ".db-shm", ".lock", ".body"}
    finally:
        os.umask(before)


def test_damage_is_told(root: Path) -> None:
    (database,) = root.glob("postwarden/queue.db")
    with database.open("r+b") as file:
        file.write(bytes(100))
    events: list[Event] = []
    with OfflineQueue(str(root), on_event=events.append) as queue:
        assert set(queues(queue)) == {"D", "H", "S", "B"}
    assert "rebuilt with 2 messages" in "\n".join(map(str, events))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another")
def test_root_acts_as_the_owner(tmp_path: Path) -> None:
    passable(tmp_path)
    make_spool(str(tmp_path / "postwarden"), (NOBODY, NOBODY))
    groups = os.getegid()
    with OfflineQueue(str(tmp_path)) as queue:
        assert (os.geteuid(), os.getegid()) == (0, groups)
        queue.import_([NewMessage(envelope("I"), Spool.HEAD, b"i" * 300_000, due=5.0)])
        assert (os.geteuid(), os.getegid()) == (0, groups)
        made = [path for path in tmp_path.rglob("*") if path.name != "postwarden"]
        assert {(path.stat().st_uid, path.stat().st_gid) for path in made} == {(NOBODY, NOBODY)}
        assert {path.suffix for path in made} >= {".db", ".body", ".lock"}
        (tmp_path / "postwarden" / "queue.db").chmod(0o400)
    (tmp_path / "postwarden" / "queue.db").write_bytes(b"no database" * 1000)
    (tmp_path / "postwarden" / "queue.db").chmod(0o600)
    with OfflineQueue(str(tmp_path)) as queue:
        assert queues(queue) == {}
    assert (tmp_path / "postwarden" / "queue.1.db").stat().st_uid == NOBODY
    assert (os.geteuid(), os.getegid()) == (0, groups)
