"""One mail system on one queue: Postfix's own locks, so that it and we never run on one queue directory.

Postfix's master holds an exclusive flock(2) on `$queue_directory/pid/master.pid` and on `$data_directory/master.lock`
for as long as it lives, and writes its process id, right-aligned in 10 columns, into the first.
"""

import contextlib
import errno
import fcntl
import os
import stat
import time
from pathlib import Path

_TRIES, _PAUSE = 10, 0.005
"""`running` holds a shared lock for microseconds; whoever asks at that moment must not keep a mail system from
starting."""


class AlreadyRunning(Exception):
    """Somebody holds the lock; `pid` is what the file says, 0 when it says nothing."""

    def __init__(self, path: Path, pid: int) -> None:
        super().__init__(f"{path} is locked by process {pid}" if pid else f"{path} is locked")
        self.pid = pid


def pid_file(queue_directory: str) -> Path:
    return Path(queue_directory) / "pid" / "master.pid"


def hold(path: Path, owner: tuple[int, int] | None = None) -> int:
    """Lock `path` and write our process id into it; the descriptor must stay open. A new file is given to `owner`, if
    root makes it for others: Postfix opens the lock of its data directory as mail_owner. Raises AlreadyRunning,
    OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fd = _create(path, owner)
    for n in range(_TRIES):
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if n < _TRIES - 1:
                time.sleep(_PAUSE)
        else:
            write_pid(fd)
            return fd
    pid = _read(fd)
    os.close(fd)
    raise AlreadyRunning(path, pid)


def _create(path: Path, owner: tuple[int, int] | None) -> int:
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        fd = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        fd = os.open(path, flags)
        state = os.fstat(fd)
        if not stat.S_ISREG(state.st_mode) or state.st_nlink != 1:
            # Another name of somebody's file, put here by whoever the directory belongs to, would be overwritten.
            os.close(fd)
            raise PermissionError(errno.EPERM, "not a regular file with one name", str(path)) from None
    else:
        if owner is not None:
            os.fchown(fd, *owner)
    return fd


def write_pid(fd: int) -> None:
    """Say who holds the lock (again, after a fork)."""
    os.ftruncate(fd, 0)
    os.pwrite(fd, b"%10d\n" % os.getpid(), 0)


def running(queue_directory: str) -> int:
    """Process id of the mail system that runs on this queue, ours or Postfix; 0 when none does. Many may ask at once:
    a shared lock is refused only where somebody holds the exclusive one."""
    try:
        fd = _open(pid_file(queue_directory))
    except (FileNotFoundError, NotADirectoryError):
        return 0
    except PermissionError:
        return _running_unreadable(queue_directory)
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _read(fd)
    finally:
        os.close(fd)
    return 0


def _open(path: Path) -> int:
    """For locking. NFS locks only what is open for writing; a file system that an error of the disk made read-only
    must not keep `stop` from working."""
    try:
        return os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        if error.errno != errno.EROFS:
            raise
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


def _running_unreadable(queue_directory: str) -> int:
    """Who may not open the lock for writing asks whether the process that it names lives."""
    with contextlib.suppress(OSError, ValueError):
        pid = int(pid_file(queue_directory).read_text())
        if Path(f"/proc/{pid}").exists():
            return pid
    return 0


def _read(fd: int) -> int:
    try:
        return int(os.pread(fd, 32, 0))
    except ValueError:
        return 0
