"""The write-ahead log of queue.db, read without SQLite.

SQLite takes a log up to the first frame whose sum is wrong, which is right after a power failure: what follows was not
durable. A damaged block in the middle looks the same, and silently costs all commits behind it, mail that moved out of
segments among them. The two can be told apart: each commit was synced before the next one began. So if a whole commit
lies behind the break, the break is damage, and the frames around it still count.

The sum of a frame goes on from the sum stored in the frame before, so each frame can be verified by its neighbour.
"""

import struct
from typing import NamedTuple

from postwarden.spool.schema import PAGE_SIZE

_HEADER = 32
_FRAME = 24
_SIZE = _FRAME + PAGE_SIZE


class Log(NamedTuple):
    pages: dict[int, bytes]
    """Page number -> its newest committed bytes."""
    lost: int
    """Frames in the middle that could not be read; 0: the log is sound."""


class _Frame(NamedTuple):
    page: int
    commit: bool
    known: bool
    """It belongs to this log: its salt says so."""
    whole: bool
    """Its sum is right."""
    data: memoryview


def read_log(path: str) -> Log:
    """Of the log at `path`, or of none. Raises OSError."""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except FileNotFoundError:
        return Log({}, 0)
    frames = _frames(memoryview(data))
    sound = next((n for n, frame in enumerate(frames) if not frame.whole), len(frames))
    end = _last_commit(frames, sound)
    pages: dict[int, bytes] = {}
    pending: dict[int, bytes] = {}
    for frame in frames[:end]:
        if frame.known:
            pending[frame.page] = bytes(frame.data)
        if frame.known and frame.commit:
            pages |= pending
            pending.clear()
    return Log(pages, sum(not frame.whole for frame in frames[:end]))


def _last_commit(frames: list[_Frame], sound: int) -> int:
    """Behind the last frame that counts. The commit in which the break lies does not, unless a whole one follows."""
    ends = [n + 1 for n, frame in enumerate(frames) if frame.commit and frame.known]
    good = [n for n in ends if n <= sound]
    start = next((n for n in ends if n > sound), len(frames))
    for end in [n for n in ends if n > start]:
        if all(frame.whole for frame in frames[start:end]):
            good.append(end)
        start = end
    return max(good, default=0)


def _frames(data: memoryview) -> list[_Frame]:
    if len(data) < _HEADER or int.from_bytes(data[8:12]) != PAGE_SIZE:
        return []
    order = ">" if data[3] & 1 else "<"
    salt = data[16:24]
    sums = _sum(data[:24], (0, 0), order)
    frames = []
    last = 0
    for at in range(_HEADER, len(data) - _SIZE + 1, _SIZE):
        header, page = data[at : at + _FRAME], data[at + _FRAME : at + _SIZE]
        known = header[8:16] == salt
        stored = struct.unpack(">II", header[16:24])
        whole = known and _sum(page, _sum(header[:8], sums, order), order) == stored
        sums = stored
        frames.append(_Frame(int.from_bytes(header[:4]), known and any(header[4:8]), known, whole, page))
        if known:
            last = len(frames)
    return frames[:last]


def _sum(data: memoryview, sums: tuple[int, int], order: str) -> tuple[int, int]:
    first, second = sums
    words = iter(struct.unpack(f"{order}{len(data) // 4}I", data))
    for word in words:
        first = (first + word + second) & 0xFFFFFFFF
        second = (second + next(words) + first) & 0xFFFFFFFF
    return first, second
