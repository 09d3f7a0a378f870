"""A source's file as it comes: looked at with care, since whoever laid it down may be anybody, and held where too much
of it is gone."""

import errno
import hashlib
import os
import stat
from collections.abc import Callable
from typing import Protocol

from msgspec import Struct

from postwarden.config.errors import ConfigError
from postwarden.explain.leads import Entry
from postwarden.federation.entries import Unfit, read_entries
from postwarden.federation.sources import Pull, Push, Source
from postwarden.federation.store import GONE, SourceState
from postwarden.tables.keys import folded
from postwarden.tables.text import alias_lines

SETTLED = 2.0
"""Seconds for which a file that was laid down must not have changed: scp writes it in place."""


class Unreachable(Exception):
    """The file can't be had now."""


class Missing(Unreachable):
    """The other side is there, and says that there is no such file."""


class Unsettled(Unreachable):
    """It was written a moment ago, and perhaps still is."""


class Fetch(Protocol):
    def __call__(self, sources: list[tuple[str, Pull]], limit: int, seconds: int) -> dict[str, bytes | Unreachable]:
        """The content of each source's file, at most `limit` bytes of it, all within about `seconds`."""


class Arrived(Struct, frozen=True):
    data: bytes
    who: str
    """Who brought it, as far as can be known."""
    time: float
    """When it was laid down or fetched."""


class Judged(Struct, frozen=True):
    """What to do with an arrival."""

    what: str
    """arrived: it is in force; held; unfit; same: nothing is new; refused: a rollback took it away."""
    why: str = ""
    entries: list[Entry] = []


def landed(source: Source, push: Push, limit: int, now: Callable[[], float]) -> Arrived:
    """The file at its landing place. Raises Unreachable."""
    try:
        fd = os.open(push.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise Missing(f"{push.path}: no such file") from error
    except OSError as error:
        reason = "a symbolic link is not followed" if error.errno == errno.ELOOP else error.strerror
        raise Unreachable(f"{push.path}: {reason}") from error
    try:
        status = os.fstat(fd)
        _acceptable(push.path, status, limit)
        # A time that lies ahead was set by whoever copied it, and says nothing.
        if -SETTLED < now() - status.st_mtime < SETTLED:
            raise Unsettled(f"{push.path}: still being written")
        with open(fd, "rb", closefd=False) as file:
            data = file.read(limit + 1)
        after = os.fstat(fd)
        if (after.st_size, after.st_mtime_ns) != (status.st_size, status.st_mtime_ns) or len(data) != status.st_size:
            raise Unsettled(f"{push.path}: still being written")
    finally:
        os.close(fd)
    return Arrived(data, _bringer(push.path, status), status.st_mtime)


def _acceptable(path: str, status: os.stat_result, limit: int) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise Unreachable(f"{path}: not a regular file")
    # Whoever may write into the landing place must not have us read somebody's file by another name of it.
    if status.st_nlink != 1:
        raise Unreachable(f"{path}: has {status.st_nlink} names")
    if status.st_mode & stat.S_IWOTH:
        raise Unreachable(f"{path}: everybody can write it")
    if status.st_size > limit:
        raise Unreachable(f"{path}: larger than {limit} bytes (size_limit)")


def _bringer(path: str, status: os.stat_result) -> str:
    """`put` leaves the address of the other side beside the file; it is a remark and decides nothing."""
    who = f"uid {status.st_uid}"
    try:
        fd = os.open(f"{path}.from", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return who
    with open(fd, "rb") as file:
        text = file.read(100).decode("ascii", "replace").partition("\n")[0]
    return f"{who} from {''.join(c for c in text if c.isprintable())}" if text else who


def judge(data: bytes, source: Source, state: SourceState, good: Callable[[], bytes | None]) -> Judged:
    """Whether a new version comes into force. `good`: the content of the one that is."""
    digest = sha256(data)
    if digest == state.latest and not state.unfit:
        return Judged("same")
    if digest in state.refused:
        return Judged("refused", "a rollback took this version away; it comes back with another content, or by confirm")
    try:
        entries = read_entries(data, source.label, source.name, source.end_mark)
    except Unfit as error:
        return Judged("unfit", str(error))
    before = good()
    if before is not None and (why := _shrunk(before, entries, source)):
        return Judged("held", why, entries)
    return Judged("arrived", "", entries)


def disappeared(state: SourceState, source: Source) -> Judged:
    if state.good <= 0:
        return Judged("same")
    if state.held == GONE:
        return Judged("same")
    return Judged("held", "the file has disappeared")


def _shrunk(before: bytes, entries: list[Entry], source: Source) -> str:
    """Why it is held; empty: it is not."""
    try:
        old = {folded(line.key.strip()) for line in alias_lines(before, source.label)}
    except ConfigError:
        return ""
    gone = len(old - {entry.name for entry in entries})
    if gone * 100 <= len(old) * source.shrink_limit:
        return ""
    return f"{gone} of {len(old)} names would go, more than {source.shrink_limit} percent"


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
