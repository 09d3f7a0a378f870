"""What postsuper does with the files of a queue that nobody runs."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec import structs

from postwarden.cli.listing import Message, messages
from postwarden.cli.offline_acts import OfflineActs
from postwarden.cli.tool import Voice
from postwarden.config.settings import load
from postwarden.ipc.queue_records import DELETE, EXPIRE, HOLD, PAGE, RELEASE, REQUEUE
from postwarden.mail import queue as mail_queue
from postwarden.mail.envelope import Envelope, Recipient
from postwarden.mail.queue import NewMessage
from postwarden.mail.status import Status
from postwarden.spool.files import make_spool
from postwarden.spool.offline import OfflineQueue
from postwarden.trace.files import read
from postwarden.trace.records import Operated

NOW = time.time()
REASON = Status("4.4.1", "no")


def message(name: str, *, due: float = NOW + 1000, recipients: int = 2) -> NewMessage:
    to = tuple(Recipient(f"u{n}@example.org") for n in range(recipients))
    envelope = Envelope(name, NOW - 5000, "s@example.org", to, 30, context="local")
    return NewMessage(envelope, b"Subject: x\r\n\r\n", b"body\r\n", due=due, attempts=3, reasons={0: REASON})


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[OfflineQueue]:
    make_spool(str(tmp_path / "postwarden"))
    with OfflineQueue(str(tmp_path)) as found:
        found.import_([message("AAA"), message("BBB"), message("CCC", due=mail_queue.HOLD)])
        yield found


@pytest.fixture
def acts(queue: OfflineQueue, tmp_path: Path) -> OfflineActs:
    (tmp_path / "main.cf").write_text(f"queue_directory = {tmp_path}\nmyhostname = mx.example.org\n")
    return OfflineActs(queue, load(tmp_path), Voice("postsuper"))


def there(queue: OfflineQueue) -> dict[str, Message]:
    found = [one for one in messages(queue.listing()) if isinstance(one, Message)]
    return {one.envelope.queue_id: one for one in found}


def queues(queue: OfflineQueue) -> dict[str, str]:
    return {name: one.queue for name, one in there(queue).items()}


def test_hold_and_release(queue: OfflineQueue, acts: OfflineActs) -> None:
    assert list(acts.act(HOLD, ["AAA", "CCC", "ZZZ", "AAA"])) == ["AAA"]
    assert queues(queue) == {"AAA": "hold", "BBB": "deferred", "CCC": "hold"}
    assert list(acts.act(RELEASE, ["AAA", "BBB", "CCC"], ["deferred"])) == []
    assert list(acts.act_on_all(RELEASE)) == ["AAA", "CCC"]
    assert set(queues(queue).values()) == {"deferred"}
    released = there(queue)["AAA"]
    assert released.due <= time.time() and released.state.reasons == {0: REASON} and released.state.attempts == 3


def test_expire_is_told_once_and_keeps_the_hold(queue: OfflineQueue, acts: OfflineActs) -> None:
    assert list(acts.act_on_all(EXPIRE, ["hold"])) == ["CCC"]
    assert list(acts.act_on_all(EXPIRE)) == ["AAA", "BBB"]
    assert list(acts.act_on_all(EXPIRE)) == []
    assert all(one.state.expired for one in there(queue).values())
    assert queues(queue)["CCC"] == "hold" and there(queue)["AAA"].due == NOW + 1000


def test_delete(queue: OfflineQueue, acts: OfflineActs) -> None:
    assert list(acts.act(DELETE, ["BBB", "AAA"], ["hold"])) == []
    assert list(acts.act(DELETE, ["BBB", "AAA"])) == ["BBB", "AAA"]
    assert list(acts.act(DELETE, ["BBB"])) == []
    assert list(acts.act_on_all(DELETE)) == ["CCC"] and there(queue) == {}


def test_what_was_not_touched_can_be_found_again(queue: OfflineQueue, acts: OfflineActs) -> None:
    for _ in range(3):
        assert list(acts.act(RELEASE, ["AAA"])) == []
    assert list(acts.act(HOLD, ["AAA"])) == ["AAA"]


def test_requeue_prepares_the_content_again_under_a_new_id(queue: OfflineQueue, acts: OfflineActs) -> None:
    assert list(acts.act_on_all(REQUEUE)) == ["AAA", "BBB", "CCC"]
    found = there(queue)
    assert len(found) == 3 and not found.keys() & {"AAA", "BBB", "CCC"}
    for name, one in found.items():
        assert one.queue == "incoming" and one.envelope.created and one.envelope.arrival == NOW - 5000
        content = queue.peek(name)
        assert content is not None and content[1].body == b"body\r\n"
        assert content[1].head.startswith(b"Received: by mx.example.org (Postfix, from userid ")
        assert name.encode() in content[1].head and b"\r\nSubject: x\r\n" in content[1].head
        assert one.envelope.size == len(content[1].head) + 6


def test_requeued_mail_keeps_what_its_sender_is_to_hear_of(queue: OfflineQueue, acts: OfflineActs) -> None:
    queue.import_([structs.replace(message("DDD", recipients=3), untold={1: REASON})])
    assert list(acts.act(REQUEUE, ["DDD"])) == ["DDD"]
    (one,) = [one for one in there(queue).values() if len(one.envelope.recipients) == 3]
    assert [recipient.address[:2] for recipient in one.envelope.recipients] == ["u0", "u2", "u1"]
    assert (one.state.open, one.state.untold) == ((0, 1), {2: REASON})


def test_more_than_a_page(queue: OfflineQueue, acts: OfflineActs) -> None:
    names = [f"X{n}" for n in range(2 * PAGE + 1)]
    queue.import_([message(name, recipients=1) for name in names])
    assert list(acts.act(HOLD, iter(names))) == names
    assert len(list(acts.act_on_all(REQUEUE, ["hold"]))) == len(names) + 1
    assert len(list(acts.act_on_all(DELETE))) == len(names) + 3 and there(queue) == {}


def test_damaged_content_is_told_and_stays(
    queue: OfflineQueue, acts: OfflineActs, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def damaged(key: object) -> None:
        raise mail_queue.Damaged("AAA: its body is gone")

    monkeypatch.setattr(queue, "content", damaged)
    assert list(acts.act(REQUEUE, ["AAA"])) == []
    assert capsys.readouterr().err == "postsuper: error: AAA: not requeued: AAA: its body is gone\n"
    assert "AAA" in there(queue)


def test_what_was_done_is_recorded_for_explain(acts: OfflineActs, tmp_path: Path) -> None:
    list(acts.act(DELETE, ["AAA", "ZZZ"]))
    list(acts.act(HOLD, ["BBB"]))
    told = [record for record in read(str(tmp_path / "postwarden/trace")) if isinstance(record, Operated)]
    assert [(record.queue_id, record.operation) for record in told] == [("AAA", DELETE), ("BBB", HOLD)]


def test_nothing_is_recorded_where_main_cf_wants_no_record(queue: OfflineQueue, tmp_path: Path) -> None:
    (tmp_path / "main.cf").write_text(f"queue_directory = {tmp_path}\npostwarden_trace = no\n")
    assert list(OfflineActs(queue, load(tmp_path), Voice("postsuper")).act(DELETE, ["AAA"])) == ["AAA"]
    assert not (tmp_path / "postwarden/trace").exists()
