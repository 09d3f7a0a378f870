"""What is done with files in maildrop, against a receiver that answers what the test wants."""

import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from postwarden.ipc.submit_client import socket_path
from postwarden.mail.envelope import Recipient
from postwarden.mail.events import Event
from postwarden.roles.agent_pickup import Pickup, Porter
from postwarden.spool.maildrop import REFUSED, drop, maildrop_directory, make_maildrop
from postwarden.wire.submission import GREETING, Answer, End, Reader, Submission, answer, whole

ME = os.geteuid()
MAIL = [b"Subject: x\n\nbody\n"]


class Me:
    """An identity of one who is nobody else."""

    @contextlib.contextmanager
    def acting_as(self, uid: int, gid: int) -> Iterator[None]:
        yield

    def may_act_as(self, uid: int) -> bool:
        return False


class FakeReceiver:
    """Accepts one message a connection and answers; keeps (submission, content)."""

    def __init__(self, path: str) -> None:
        self.messages: list[tuple[Submission, bytes]] = []
        self.say: Callable[[Submission], Answer | None] = lambda _: Answer("accepted", "", "Q1")
        self.greeting = GREETING
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(path)
        self._server.listen(16)
        threading.Thread(target=self._run, daemon=True).start()

    def close(self) -> None:
        self._server.close()

    def _run(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._server.accept()
                with sock:
                    self._serve(sock)

    def _serve(self, sock: socket.socket) -> None:
        sock.sendall(self.greeting)
        reader = Reader()
        found: list[Submission | bytes | End] = []
        while not reader.ended and (data := sock.recv(65536)):
            found += reader.feed(data)
        if not reader.ended:
            return
        submission = found[0]
        assert isinstance(submission, Submission)
        self.messages.append((submission, b"".join(part for part in found if isinstance(part, bytes))))
        said = self.say(submission)
        if said is not None:
            sock.sendall(answer(said))


class Place:
    def __init__(self, base: Path) -> None:
        self.queue = str(base)
        (base / "postwarden" / "public").mkdir(parents=True)
        self.directory = maildrop_directory(self.queue)
        make_maildrop(self.directory)
        self.receiver = FakeReceiver(socket_path(self.queue))
        self.events: list[Event] = []
        self.now = time.time()
        self.pickup = Pickup(self.queue, 10_000, Me(), self.events.append, lambda: self.now)

    def leave(self, recipient: str = "you") -> str:
        return drop(self.directory, whole(Submission("me", (Recipient(recipient),)), MAIL))

    @property
    def files(self) -> list[str]:
        return sorted(os.listdir(self.directory))

    @property
    def log(self) -> list[str]:
        return [f"{event.level}: {event}" for event in self.events]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path)
    yield place
    place.receiver.close()


def test_it_is_brought_as_its_owners_and_removed(place: Place) -> None:
    place.leave("a")
    place.leave("b")
    assert place.pickup.round() == 2
    assert place.files == []
    assert sorted(one.recipients[0].address for one, _ in place.receiver.messages) == ["a", "b"]
    for submission, content in place.receiver.messages:
        assert submission.user == ME
        assert abs(submission.written - time.time()) < 60
        assert content == MAIL[0]
    assert place.pickup.round() == 0
    assert place.log == []


@pytest.mark.root
def test_who_says_that_it_is_somebody_elses_is_not_believed(place: Place) -> None:
    name = drop(place.directory, whole(Submission("me", (Recipient("you"),), user=0, written=5.0), MAIL))
    os.chown(Path(place.directory) / name, 65534, 65534)
    place.pickup.round()
    assert place.receiver.messages[0][0].user == 65534
    assert place.receiver.messages[0][0].written > 5


def test_what_import_queue_has_left_is_whose_it_was(place: Place) -> None:
    drop(place.directory, whole(Submission("joe", (Recipient("you"),), user=1000, written=5.0), MAIL))
    place.pickup.round()
    assert (place.receiver.messages[0][0].user, place.receiver.messages[0][0].written) == (1000, 5.0)


