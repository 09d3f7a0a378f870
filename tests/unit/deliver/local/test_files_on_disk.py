"""Opening, locking, mbox and Maildir, on a real directory."""

import errno
import fcntl
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from postwarden.config.errors import ConfigError
from postwarden.deliver.local import maildir, mbox
from postwarden.deliver.local.faults import MailboxFault, code_of
from postwarden.deliver.local.locks import Locker, plan
from postwarden.deliver.local.opening import open_for_append
from postwarden.mail.decision import BUILT_IN
from postwarden.mail.events import Event
from postwarden.testing.local import LocalMachine

METHODS = ("fcntl", "dotlock")


def locker(machine: LocalMachine, *methods: str, attempts: int = 3, stale: float = 500) -> Locker:
    around = machine.surroundings
    return Locker(plan(methods or METHODS, attempts, 1, stale, BUILT_IN), around.now, around.sleep)


def append(path: Path, *pieces: bytes, limit: int = 0, lock: Locker | None = None) -> None:
    with mbox.locked(str(path), lock or locker(LocalMachine())) as (fd, _):
        mbox.append(fd, pieces, limit)


def test_a_mailbox_is_made_private_and_grows(tmp_path: Path) -> None:
    box = tmp_path / "joe"
    append(box, b"one\n", b"two\n")
    append(box, b"three\n")
    assert box.read_bytes() == b"one\ntwo\nthree\n"
    assert stat.S_IMODE(box.stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == ["joe"]


def test_over_the_limit_nothing_is_left(tmp_path: Path) -> None:
    box = tmp_path / "joe"
    append(box, b"one\n")
    with pytest.raises(MailboxFault) as caught:
        append(box, b"x" * 5, b"y" * 5, limit=10)
    assert (caught.value.code, caught.value.text) == ("5.2.2", "error writing message: File too large")
    assert box.read_bytes() == b"one\n"
    append(box, b"123456", limit=10)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
def test_a_write_that_fails_is_undone(tmp_path: Path, number: int) -> None:
    box = tmp_path / "joe"
    append(box, b"one\n")

    def pieces() -> Iterator[bytes]:
        yield b"part"
        raise OSError(number, os.strerror(number))

    with pytest.raises(MailboxFault) as caught, mbox.locked(str(box), locker(LocalMachine())) as (fd, _):
        mbox.append(fd, pieces(), 0)
    assert caught.value.code == ("5.2.2" if number == errno.EDQUOT else "4.3.0")
    assert caught.value.text == f"error writing message: {os.strerror(number)}"
    assert box.read_bytes() == b"one\n"
    assert os.listdir(tmp_path) == ["joe"]


def test_a_full_device_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(MailboxFault) as caught:
        append(Path("/dev/full"), b"x")
    assert (caught.value.code, caught.value.text) == ("4.3.0", "error writing message: No space left on device")
    append(Path("/dev/null"), b"x")
    assert not os.path.exists("/dev/null.lock")


def test_a_body_file_that_is_too_short_puts_off(tmp_path: Path) -> None:
    def pieces() -> Iterator[bytes]:
        yield b"part"
        raise EOFError("short")

    with pytest.raises(MailboxFault) as caught, mbox.locked(f"{tmp_path}/joe", locker(LocalMachine())) as (fd, _):
        mbox.append(fd, pieces(), 0)
    assert caught.value.code == "4.3.0"
    assert (tmp_path / "joe").read_bytes() == b""


@pytest.mark.parametrize(
    ("number", "code"),
    [(errno.EAGAIN, "4.2.0"), (errno.ENOSPC, "4.3.0"), (errno.EFBIG, "5.2.2"), (errno.EACCES, "5.2.0")],
)
def test_codes(number: int, code: str) -> None:
    assert code_of(number, "5.2.0") == code


# Opening


def refused(path: Path) -> str:
    with pytest.raises(MailboxFault) as caught:
        open_for_append(str(path))
    assert caught.value.code == "5.2.0"
    return caught.value.text


def test_what_is_no_mailbox_is_not_opened(tmp_path: Path) -> None:
    (tmp_path / "dir").mkdir()
    assert refused(tmp_path / "dir") == "cannot open file: Is a directory"
    (tmp_path / "one").touch()
    os.link(tmp_path / "one", tmp_path / "two")
    assert refused(tmp_path / "two") == "file has 2 hard links"
    os.symlink(tmp_path / "nowhere", tmp_path / "dangling")
    assert refused(tmp_path / "dangling") == "cannot open file: No such file or directory"
    assert not (tmp_path / "nowhere").exists()
    assert refused(tmp_path / "none" / "joe") == "cannot create file exclusively: No such file or directory"


def test_a_link_in_a_directory_of_all_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "target").touch()
    (tmp_path / "spool").mkdir()
    (tmp_path / "spool").chmod(0o777)
    os.symlink(tmp_path / "target", tmp_path / "spool" / "joe")
    assert refused(tmp_path / "spool" / "joe") == "file is a symbolic link"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_roots_link_in_roots_directory_is_followed(tmp_path: Path) -> None:
    (tmp_path / "target").touch()
    os.symlink(tmp_path / "target", tmp_path / "joe")
    tmp_path.chmod(0o755)
    fd, _ = open_for_append(str(tmp_path / "joe"))
    os.close(fd)


def test_a_fifo_does_not_hold_us_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    assert refused(tmp_path / "fifo") == "cannot open file: No such device or address"


# Locks


