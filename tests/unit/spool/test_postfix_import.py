"""Each message arrives once, wherever the import was interrupted, whatever ran in between."""

import io
import os
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

import pytest

from postwarden.mail.envelope import Envelope, Notify, Recipient
from postwarden.mail.queue import HOLD, Change, Entry, NewMessage
from postwarden.mail.status import Status
from postwarden.spool import maildrop
from postwarden.spool.files import make_spool
from postwarden.spool.layout import spool_directory
from postwarden.spool.maildrop import maildrop_directory, make_maildrop
from postwarden.spool.offline import OfflineQueue
from postwarden.spool.postfix_import import ASIDE, Import, Tally
from postwarden.spool.postfix_records import record
from postwarden.spool.postfix_writer import Stored, Style, write

SENT = Status("2.0.0", "delivered")
NOW = 1_800_000_000.0


class Place:
    """A Postfix queue directory, and ours."""

    def __init__(self, base: Path) -> None:
        self.theirs = base / "theirs"
        self.ours = str(base / "ours")
        make_spool(spool_directory(self.ours))
        make_maildrop(maildrop_directory(self.ours))
        self.delivered: list[str] = []

    def put(
        self,
        queue: str,
        name: str,
        *recipients: Recipient,
        done: Collection[int] = (),
        body: bytes = b"body\r\n",
        extra: bytes = b"",
    ) -> Path:
        given = recipients or (Recipient(f"{name.lower()}@x"),)
        envelope = Envelope(name, NOW - 100, "from@x", given, 0, context="local")
        target = io.BytesIO()
        stored = Stored(envelope, frozenset(range(len(given))) - frozenset(done))
        write(target, stored, b"Subject: x\r\n\r\n", [body], Style())
        path = self.theirs / queue / name[0] / name if queue == "deferred" else self.theirs / queue / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(target.getvalue().replace(record("M", b""), extra + record("M", b""), 1))
        path.chmod(0o700)
        os.utime(path, (NOW + 50, NOW + 50))
        return path

    def log(self, log: str, name: str, offset: int, status: str, action: str) -> None:
        path = self.theirs / log / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as file:
            file.write(f"\n<x>: y\nrecipient=x\noffset={offset}\nstatus={status}\naction={action}\nreason=said no\n")

    def run(self, dry: bool = False, unfiltered: bool = False, wrap: "Callable[..., Queue] | None" = None) -> Tally:
        drop = maildrop_directory(self.ours)
        if dry:
            importing = Import(str(self.theirs), None, drop, now=lambda: NOW)
            importing.run()
            return importing.tally
        with OfflineQueue(self.ours) as queue:
            given = wrap(queue) if wrap is not None else queue
            importing = Import(str(self.theirs), given, drop, unfiltered=unfiltered, now=lambda: NOW)
            importing.run()
        return importing.tally

    def entries(self) -> dict[str, Entry]:
        with OfflineQueue(self.ours) as queue:
            found = queue.find([listed.queue_id for listed in queue.listing()])
            return {entry.envelope.queue_id: entry for entry in found}

    def deliver(self) -> None:
        """What the gateway does when it runs: all that is not on hold, and what lies in maildrop."""
        with OfflineQueue(self.ours) as queue:
            changes = []
            for entry in queue.find([listed.queue_id for listed in queue.listing()]):
                if entry.due >= HOLD:
                    queue.put_back(entry)
                    continue
                self.delivered.append(entry.envelope.queue_id)
                changes.append(Change(entry.key, tuple((index, SENT) for index in entry.open)))
            queue.settle(changes)
        drop = maildrop.Maildrop(maildrop_directory(self.ours))
        for found in list(drop.complete()):
            self.delivered.append("drop")
            drop.remove(found.name)
        drop.close()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_each_queue(place: Place) -> None:
    for queue, name in (("incoming", "IN1"), ("active", "AC1"), ("deferred", "DE1"), ("hold", "HO1")):
        place.put(queue, name)
    tally = place.run()
    assert tally.stored == {"incoming": 1, "active": 1, "deferred": 1, "hold": 1, "maildrop": 0}
    assert (tally.total, tally.recipients, tally.left) == (4, 4, [])
    due = {name: (entry.due, entry.attempts) for name, entry in place.entries().items()}
    assert due == {"IN1": (NOW, 0), "AC1": (NOW, 0), "DE1": (NOW + 50, 1), "HO1": (HOLD, 0)}
    assert (place.theirs / ASIDE / "deferred" / "DE1").exists()
    assert not (place.theirs / "deferred" / "D" / "DE1").exists()
    assert place.run().total == 0


