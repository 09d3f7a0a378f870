"""Where local users leave their mail while the mail system is down: `$queue_directory/postwarden/maildrop`.

Everybody may make a file there, nobody but the owner of the directory may see which there are (mode 1733). A file is
written whole and synced, then marked complete by its owner's execute bit, as Postfix does it, and synced again: a name
that is there without the mark is what a crash left, or is being written. Whose the mail is, is the owner of the file.

What is in a file is what would have been said to the socket (`wire.submission`). Who wrote it is not believed: the
directory's reader opens only regular files with one name, never waits for one, and reads no more than it wants.
"""

import contextlib
import errno
import fcntl
import os
import re
import stat
from collections.abc import Iterable, Iterator

from msgspec import Struct

_MODE = 0o1733
_COMPLETE = stat.S_IXUSR
_NAME = re.compile(r"[0-9a-f]{32}\Z")
_LATEST = float(1 << 33)
"""Epoch seconds: in the year 2242."""
_FLAGS = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
REFUSED = "refused-"
"""Before the name of a file that the mail system would not have: for the operator to look at."""
STAGED = "staged-"
"""Before the name of a file that is whole and not to be taken yet (`release`)."""


class Dropped(Struct, frozen=True):
    """A complete file. `when`: of its last change, seconds since the epoch."""

    name: str
    uid: int
    size: int
    when: float


def maildrop_directory(queue_directory: str) -> str:
    return os.path.join(queue_directory, "postwarden", "maildrop")


def make_maildrop(directory: str) -> None:
    """Make it, or mend its mode. It is its maker's: when root is, the roles have no part in it. Raises OSError."""
    with contextlib.suppress(FileExistsError):
        os.mkdir(directory, 0o700)
    fd = os.open(directory, os.O_RDONLY | _FLAGS)
    try:
        if os.geteuid() == 0:
            os.fchown(fd, 0, 0)
        os.fchmod(fd, _MODE)
    finally:
        os.close(fd)


def drop(directory: str, parts: Iterable[bytes], staged: str = "") -> str:
    """Leave a message there; its name, once it is durable. `staged`: under this name (32 hexadecimal digits), which
    nobody takes before `release`; one that is there is replaced. Raises OSError, and what reading `parts` raises: then
    nothing is left."""
    above = _open(directory, os.O_PATH)
    try:
        state = os.fstat(above)
        if stat.S_IMODE(state.st_mode) != _MODE:
            raise PermissionError(errno.EPERM, "not a maildrop directory", directory)
        name = STAGED + staged if staged else os.urandom(16).hex()
        if staged:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name, dir_fd=above)
        # If the mail system does not run as root, it could not read a file of somebody else: nobody can list the names.
        closed = state.st_uid in (0, os.geteuid())
        fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=above)
        try:
            mode = 0o600 if closed else 0o644
            os.fchmod(fd, mode)
            for part in parts:
                _write(fd, part)
            os.fsync(fd)
            os.fchmod(fd, mode | _COMPLETE)
            os.fsync(fd)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(name, dir_fd=above)
            raise
        finally:
            os.close(fd)
        return name
    finally:
        os.close(above)


def staged(directory: str) -> list[str]:
    """Names (32 hexadecimal digits) of what was staged. Raises OSError."""
    fd = _open(directory, os.O_RDONLY)
    try:
        return [name.removeprefix(STAGED) for name in os.listdir(fd) if name.startswith(STAGED)]
    finally:
        os.close(fd)


def release(directory: str, name: str) -> None:
    """What was staged under this name may be taken now. FileNotFoundError where nothing is; OSError."""
    fd = _open(directory, os.O_RDONLY)
    try:
        os.rename(STAGED + name, name, src_dir_fd=fd, dst_dir_fd=fd)
        os.fsync(fd)
    finally:
        os.close(fd)


class Maildrop:
    """The directory, for the agent. All methods raise OSError."""

    def __init__(self, directory: str) -> None:
        self._fd = _open(directory, os.O_RDONLY)
        if os.fstat(self._fd).st_uid not in (0, os.geteuid()):
            os.close(self._fd)
            raise PermissionError(errno.EPERM, "belongs to somebody else", directory)

    def close(self) -> None:
        os.close(self._fd)

    def lock(self) -> None:
        """Until it is closed nobody else takes files from here. BlockingIOError where somebody does. Those who only may
        make files can't open the directory, and so can't hold this lock."""
        fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def has(self, name: str) -> bool:
        """Whether it is a complete file here."""
        if not _NAME.match(name):
            return False
        try:
            state = os.stat(name, dir_fd=self._fd, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return _is_complete(state)

    def complete(self) -> Iterator[Dropped]:
        """Complete files, as the directory has them. One that is gone meanwhile is left out."""
        with os.scandir(self._fd) as entries:
            for entry in entries:
                if not _NAME.match(entry.name):
                    continue
                with contextlib.suppress(FileNotFoundError):
                    state = os.stat(entry.name, dir_fd=self._fd, follow_symlinks=False)
                    if _is_complete(state):
                        yield _dropped(entry.name, state)

    def leftovers(self, before: float) -> Iterator[str]:
        """Names that are no complete files and have not changed since `before`."""
        with os.scandir(self._fd) as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):
                    state = os.stat(entry.name, dir_fd=self._fd, follow_symlinks=False)
                    whole = _is_complete(state) and _NAME.match(entry.name)
                    if not whole and not entry.name.startswith((REFUSED, STAGED)) and state.st_ctime < before:
                        yield entry.name

    def open(self, name: str) -> tuple[int, Dropped]:
        """A descriptor, and what the file is by now. PermissionError for what is no file of the right kind."""
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=self._fd)
        state = os.fstat(fd)
        if not _is_complete(state):
            os.close(fd)
            raise PermissionError(errno.EPERM, "not a complete regular file with one name", name)
        return fd, _dropped(name, state)

    def remove(self, name: str) -> None:
        try:
            os.unlink(name, dir_fd=self._fd)
        except IsADirectoryError:
            os.rmdir(name, dir_fd=self._fd)
        os.fsync(self._fd)

    def set_aside(self, name: str) -> str:
        """Keep it for the operator, and look at it no more; its new name."""
        kept = REFUSED + name
        os.rename(name, kept, src_dir_fd=self._fd, dst_dir_fd=self._fd)
        return kept


def _open(directory: str, how: int) -> int:
    """The last two parts of the path may be no links: the directory above belongs to the roles."""
    above, name = os.path.split(directory)
    spool = os.open(above, os.O_PATH | _FLAGS)
    try:
        return os.open(name, how | _FLAGS, dir_fd=spool)
    finally:
        os.close(spool)


def _dropped(name: str, state: os.stat_result) -> Dropped:
    # The time is the user's to set, on some file systems to a year that no calendar has.
    return Dropped(name, state.st_uid, state.st_size, min(max(state.st_mtime, 0.0), _LATEST))


def _is_complete(state: os.stat_result) -> bool:
    """A second name would let somebody hand in a file of somebody else as that one's mail."""
    return stat.S_ISREG(state.st_mode) and state.st_nlink == 1 and bool(state.st_mode & _COMPLETE)


def _write(fd: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]
