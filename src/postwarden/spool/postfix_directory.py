"""The queue directory of a Postfix: which files are in it, and where a message's file and logs would be.

    incoming active deferred hold    a message each; those of incoming are complete when their owner may execute them
    maildrop                         what local users left: not prepared yet
    defer bounce trace               what is known of a message's recipients, under the same name

Subdirectories are one character of the name each, as deep as hash_queue_depth says; a name may be in any of them.
"""

import os
import re
import stat
from collections.abc import Iterator
from typing import NamedTuple

QUEUES = ("incoming", "active", "deferred", "hold")
LOGS = ("defer", "bounce", "trace")
_DIGITS = "0123456789BCDFGHJKLMNPQRSTVWXYZbcdfghjklmnpqrstvwxyz"
_LONG = re.compile(rf"[{_DIGITS}]{{6,}}([{_DIGITS}]{{4}})z[^z]+")
_QUEUE_ID = re.compile(r"[A-Za-z0-9_]{1,255}")
_MAX_DEPTH = 10


class QueueFile(NamedTuple):
    queue: str
    queue_id: str
    path: str
    complete: bool
    """Postfix has told its sender that it has it."""


def is_queue_id(text: str) -> bool:
    return _QUEUE_ID.fullmatch(text) is not None


def hashed(queue: str, name: str, depth: int) -> str:
    """Where the file of a message is, below the queue directory; `depth` 0: `queue` has no subdirectories."""
    key = name
    found = _LONG.fullmatch(name)
    if found is not None:
        micros = 0
        for digit in found[1]:
            micros = micros * 52 + _DIGITS.index(digit)
        key = f"{micros:05X}"
    return "/".join([queue, *key[:depth].ljust(depth, "_"), name])


def files(directory: str, queue: str) -> Iterator[QueueFile]:
    """The files of one queue, in the order of their names. Raises OSError, but not for a queue that is not there."""
    yield from _files(os.path.join(directory, queue), queue, _MAX_DEPTH)


def _files(directory: str, queue: str, depth: int) -> Iterator[QueueFile]:
    try:
        with os.scandir(directory) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
    except FileNotFoundError:
        return
    for entry in found:
        if entry.is_dir(follow_symlinks=False):
            if depth and len(entry.name) == 1:
                yield from _files(entry.path, queue, depth - 1)
        elif entry.is_file(follow_symlinks=False) and is_queue_id(entry.name):
            mode = entry.stat(follow_symlinks=False).st_mode
            yield QueueFile(queue, entry.name, entry.path, bool(mode & stat.S_IXUSR))


def log_file(directory: str, log: str, queue_id: str) -> str:
    """A message's log; empty if it has none."""
    for depth in (1, 0, 2, 3):
        path = f"{directory}/{hashed(log, queue_id, depth)}"
        try:
            if stat.S_ISREG(os.lstat(path).st_mode):
                return path
        except OSError:
            continue
    return ""