def test_what_waits_keeps_its_reason(place: Place) -> None:
    path = place.put("deferred", "DE1", Recipient("one@x"), Recipient("two@x"))
    offsets = [at for at in range(len(path.read_bytes())) if path.read_bytes()[at : at + 2] == b"R\x05"]
    place.log("defer", "DE1", offsets[1], "4.4.1", "delayed")
    place.run()
    assert place.entries()["DE1"].reasons == {1: Status("4.4.1", "said no")}
    assert (place.theirs / ASIDE / "defer" / "DE1").exists()


def test_of_what_was_refused_the_sender_is_told(place: Place) -> None:
    path = place.put("active", "AC1", Recipient("one@x"), Recipient("two@x"), done={0})
    place.log("bounce", "AC1", path.read_bytes().index(b"D\x05one@x"), "5.1.1", "failed")
    place.run()
    entry = place.entries()["AC1"]
    assert (entry.open, entry.untold) == ((1,), {0: Status("5.1.1", "said no")})


def test_if_nobody_else_is_left_it_is_tried_once_more(place: Place) -> None:
    path = place.put("active", "AC1", Recipient("one@x"), done={0})
    place.log("bounce", "AC1", path.read_bytes().index(b"D\x05one@x"), "5.1.1", "failed")
    place.run()
    entry = place.entries()["AC1"]
    assert (entry.open, entry.untold) == ((0,), {})


def test_a_success_that_was_asked_for_is_told(place: Place) -> None:
    wants = Recipient("one@x", notify=int(Notify.SUCCESS))
    path = place.put("active", "AC1", wants, Recipient("two@x"), Recipient("yes@x"), done={0, 2})
    data = path.read_bytes()
    place.log("trace", "AC1", data.index(b"D\x05one@x"), "2.0.0", "delivered")
    place.log("trace", "AC1", data.index(b"D\x05yes@x"), "2.0.0", "delivered")
    place.run()
    entry = place.entries()["AC1"]
    assert [one.address for one in entry.envelope.recipients] == ["one@x", "two@x"]
    assert (entry.open, entry.untold) == ((1,), {0: Status("2.0.0", "said no")})


def test_what_has_nobody_left_and_probes_are_no_mail(place: Place) -> None:
    place.put("deferred", "DE1", done={0})
    place.put("incoming", "PR1", extra=record("A", b"trace_flags=256"))
    tally = place.run()
    assert (tally.total, tally.finished, place.entries()) == (0, 2, {})
    assert (place.theirs / ASIDE / "deferred" / "DE1").exists()


def test_what_can_t_be_taken_is_left_and_named(place: Place) -> None:
    place.put("deferred", "DE1").write_bytes(b"junk")
    place.put("incoming", "UN1").chmod(0o600)
    place.put("deferred", "FI1", extra=record("L", b"smtp:[127.0.0.1]:10025"))
    place.put("corrupt", "CO1")
    tally = place.run()
    why = {os.path.basename(path): reason for path, reason in tally.left}
    assert why == {
        "DE1": "unexpected EOF in data, record type 106 length 117",
        "FI1": "waits for the content filter smtp:[127.0.0.1]:10025",
        "CO1": "Postfix has put it into corrupt",
    }
    assert (tally.total, tally.unfinished) == (0, 1)
    assert (place.theirs / "deferred" / "D" / "DE1").exists() and (place.theirs / "incoming" / "UN1").exists()
    assert place.run(unfiltered=True).total == 1


