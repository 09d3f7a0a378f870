"""Replacing a file that somebody else may read or change at the same moment."""

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator

from postwarden.config.durable import sync_directory


def rewrite(file: str, change: Callable[[bytes], bytes]) -> None:
    """Put `change` of what `file` holds in its place: readers see the old text or the new one, never a part.

    Owner, mode and extended attributes stay; a symbolic link stays one. `file.tmp` is locked meanwhile, which Postfix's
    own tools wait for, too. Raises OSError; what `change` raises leaves the file as it was.
    """
    file = os.path.realpath(file)
    with _temporary(f"{file}.tmp") as descriptor, open(file, "rb") as stream:
        _replace(stream.fileno(), descriptor, stream.read(), file, change)


def _replace(source: int, descriptor: int, data: bytes, file: str, change: Callable[[bytes], bytes]) -> None:
    changed = change(data)
    if changed == data:
        return
    status = os.fstat(source)
    os.ftruncate(descriptor, 0)
    with open(descriptor, "wb", closefd=False) as stream:
        stream.write(changed)
    if (status.st_uid, status.st_gid) != (os.fstat(descriptor).st_uid, os.fstat(descriptor).st_gid):
        os.fchown(descriptor, status.st_uid, status.st_gid)
    os.fchmod(descriptor, status.st_mode & 0o7777)
    for name in os.listxattr(source):
        with contextlib.suppress(OSError):
            os.setxattr(descriptor, name, os.getxattr(source, name))
    os.fsync(descriptor)
    os.rename(f"{file}.tmp", file)
    sync_directory(os.path.dirname(file))


@contextlib.contextmanager
def _temporary(name: str) -> Iterator[int]:
    """The file of that name, ours alone until it is closed; it is gone then, unless it was renamed."""
    while True:
        descriptor = os.open(name, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), os.stat(name)):
                break
        os.close(descriptor)  # the one who held the lock renamed or removed it
    try:
        yield descriptor
    finally:
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), os.stat(name)):
                os.unlink(name)
        os.close(descriptor)
