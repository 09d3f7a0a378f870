"""Appending to a file in mbox format."""

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Iterable, Iterator

from postwarden.deliver.local.faults import MailboxFault, fault
from postwarden.deliver.local.locks import Locker
from postwarden.deliver.local.opening import open_for_append
from postwarden.deliver.local.room import reserve
from postwarden.mail.events import Event, Warn


@contextlib.contextmanager
def locked(
    path: str,
    locker: Locker,
    *,
    owner: tuple[int, int] | None = None,
    lenient: Callable[[Event], None] | None = None,
) -> Iterator[tuple[int, os.stat_result]]:
    """`path`, opened for appending and locked. Not every destination is a mailbox: `/dev/null` is not locked.

    A `path.lock` comes first, so that nobody finds the new file unlocked; `lenient` is told where none can be made,
    and then the kernel's lock has to do. A new file gets `owner`. Raises MailboxFault.
    """
    dotlock = _dotlock(path, locker, lenient)
    try:
        fd, state = open_for_append(path, owner)
        try:
            if stat.S_ISREG(state.st_mode):
                locker.take_kernel_locks(fd)
            yield fd, state
        finally:
            os.close(fd)
    finally:
        if dotlock:
            with contextlib.suppress(OSError):
                os.unlink(dotlock)


def _dotlock(path: str, locker: Locker, lenient: Callable[[Event], None] | None) -> str:
    if not locker.dotlock or not _may_be_file(path):
        return ""
    try:
        return locker.take_dotlock(path)
    except MailboxFault as error:
        if lenient is None or error.errno == errno.EEXIST:
            raise
        lenient(Warn(error.text))
        return ""


def _may_be_file(path: str) -> bool:
    """A file, or nothing yet. Through symbolic links: no lock beside /dev/null."""
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except OSError:
        return True


def append(fd: int, pieces: Iterable[bytes], limit: int, *, expected: int = 0) -> None:
    """Write and sync; cut the file back to what it was when that fails. `limit` is its greatest size, 0 for none;
    `expected` how much will come, about.

    Raises MailboxFault.
    """
    state = os.fstat(fd)
    regular = stat.S_ISREG(state.st_mode)
    end = state.st_size
    try:
        for piece in pieces:
            if regular and end == state.st_size:
                reserve(fd, state, max(expected, len(piece)))
            end += len(piece)
            if regular and limit and end > limit:
                raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
            write(fd, piece)
        if regular:
            os.fsync(fd)
    except (OSError, EOFError) as error:
        why = writing_failed(error)
        if regular:
            _cut_back(fd, state.st_size, why)
        raise why from error


def _cut_back(fd: int, size: int, why: MailboxFault) -> None:
    """Raises MailboxFault where half a message stays: somebody has to know."""
    try:
        os.ftruncate(fd, size)
    except OSError as error:
        if os.fstat(fd).st_size != size:
            text = f"{why.text}; half of it stays in the file: {error.strerror}"
            raise MailboxFault(why.code, text, why.errno) from error


def write(fd: int, data: bytes) -> None:
    """All of it. A destination that is no file and takes nothing now gets a fault, not our patience."""
    done = os.write(fd, data)
    while done < len(data):
        done += os.write(fd, memoryview(data)[done:])


def writing_failed(error: OSError | EOFError) -> MailboxFault:
    if isinstance(error, EOFError):
        return MailboxFault("4.3.0", f"error reading message: {error}", errno.EIO)
    return fault(error, "error writing message", "5.3.0")
