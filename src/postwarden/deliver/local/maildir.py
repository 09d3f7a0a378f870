"""Delivering to a Maildir: written in `tmp`, synced, linked into `new`."""

import contextlib
import errno
import os
from collections.abc import Callable, Iterable

from postwarden.config.durable import sync_directory
from postwarden.deliver.local.faults import MailboxFault, fault
from postwarden.deliver.local.mbox import write, writing_failed
from postwarden.deliver.local.ports import Surroundings
from postwarden.deliver.local.rights import Rights
from postwarden.mail.events import Warn
from postwarden.mail.status import Status

_DEFAULT = "5.2.0"


def deliver_as(
    rights: Rights,
    around: Surroundings,
    maildir: str,
    pieces: Iterable[bytes],
    limit: int,
    *,
    code: Callable[[MailboxFault], str] = lambda error: error.code,
) -> Status:
    """In the name of `rights`. `code`: which one a fault has there."""
    try:
        with around.identity.acting_as(rights.uid, rights.gid):
            deliver(maildir, pieces, now=around.now(), host=around.host, limit=limit)
    except MailboxFault as error:
        if error.denied:
            around.emit(Warn(f"maildir access problem for UID/GID={rights.uid}/{rights.gid}: {error.text}"))
            around.emit(Warn("perhaps you need to create the maildirs in advance"))
        return Status(code(error), f"maildir delivery failed: {error.text}")
    return Status("2.0.0", "delivered to maildir")


def deliver(maildir: str, pieces: Iterable[bytes], *, now: float, host: str, limit: int) -> str:
    """The path of the new file. `maildir` ends in `/`; it is made, mode 0700, if it is not there. Raises MailboxFault.

    The name in `tmp` is unique by process, the one in `new` by time, device and inode, as Postfix has it.
    """
    second, fraction = divmod(now, 1)
    name = f"{maildir}tmp/{int(second)}.P{os.getpid()}.{host}"
    fd = _create(maildir, name)
    try:
        try:
            _fill(fd, pieces, limit)
            state = os.fstat(fd)
        finally:
            os.close(fd)
        path = f"{maildir}new/{int(second)}.V{state.st_dev:x}I{state.st_ino:x}M{int(fraction * 1_000_000)}.{host}"
        _publish(maildir, name, path)
    finally:
        with contextlib.suppress(OSError):
            os.unlink(name)
    return path


def _create(maildir: str, name: str) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        try:
            return os.open(name, flags, 0o600)
        except FileExistsError:
            # Left over from a delivery of an earlier process with our number that was killed.
            os.unlink(name)
        except FileNotFoundError:
            make(f"{maildir}tmp")
        return os.open(name, flags, 0o600)
    except OSError as error:
        raise fault(error, f"create maildir file {name}", _DEFAULT) from error


def make(path: str) -> None:
    """The directory and those above it, all of them private."""
    missing = []
    while path and path != "/" and not os.path.isdir(path):
        missing.append(path)
        path = os.path.dirname(path)
    for each in reversed(missing):
        with contextlib.suppress(FileExistsError):
            os.mkdir(each, 0o700)


def _fill(fd: int, pieces: Iterable[bytes], limit: int) -> None:
    size = 0
    try:
        for piece in pieces:
            size += len(piece)
            if limit and size > limit:
                raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
            write(fd, piece)
        os.fsync(fd)
    except (OSError, EOFError) as error:
        raise writing_failed(error) from error


def _publish(maildir: str, name: str, path: str) -> None:
    """Link, not rename: it never replaces a file. The directory is synced, so that the name survives a crash, too."""
    try:
        try:
            os.link(name, path)
        except FileNotFoundError:
            make(f"{maildir}cur")
            make(f"{maildir}new")
            os.link(name, path)
        sync_directory(f"{maildir}new")
    except OSError as error:
        raise fault(error, f"create maildir file {path}", _DEFAULT) from error
