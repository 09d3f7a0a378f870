"""Mail that Postfix itself has left in the queue directory: it is told of at start, since nobody delivers it."""

import contextlib
import os
import re
from collections.abc import Iterator

from postwarden.spool.maildrop import STAGED, maildrop_directory, staged
from postwarden.spool.postfix_import import ASIDE, MOVING

_QUEUES = ("maildrop", "incoming", "active", "deferred", "hold")
_QUEUE_ID = re.compile(r"(?:[0-9A-F]{6,}|[0-9B-DF-HJ-NP-TV-Zb-df-hj-np-tv-z]{10,})\Z")
_DEPTH = 8
_ENOUGH = 100_000
"""A start must not walk through a queue of millions."""


def unsent(queue_directory: str) -> str:
    """What to say of it; empty: there is none, or none that we may see."""
    if _interrupted(queue_directory):
        return (
            f"postwarden import-queue {queue_directory} was interrupted: run it again, since mail that it took over"
            " waits on hold or is staged in maildrop until then"
        )
    counts = {}
    left = _ENOUGH
    for name in _QUEUES:
        count = 0
        for _ in _messages(os.path.join(queue_directory, name), _DEPTH):
            count += 1
            if count >= left:
                break
        if count:
            counts[name] = count
        left -= count
        if left <= 0:
            break
    if not counts:
        return ""
    where = ", ".join(f"{count} in {name}" for name, count in counts.items())
    more = "at least " if left <= 0 else ""
    total = sum(counts.values())
    return (
        f"{queue_directory} holds {more}{total} unsent message{'' if total == 1 else 's'} of Postfix ({where}), which"
        f" nobody delivers now: postwarden import-queue {queue_directory} takes over what is there"
    )


def _interrupted(queue_directory: str) -> bool:
    moving = os.path.join(queue_directory, ASIDE, MOVING)
    with contextlib.suppress(OSError):
        if any(names for _, _, names in os.walk(moving)):
            return True
        directory = maildrop_directory(queue_directory)
        owner = os.stat(directory).st_uid
        # Anybody may make a file of such a name.
        return any(os.lstat(f"{directory}/{STAGED}{name}").st_uid == owner for name in staged(directory))
    return False


def _messages(directory: str, depth: int) -> Iterator[str]:
    """Queue files, in subdirectories too (hash_queue_names)."""
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                if entry.is_file(follow_symlinks=False):
                    if _QUEUE_ID.match(entry.name):
                        yield entry.name
                elif depth and len(entry.name) == 1 and entry.is_dir(follow_symlinks=False):
                    yield from _messages(entry.path, depth - 1)
    except OSError:
        return