def test_a_dotlock_of_another_is_waited_for(tmp_path: Path) -> None:
    machine = LocalMachine()
    lock = tmp_path / "joe.lock"
    lock.touch()
    machine.time = lock.stat().st_ctime
    with pytest.raises(MailboxFault) as caught:
        append(tmp_path / "joe", b"x", lock=locker(machine))
    assert caught.value.code == "4.2.0"
    assert caught.value.text == f"unable to create lock file {lock}: File exists"
    assert machine.slept == pytest.approx(3)
    assert lock.exists()
    assert not (tmp_path / "joe").exists()


def test_a_stale_dotlock_is_removed(tmp_path: Path) -> None:
    machine = LocalMachine()
    lock = tmp_path / "joe.lock"
    lock.touch()
    machine.time = lock.stat().st_ctime + 501
    append(tmp_path / "joe", b"x", lock=locker(machine))
    assert os.listdir(tmp_path) == ["joe"]


def test_flock_of_another_is_waited_for(tmp_path: Path) -> None:
    machine = LocalMachine()
    box = tmp_path / "joe"
    box.touch()
    with box.open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(MailboxFault) as caught:
            append(box, b"x", lock=locker(machine, "flock"))
    assert caught.value.code == "4.2.0"
    assert caught.value.text == "unable to lock for exclusive access: Resource temporarily unavailable"
    assert machine.slept == pytest.approx(3)


HOLDER = "import fcntl, sys; f = open(sys.argv[1], 'ab'); fcntl.lockf(f, fcntl.LOCK_EX); print(flush=True); input()"


def test_fcntl_lock_of_another_process_is_waited_for(tmp_path: Path) -> None:
    box = tmp_path / "joe"
    box.touch()
    with subprocess.Popen([sys.executable, "-c", HOLDER, box], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        machine = LocalMachine()
        with pytest.raises(MailboxFault) as caught:
            append(box, b"x", lock=locker(machine, "fcntl"))
        assert caught.value.code == "4.2.0"
        other.communicate(b"\n", timeout=10)
    append(box, b"x", lock=locker(LocalMachine(), "fcntl"))


def test_a_directory_without_dotlocks(tmp_path: Path) -> None:
    told: list[Event] = []
    path = tmp_path / "none" / "joe"
    with (
        pytest.raises(MailboxFault, match="unable to create lock file"),
        mbox.locked(str(path), locker(LocalMachine())),
    ):
        pass
    with (
        pytest.raises(MailboxFault, match="cannot create file"),
        mbox.locked(str(path), locker(LocalMachine()), lenient=told.append),
    ):
        pass
    assert [str(event) for event in told] == [f"unable to create lock file {path}.lock: No such file or directory"]


@pytest.mark.parametrize("methods", [(), ("fcntl", "nfs")])
def test_a_plan_needs_methods_that_exist(methods: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match="locking method"):
        plan(methods, 1, 1, 1, BUILT_IN)


# Maildir


def test_a_maildir_is_made(tmp_path: Path) -> None:
    home = f"{tmp_path}/home/Maildir/"
    path = Path(maildir.deliver(home, [b"a\n", b"b\n"], now=1_700_000_000.25, host="box", limit=0))
    state = path.stat()
    assert path.read_bytes() == b"a\nb\n"
    assert path.name == f"1700000000.V{state.st_dev:x}I{state.st_ino:x}M250000.box"
    assert path.parent == tmp_path / "home" / "Maildir" / "new"
    assert sorted(os.listdir(home)) == ["cur", "new", "tmp"]
    assert os.listdir(f"{home}tmp") == []
    assert stat.S_IMODE(os.stat(home).st_mode) == 0o700
    assert stat.S_IMODE(state.st_mode) == 0o600


def test_two_messages_of_one_moment(tmp_path: Path) -> None:
    for _ in range(2):
        maildir.deliver(f"{tmp_path}/", [b"a"], now=1.0, host="box", limit=0)
    assert len(os.listdir(tmp_path / "new")) == 2


def test_what_a_killed_process_left_does_not_matter(tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    (tmp_path / "tmp" / f"1.P{os.getpid()}.box").touch()
    maildir.deliver(f"{tmp_path}/", [b"a"], now=1.0, host="box", limit=0)
    assert os.listdir(tmp_path / "tmp") == []


def test_a_maildir_fault_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(MailboxFault) as caught:
        maildir.deliver(f"{tmp_path}/", [b"abc"], now=1.0, host="box", limit=2)
    assert (caught.value.code, caught.value.text) == ("5.2.2", "error writing message: File too large")
    assert os.listdir(tmp_path / "tmp") == []
    (tmp_path / "file").touch()
    with pytest.raises(MailboxFault, match=r"create maildir file .*: Not a directory") as caught:
        maildir.deliver(f"{tmp_path}/file/", [b"abc"], now=1.0, host="box", limit=0)
    assert caught.value.code == "5.2.0"


def test_half_a_message_that_stays_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """btrfs can't cut a file back once a quota is used up."""

    def refused(fd: int, size: int) -> None:
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    monkeypatch.setattr(os, "ftruncate", refused)
    text = "error writing message: File too large"
    with pytest.raises(MailboxFault) as caught:
        append(tmp_path / "joe", b"x" * 9, b"y" * 9, limit=10)
    assert (caught.value.code, caught.value.text) == (
        "5.2.2",
        f"{text}; half of it stays in the file: Disk quota exceeded",
    )
    with pytest.raises(MailboxFault) as caught:
        append(tmp_path / "jane", b"x" * 19, limit=10)
    assert caught.value.text == text
