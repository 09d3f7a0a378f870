"""The operations on files that durability rests on, behind a Protocol, so that tests record them and make them fail.

All raise OSError. Nothing here keeps state.
"""

import errno
import fcntl
import os
import stat
from collections.abc import Sequence
from typing import Protocol

from postwarden.config.durable import sync_directory

Buffers = Sequence[bytes | memoryview]
_IOV_MAX = 1024
_NOT_OURS = (errno.ELOOP, errno.ENXIO, errno.ENOENT)
"""What opening a link, a socket, and what is gone by now says."""
_HERE = -1  # pwritev2(2): at the file's position, which moves on


class Files(Protocol):
    def make_directory(self, path: str) -> None:
        """Make `path` and what lacks above it, durably; nothing to do if it is there."""

    def create(self, path: str) -> int:
        """A new file, open for writing, locked by this process until it is closed or the process ends."""

    def write(self, fd: int, buffers: Buffers) -> None:
        """Write all of it at the file's position, or raise."""

    def sync(self, fd: int) -> None:
        """The file's bytes and size are on the disk when this returns. After an error nothing is known of them."""

    def append(self, fd: int, buffers: Buffers) -> None:
        """`write` and `sync` as one."""

    def truncate(self, fd: int, size: int) -> None: ...

    def close(self, fd: int) -> None: ...

    def rename(self, source: str, target: str) -> None: ...

    def unlink(self, path: str) -> None: ...

    def sync_directory(self, path: str) -> None:
        """Names made, changed and removed in `path` are on the disk when this returns."""

    def free(self, path: str) -> int:
        """Bytes that an unprivileged process may still use."""


class DiskFiles:
    """The real thing."""

    def make_directory(self, path: str) -> None:
        if os.path.isdir(path):
            return
        parent = os.path.dirname(path)
        self.make_directory(parent)
        try:
            os.mkdir(path, 0o700)
        except FileExistsError:
            return
        self.sync_directory(parent)

    def create(self, path: str) -> int:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(fd)
            raise
        return fd

    def write(self, fd: int, buffers: Buffers) -> None:
        for start in range(0, len(buffers), _IOV_MAX):
            part = buffers[start : start + _IOV_MAX]
            size = sum(map(len, part))
            written = os.writev(fd, part)
            if written < size:
                _write_rest(fd, memoryview(b"".join(part))[written:])

    def sync(self, fd: int) -> None:
        os.fdatasync(fd)

    def append(self, fd: int, buffers: Buffers) -> None:
        """One system call, so that the thread gives the interpreter lock away once and has to win it back once."""
        if len(buffers) > _IOV_MAX:
            self.write(fd, buffers)
            self.sync(fd)
            return
        size = sum(map(len, buffers))
        written = os.pwritev(fd, buffers, _HERE, os.RWF_DSYNC)
        if written < size:
            _write_rest(fd, memoryview(b"".join(buffers))[written:])
            self.sync(fd)

    def truncate(self, fd: int, size: int) -> None:
        os.ftruncate(fd, size)

    def close(self, fd: int) -> None:
        os.close(fd)

    def rename(self, source: str, target: str) -> None:
        os.rename(source, target)

    def unlink(self, path: str) -> None:
        os.unlink(path)

    def sync_directory(self, path: str) -> None:
        sync_directory(path)

    def free(self, path: str) -> int:
        figures = os.statvfs(path)
        return figures.f_bavail * figures.f_frsize


def _write_rest(fd: int, rest: memoryview) -> None:
    while rest:
        rest = rest[os.write(fd, rest) :]


def locked(path: str) -> bool:
    """Whether the process that created the file still writes it. The kernel drops the lock with the process."""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def make_spool(directory: str, owner: tuple[int, int] | None = None) -> None:
    """Make the spool directory (`layout.spool_directory`) before roles start; `owner`, when root makes it for others,
    is the uid and gid they run as. One that is there is given to `owner`, but not what is in it. Raises OSError.

    Everybody may pass through to `public`, where the sockets for local users are; nothing else in it is open to them.
    """
    DiskFiles().make_directory(directory)
    _give(directory, owner, 0o711)
    public = os.path.join(directory, "public")
    DiskFiles().make_directory(public)
    _give(public, owner, 0o755)


def _give(directory: str, owner: tuple[int, int] | None, mode: int) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if owner is not None:
            os.fchown(fd, *owner)
        os.fchmod(fd, mode)
    finally:
        os.close(fd)


def make_private(path: str) -> None:
    """An empty file at `path`, if there is none, and nobody but its owner may read it: SQLite makes its files as the
    umask lets it, and everybody may pass through the spool's directory. Raises OSError."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        os.fchmod(fd, 0o600)
    finally:
        os.close(fd)


def strange_file(directory: str, owner: tuple[int, int]) -> str:
    """A file or directory of the queue that is not `owner`'s, so that no role could use it; empty if there is none.
    Looks at no mail: of that there may be much. Raises OSError."""
    receivers = os.path.join(directory, "incoming")
    ours = ("queue.", "courier.lock", "reserve")
    places = [entry.path for entry in os.scandir(directory) if entry.name.startswith(ours)]
    if os.path.isdir(receivers):
        places += [receivers, *[entry.path for entry in os.scandir(receivers)]]
    return next((path for path in sorted(places) if os.lstat(path).st_uid != owner[0]), "")


def give_spool(directory: str, owner: tuple[int, int]) -> int:
    """Give a queue that root has copied here to `owner`; how many files and directories had another. What is handed in
    by users (maildrop) keeps its owner, who counts as its sender. Raises OSError."""
    given = _hand_on(directory, owner)
    for top in ("incoming", "trace"):
        for path, directories, names in os.walk(os.path.join(directory, top)):
            given += sum([_hand_on(os.path.join(path, name), owner) for name in (".", *directories, *names)])
    return given + sum([_hand_on(entry.path, owner) for entry in os.scandir(directory) if entry.is_file()])


def _hand_on(path: str, owner: tuple[int, int]) -> int:
    """Not where a link leads, nor a file that has another name: the former owner may have put it here."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in _NOT_OURS:
            return 0
        raise
    try:
        state = os.fstat(fd)
        ours = stat.S_ISDIR(state.st_mode) or (stat.S_ISREG(state.st_mode) and state.st_nlink == 1)
        if not ours or (state.st_uid, state.st_gid) == owner:
            return 0
        os.fchown(fd, *owner)
    finally:
        os.close(fd)
    return 1
