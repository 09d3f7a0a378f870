"""Mail that local users leave while the gateway is down: who leaves it may die at any moment, and so may who takes it.
A kill of the agent brings at most the one message twice that its porter had in hand."""

import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.fault.test_disk import fill, small_disk
from tests.mixed import letter
from tests.whole import PROGRAM, Gateway, Sink, children, running, until

from postwarden.mail.envelope import Recipient
from postwarden.spool.maildrop import Maildrop, drop, maildrop_directory, make_maildrop
from postwarden.wire.submission import Submission, whole

pytestmark = pytest.mark.slow
__all__ = ["small_disk"]


def leave(directory: str, name: str) -> str:
    return drop(directory, whole(Submission("a@home.example", (Recipient("r@sink.example"),)), [letter(name).encode()]))


def names(sink: Sink) -> Counter[str]:
    found = [content.partition(b"X-Name: ")[2].partition(b"\r\n")[0].decode() for _, _, content in list(sink.messages)]
    return Counter(found)


@pytest.mark.parametrize("call", ["open 3", "write 1", "fsync 1", "fchmod 2", "fsync 2"])
def test_who_leaves_it_is_killed(tmp_path: Path, call: str) -> None:
    """Before its n-th call: nothing is taken that was not whole and synced."""
    directory = str(tmp_path / "maildrop")
    make_maildrop(directory)
    pid = os.fork()
    if pid == 0:
        name, _, number = call.partition(" ")
        real: Callable[..., object] = getattr(os, name)
        left = int(number)

        def last(*words: object, **named: object) -> object:
            nonlocal left
            left -= 1
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*words, **named)

        setattr(os, name, last)
        try:
            leave(directory, "x")
        finally:
            os._exit(0)
    assert os.WIFSIGNALED(os.waitpid(pid, 0)[1]), "it has no such call"
    maildrop = Maildrop(directory)
    complete = list(maildrop.complete())
    maildrop.close()
    # The second fsync follows the mark: the file is whole, and its writer was not told so.
    assert len(complete) == (call == "fsync 2")
    assert len(os.listdir(directory)) == (call != "open 3")


def test_who_takes_it_is_killed(tmp_path: Path) -> None:
    sink = Sink()
    gateway = Gateway(tmp_path, sink.port)
    with running(gateway):
        gateway.stop()
        assert gateway.command("status", check=False).returncode == 1
        directory = maildrop_directory(str(gateway.queue))
        left = {f"n{n}" for n in range(200)}
        for name in sorted(left):
            leave(directory, name)
        gateway.start()
        kills = 0
        while kills < 2:
            before = len(names(sink))
            until(lambda before=before: len(names(sink)) > before + 20)
            until(lambda: gateway.pids("agent"))
            agent = gateway.pids("agent")[0]
            for pid in (agent, *children(agent)):
                os.kill(pid, signal.SIGKILL)
            kills += 1
        until(lambda: not [name for name in os.listdir(directory) if len(name) == 32], 60)
        until(lambda: names(sink).keys() == left and gateway.log().count(": removed") == names(sink).total())
    sink.close()
    twice = names(sink).total() - len(left)
    print(f"{kills} kills, {twice} brought twice")
    assert twice <= kills


def test_a_stop_brings_nothing_twice(tmp_path: Path) -> None:
    sink = Sink()
    gateway = Gateway(tmp_path, sink.port)
    with running(gateway):
        gateway.stop()
        directory = maildrop_directory(str(gateway.queue))
        left: set[str] = set()
        while not [name for name in os.listdir(directory) if len(name) == 32]:
            assert len(left) < 4000, "it is too quick to be stopped half-way"
            more, before = {f"n{len(left) + n}" for n in range(400)}, len(sink.messages)
            left |= more
            for name in sorted(more):
                leave(directory, name)
            gateway.start()
            until(lambda before=before: len(sink.messages) > before)
            os.kill(gateway.master_pid, signal.SIGHUP)
            until(lambda before=before: len(sink.messages) > before + 40)
            gateway.stop()
        gateway.start()
        until(lambda: names(sink).keys() == left)
        until(lambda: gateway.log().count(": removed") == len(left))
    sink.close()
    assert set(names(sink).values()) == {1}


@pytest.mark.root
def test_a_full_disk(tmp_path: Path, small_disk: Path) -> None:
    """sendmail says that it was not taken, and leaves nothing half; with room again it is taken."""
    sink = Sink()
    gateway = Gateway(tmp_path, sink.port, message_size_limit="1000000")

    def send(size: int) -> int:
        words = [PROGRAM, "sendmail", "-C", gateway.etc, "-f", "a@home.example", "r@sink.example"]
        text = "Subject: x\n\n" + "some text\n" * (size // 10)
        return subprocess.run(words, input=text, text=True, timeout=60, capture_output=True).returncode

    with running(gateway):
        assert send(100) == 0
        until(lambda: len(sink.messages) == 1)
        ballast = fill(small_disk)
        time.sleep(0.5)
        assert {send(size) for size in (100, 500_000)} <= {69, 75}
        gateway.stop()
        fill(small_disk)
        directory = Path(maildrop_directory(str(gateway.queue)))
        assert {send(size) for size in (100_000, 500_000)} <= {69, 75}
        assert not list(directory.iterdir())
        ballast.unlink()
        assert send(100) == send(500_000) == 0
        gateway.start()
        until(lambda: len(sink.messages) == 3)
    sink.close()
