"""Names in the spool directory.

    $queue_directory/postwarden/
        queue.db, queue.<n>.db                the courier's; the highest number counts; see queuedb, salvage
        courier.lock                          held by the courier: there is one for each queue
        incoming/<instance>/                  one receiver's; only it creates, only the courier unlinks
            <segment>-<marker>.segment        16 and 16 hexadecimal digits
            <random>.body                     a body too big for a record
            *.new                             a segment in the making; never read

The number of a segment holds the time of its making in 1/1024 s, the instance of its maker and 8 random bits: unique
within the directory across receivers and restarts, in the order of time, and it tells which receiver may speak of it.
"""

import os
import re
import secrets
from typing import NamedTuple

_INSTANCE_BITS = 10
_RANDOM_BITS = 8
INSTANCES = 1 << _INSTANCE_BITS
_SEGMENT = re.compile(r"([0-9a-f]{16})-([0-9a-f]{16})\.segment")
_DATABASE = re.compile(r"queue\.(?:([0-9]{1,9})\.)?db")
_BODY = re.compile(r"[0-9a-f]{32}\.body")


class SegmentName(NamedTuple):
    number: int
    marker: bytes
    """8 random bytes before each record: what a search after damage looks for. A peer can't know them, so it can't
    plant a record in the body of a message."""

    def __str__(self) -> str:
        return f"{self.number:016x}-{self.marker.hex()}.segment"


def spool_directory(queue_directory: str) -> str:
    return os.path.join(queue_directory, "postwarden")


def databases(spool: str) -> list[str]:
    """Files of the queue's database, the one that counts last; empty before the first start."""
    try:
        names = os.listdir(spool)
    except FileNotFoundError:
        return []
    found = [(int(match[1] or 0), name) for name in names if (match := _DATABASE.fullmatch(name))]
    return [os.path.join(spool, name) for _, name in sorted(found)]


def database(spool: str) -> str:
    """The one that counts, or is to be made."""
    return (databases(spool) or [os.path.join(spool, "queue.db")])[-1]


def next_database(spool: str) -> str:
    """A name that no database had before."""
    match = _DATABASE.fullmatch(os.path.basename(database(spool)))
    assert match is not None
    return os.path.join(spool, f"queue.{int(match[1] or 0) + 1}.db")


def incoming(spool: str, instance: int) -> str:
    return os.path.join(spool, "incoming", str(instance))


def new_segment(now: float, instance: int) -> SegmentName:
    number = (int(now * 1024) << _INSTANCE_BITS | instance) << _RANDOM_BITS | secrets.randbits(_RANDOM_BITS)
    return SegmentName(number, secrets.token_bytes(8))


def instance_of(segment: int) -> int:
    """The receiver that made the segment."""
    return segment >> _RANDOM_BITS & (INSTANCES - 1)


def parse_segment(name: str) -> SegmentName | None:
    match = _SEGMENT.fullmatch(name)
    return SegmentName(int(match[1], 16), bytes.fromhex(match[2])) if match else None


def new_body() -> str:
    return f"{secrets.token_hex(16)}.body"


def is_body(name: str) -> bool:
    """Names come from records, which an intruder in a receiver may write: no path may hide in one."""
    return _BODY.fullmatch(name) is not None


def instances(spool: str) -> list[int]:
    """Receivers that have a directory."""
    try:
        names = os.listdir(os.path.join(spool, "incoming"))
    except FileNotFoundError:
        return []
    return sorted(int(name) for name in names if name.isdecimal() and int(name) < INSTANCES)
