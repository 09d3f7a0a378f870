"""The disk below the queue fails, and the whole gateway goes on: 452 or 451 and never 250, deliveries free space,
recovery needs no restart, and nothing that was answered with 250 is lost."""

import contextlib
import os
import smtplib
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.disks import fill, in_memory, mounted
from tests.ports import free_port
from tests.whole import Gateway, Sink, running, until

pytestmark = [pytest.mark.slow, pytest.mark.root]

SOON = {"minimal_backoff_time": "1s", "maximal_backoff_time": "1s", "queue_run_delay": "1s"}
SMALL = "Subject: {}\r\n\r\nbody\r\n"
BIG = "Subject: {}\r\n\r\n" + ("x" * 70 + "\r\n") * 8000


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with in_memory(tmp_path / "queue", "size=96m,nr_inodes=200") as disk:
        yield disk


def occupy(disk: Path) -> list[Path]:
    """All names."""
    made = []
    with contextlib.suppress(OSError):
        for n in range(10_000):
            path = disk / f"name-{n}"
            path.touch()
            made.append(path)
    return made


class Answers:
    """Messages that are sent one by one, and what was said to them."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.accepted: list[str] = []
        self.number = 0

    def send(self, content: str = SMALL) -> tuple[int, bytes]:
        """The reply that decided."""
        self.number += 1
        name = f"n{self.number}"
        try:
            with smtplib.SMTP("127.0.0.1", self.gateway.port, timeout=30) as client:
                client.sendmail("a@client.example", ["r@sink.example"], content.format(name))
        except smtplib.SMTPRecipientsRefused as error:
            ((code, text),) = error.recipients.values()
            return code, text
        except smtplib.SMTPResponseException as error:
            return error.smtp_code, bytes(error.smtp_error)
        self.accepted.append(name)
        return 250, b""


def arrived(sink: Sink, answers: Answers) -> bool:
    names = {content.partition(b"Subject: ")[2].partition(b"\r\n")[0].decode() for _, _, content in sink.messages}
    return set(answers.accepted) <= names


@pytest.mark.parametrize("guard", ["queue_minfree", "nothing"])
def test_a_full_disk(tmp_path: Path, small_disk: Path, guard: str) -> None:
    """`nothing`: a message_size_limit so small that only the failing write tells."""
    limit = "10240000" if guard == "queue_minfree" else "1000"
    port = free_port()
    with running(Gateway(tmp_path, port, message_size_limit=limit, **SOON)) as gateway:
        answers = Answers(gateway)
        for _ in range(30):
            assert answers.send()[0] == 250
        until(lambda: gateway.log().count("status=deferred") >= 30)
        ballast = fill(small_disk)
        time.sleep(0.5)  # what is known of the room is at most 0.2 s old
        # In the last pages of files that are there a few bytes may still find room.
        refused = [reply for reply in (answers.send() for _ in range(200)) if reply[0] != 250]
        assert len(refused) > 100 and set(refused) == {(452, b"4.3.1 Insufficient system storage")}
        sink = Sink(port=port)
        until(lambda: arrived(sink, answers), 60, "deliveries go on")
        ballast.unlink()
        until(lambda: answers.send()[0] == 250, 60, "it recovers")
        until(lambda: arrived(sink, answers))
        until(lambda: gateway.log().count(": removed") == len(answers.accepted))
        assert len(sink.messages) == len(answers.accepted)
        assert "panic" not in gateway.log() and "exit status" not in gateway.log()
        sink.close()


def test_deliveries_free_space(tmp_path: Path, small_disk: Path) -> None:
    """Nobody helps: the queue itself fills the disk, and when the remote is back its mail goes and there is room."""
    port = free_port()
    with running(Gateway(tmp_path, port, message_size_limit="1000000", **SOON)) as gateway:
        answers = Answers(gateway)
        until(lambda: answers.send(BIG)[0] == 452)
        assert len(answers.accepted) > 20
        sink = Sink(port=port)
        until(lambda: answers.send(BIG)[0] == 250, 60, "space is free again")
        until(lambda: arrived(sink, answers), 60, f"nothing is lost, {len(sink.messages)}")
        sink.close()


def test_no_inodes(tmp_path: Path, small_disk: Path) -> None:
    sink = Sink()
    with running(Gateway(tmp_path, sink.port, **SOON)) as gateway:
        answers = Answers(gateway)
        names = occupy(small_disk)
        assert len(names) > 100
        refused = {answers.send(content) for content in (SMALL, BIG) for _ in range(20)}
        assert {code for code, _ in refused} == {452}, refused
        for name in names:
            name.unlink()
        for content in (SMALL, BIG):
            until(lambda content=content: answers.send(content)[0] == 250, 60, "it recovers")
        until(lambda: arrived(sink, answers))
    sink.close()


def test_a_directory_that_can_not_be_written(tmp_path: Path) -> None:
    sink = Sink()
    with running(Gateway(tmp_path, sink.port, **SOON)) as gateway:
        answers = Answers(gateway)
        directories = [path for path in (gateway.queue / "postwarden" / "incoming").iterdir() if path.is_dir()]
        owners = [path.stat().st_uid for path in directories]
        assert directories
        for path in directories:
            os.chown(path, 0, 0)
            path.chmod(0o755)
        refused = {answers.send(content) for content in (SMALL, BIG) for _ in range(5)}
        assert {code for code, _ in refused} == {451}, refused
        until(lambda: "queue file write error in" in gateway.log())
        for path, owner in zip(directories, owners, strict=True):
            os.chown(path, owner, -1)
        for content in (SMALL, BIG):
            until(lambda content=content: answers.send(content)[0] == 250, 60, "it recovers")
        until(lambda: arrived(sink, answers))
    sink.close()


def test_a_file_system_that_turns_read_only(tmp_path: Path) -> None:
    """As ext4 does after an error of the disk. What was answered with 250 is delivered now or after the repair."""
    image = tmp_path / "image"
    with image.open("wb") as file:
        file.truncate(120 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-O", "^has_journal", image], check=True, timeout=60)
    port = free_port()
    with mounted(tmp_path / "queue", "-o", "loop,errors=remount-ro", str(image)):
        gateway = Gateway(tmp_path, port, **SOON)
        with running(gateway):
            answers = Answers(gateway)
            for _ in range(10):
                assert answers.send()[0] == 250
            assert answers.send(BIG)[0] == 250
            until(lambda: gateway.log().count("status=deferred") >= 11)
            done = subprocess.run(["mount", "-o", "remount,abort", gateway.queue], capture_output=True, text=True)
            if writable(gateway.queue):
                pytest.skip(f"the kernel does not play: {done.stderr}")
            refused = {answers.send(content) for content in (SMALL, BIG) for _ in range(10)}
            assert {code for code, _ in refused} <= {451, 452}, refused
            assert all(gateway.pids(role) for role in ("receiver", "courier", "carrier"))
            assert gateway.command("status").returncode == 0
        refusal = gateway.command("start", check=False)
        assert refusal.returncode == 1 and "Read-only file system" in refusal.stderr + gateway.log()
        assert "Traceback" not in refusal.stderr
    subprocess.run(["fsck.ext4", "-fy", image], capture_output=True, timeout=60)
    (tmp_path / "queue").rmdir()
    sink = Sink(port=port)
    with mounted(tmp_path / "queue", "-o", "loop", str(image)), running(gateway):
        until(lambda: arrived(sink, answers), 60, "the mail lives")
    sink.close()


def writable(directory: Path) -> bool:
    try:
        (directory / "probe").touch()
    except OSError:
        return False
    return True