def test_a_dry_run_changes_nothing(place: Place) -> None:
    place.put("deferred", "DE1")
    place.put("maildrop", "MA1")
    before = sorted(place.theirs.rglob("*"))
    tally = place.run(dry=True)
    assert (tally.total, tally.recipients) == (2, 2)
    assert sorted(place.theirs.rglob("*")) == before and place.entries() == {}


def test_another_message_with_the_same_queue_id(place: Place) -> None:
    with OfflineQueue(place.ours) as queue:
        other = Envelope("DE1", 5.0, "", (Recipient("a@x"),), 4)
        queue.import_([NewMessage(other, b"\r\n", b"", due=NOW)])
    path = place.put("deferred", "DE1")
    tally = place.run()
    assert tally.left == [(str(path), "our queue has another message with this queue id")]
    assert place.entries()["DE1"].envelope == other


def test_maildrop_goes_to_maildrop(place: Place) -> None:
    place.put("maildrop", "MA1")
    assert place.run().stored["maildrop"] == 1
    place.deliver()
    assert place.delivered == ["drop"]
    assert (place.theirs / ASIDE / "maildrop" / "MA1").exists()


def test_a_big_body(place: Place) -> None:
    body = b"x" * 998 + b"\r\n"
    place.put("deferred", "DE1", body=body * 600)
    place.run()
    with OfflineQueue(place.ours) as queue:
        found = queue.peek("DE1")
        assert found is not None
        content = found[1]
        assert content.body is None and os.pread(content.fd, content.size, content.offset) == body * 600
        os.close(content.fd)


class Killed(BaseException):
    pass


class Queue:
    """Ours, with a kill before or after a call."""

    def __init__(self, queue: OfflineQueue, step: Callable[[], None]) -> None:
        self._queue = queue
        self._step = step

    def find(self, queue_ids: Collection[str]) -> list[Entry]:
        return self._queue.find(queue_ids)

    def put_back(self, entry: Entry) -> None:
        self._queue.put_back(entry)

    def settle(self, changes: Sequence[Change]) -> None:
        self._step()
        self._queue.settle(changes)
        self._step()

    def import_(self, messages: Sequence[NewMessage]) -> None:
        self._step()
        self._queue.import_(messages)
        self._step()


def kills(monkeypatch: pytest.MonkeyPatch, at: int) -> Callable[[], None]:
    """Kills at the `at`-th step: a rename, a sync, a transaction."""
    count = 0

    def step() -> None:
        nonlocal count
        count += 1
        if count == at:
            raise Killed

    def before(name: str) -> None:
        real = getattr(os, name)

        def call(*args: object, **named: object) -> object:
            step()
            return real(*args, **named)

        monkeypatch.setattr(os, name, call)

    before("rename")
    return step


@pytest.mark.parametrize("runs_between", [False, True])
@pytest.mark.parametrize("at", range(1, 26))
def test_killed_anywhere(place: Place, monkeypatch: pytest.MonkeyPatch, at: int, runs_between: bool) -> None:
    names = ["IN1", "DE1", "DE2", "HO1"]
    for queue, name in zip(("incoming", "deferred", "deferred", "hold"), names, strict=True):
        place.put(queue, name)
    place.log("defer", "DE1", 5, "4.0.0", "delayed")
    place.put("maildrop", "MA1")
    with monkeypatch.context() as patch:
        step = kills(patch, at)
        try:
            place.run(wrap=lambda queue: Queue(queue, step))
        except Killed:
            pass
        else:
            assert at > 20, "all points were met"
    if runs_between:
        place.deliver()
    assert place.run().left == []
    place.deliver()
    assert sorted(place.delivered) == ["DE1", "DE2", "IN1", "drop"]
    assert list(place.entries()) == ["HO1"]
    kept = {path.name for path in (place.theirs / ASIDE).rglob("*") if path.is_file()}
    assert kept == {*names, "MA1"}