@pytest.mark.root
def test_whoever_leaves_very_much_does_not_hide_the_mail_of_others(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("postwarden.roles.agent_pickup._OF_ONE", 2)
    for _ in range(30):
        os.chown(Path(place.directory) / place.leave("slow"), 65534, 65534)
    place.leave("quick")
    place.receiver.say = lambda one: Answer("later" if one.recipients[0].address == "slow" else "accepted", "quota")
    assert place.pickup.round() == 1
    assert len(place.receiver.messages) == 3


def test_a_file_that_its_owner_takes_back_meanwhile_is_forgotten(place: Place) -> None:
    name = place.leave()

    def say(_: Submission) -> Answer:
        os.unlink(Path(place.directory) / name)
        return Answer("accepted")

    place.receiver.say = say
    assert place.pickup.round() == 1
    assert place.log == []


def test_while_nobody_listens_it_stays_and_that_is_said_once(place: Place) -> None:
    place.leave()
    place.receiver.close()
    os.unlink(socket_path(place.queue))
    for _ in range(3):
        assert place.pickup.round() == 0
    assert len(place.files) == 1
    assert len(place.log) == 1
    assert place.log[0].startswith("warning: local mail waits: ")


def test_who_does_not_answer_has_not_taken_it(place: Place) -> None:
    place.leave()
    place.receiver.say = lambda _: None
    assert place.pickup.round() == 0
    assert len(place.files) == 1
    place.receiver.say = lambda _: Answer("accepted")
    assert place.pickup.round() == 1
    assert place.files == []


def test_what_is_put_off_stays_for_a_while_and_holds_up_nobody(place: Place) -> None:
    place.leave("slow")
    place.receiver.say = lambda one: Answer("later" if one.recipients[0].address == "slow" else "accepted", "quota")
    place.leave("quick")
    assert place.pickup.round() == 1
    assert len(place.files) == 1
    assert "quota -- it stays there" in place.log[0]
    assert place.pickup.round() == 0
    assert len(place.receiver.messages) == 2
    place.now += 61
    place.receiver.say = lambda _: Answer("accepted")
    assert place.pickup.round() == 1
    assert place.files == []


@pytest.mark.parametrize("verdict", ["refused", "denied"])
def test_what_is_refused_is_kept_for_the_operator(place: Place, verdict: str) -> None:
    name = place.leave()
    place.receiver.say = lambda _: Answer(verdict, "not authorized")
    assert place.pickup.round() == 0
    assert place.files == [REFUSED + name]
    said = f"uid={ME}: not accepted: not authorized; it is kept as {REFUSED}{name}"
    assert place.log == [f"warning: maildrop/{name}: {said}"]
    place.pickup.round()
    assert len(place.receiver.messages) == 1


def malformed() -> Iterator[tuple[str, bytes]]:
    good = b"".join(whole(Submission("me", (Recipient("you"),)), MAIL))
    yield "empty", b""
    yield "nonsense", b"From: x\n\n"
    yield "cut", good[:-1]
    yield "changed", good.replace(b"body", b"BODY")
    yield "newline", b"".join(whole(Submission("me\nx", (Recipient("you"),)), MAIL))


@pytest.mark.parametrize("data", [pytest.param(data, id=name) for name, data in malformed()])
def test_what_is_no_message_is_set_aside_and_nothing_of_it_is_taken(place: Place, data: bytes) -> None:
    name = drop(place.directory, [data])
    assert place.pickup.round() == 0
    assert place.files == [REFUSED + name]
    assert "malformed: " in place.log[0]
    assert place.receiver.messages == []


def test_a_file_that_is_too_large_is_not_read(place: Place) -> None:
    name = place.leave()
    os.truncate(Path(place.directory) / name, 11 << 20)
    place.pickup.round()
    assert "too large" in place.log[0]
    assert place.receiver.messages == []


def test_one_user_does_not_hold_up_the_others(place: Place) -> None:
    for _ in range(120):
        place.leave()
    assert place.pickup.round() == 100
    assert place.pickup.round() == 20


def test_files_that_wait_take_nobodys_place(place: Place) -> None:
    for _ in range(100):
        place.leave("slow")
    place.receiver.say = lambda one: Answer("later" if one.recipients[0].address == "slow" else "accepted", "quota")
    assert place.pickup.round() == 0
    place.leave("quick")
    assert place.pickup.round() == 1
    assert len(place.files) == 100


def test_what_can_not_be_removed_is_not_brought_again(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.leave()

    def read_only(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", read_only)
        place.pickup.round()
        place.now += 61
        place.pickup.round()
    assert len(place.receiver.messages) == 1
    assert "Read-only file system" in place.log[0]
    place.now += 61
    place.pickup.round()
    assert place.files == []
    assert len(place.receiver.messages) == 1


def test_leftovers_go_after_a_day(place: Place) -> None:
    unfinished = Path(place.directory) / ("0" * 32)
    unfinished.write_text("x")
    place.pickup.round()
    assert place.files == [unfinished.name]
    place.now += 2 * 86400
    place.pickup.round()
    assert place.files == []
    assert place.log == [f"info: maildrop/{unfinished.name}: was never finished: removed"]


def test_a_thousand_leftovers_cost_neither_much_time_nor_many_lines(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("postwarden.roles.agent_pickup._REMOVED", 30)
    for n in range(50):
        (Path(place.directory) / f"left{n}").touch()
        (Path(place.directory) / f"stuck{n}" / "x").mkdir(parents=True)
    place.leave()
    place.now += 2 * 86400
    assert place.pickup.round() == 1
    assert len(place.files) == 70
    place.pickup.round()
    assert len(place.files) == 50
    assert len(place.log) <= 42
    assert place.log[-1].endswith("20 names that were never finished removed, 50 could not be removed")
    lines = len(place.log)
    place.pickup.round()
    assert len(place.log) == lines


def test_a_directory_that_is_gone_is_told_of_once(place: Place) -> None:
    os.rmdir(place.directory)
    for _ in range(3):
        assert place.pickup.round() == 0
    assert len(place.log) == 1


def test_a_porter_that_died_is_followed_by_another_but_not_at_once() -> None:
    porter, begun = Porter(), []

    def begin() -> int:
        pid = os.fork()
        if pid == 0:
            os._exit(0)
        begun.append(pid)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        return pid

    porter.look_after(0.0, begin)
    porter.look_after(1.0, begin)
    assert len(begun) == 1
    porter.look_after(6.0, begin)
    assert len(begun) == 2
    porter.end(6.0)
    porter.look_after(6.1, begin)
    assert len(begun) == 3
    porter.kill()


def test_a_porter_is_asked_to_end_before_it_is_killed() -> None:
    porter = Porter()
    ready, tell = os.pipe()

    def begin() -> int:
        if pid := os.fork():
            return pid
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        os.write(tell, b"x")
        signal.pause()
        os._exit(0)

    try:
        porter.look_after(0.0, begin)
        assert os.read(ready, 1) == b"x"
    finally:
        os.close(ready)
        os.close(tell)
    porter.end(1.0)
    porter.end(3.0)
    porter.look_after(5.9, begin)
    assert porter.alive
    porter.look_after(6.0, begin)
    deadline = time.monotonic() + 10
    while porter.alive:
        assert time.monotonic() < deadline


def test_it_leaves_between_two_messages(place: Place) -> None:
    place.leave("a")
    place.leave("b")
    place.pickup = Pickup(
        place.queue, 10_000, Me(), place.events.append, leave=lambda: len(place.receiver.messages) > 0
    )
    assert place.pickup.round() == 1
    assert len(place.files) == 1


def test_two_do_not_bring_the_same(place: Place) -> None:
    """The agent was killed; its porter has a message in hand, and the next agent's begins."""
    place.leave()
    events: list[Event] = []
    other = Pickup(place.queue, 10_000, Me(), events.append)
    found: list[int] = []

    def say(_: Submission) -> Answer:
        found.append(other.round())
        return Answer("accepted")

    place.receiver.say = say
    assert place.pickup.round() == 1
    assert (found, events) == ([0], [])
    assert len(place.receiver.messages) == 1
    assert other.round() == 0
