"""queue.db: what is in it and how a row is written.

    message   a message that outlived its segment, or that the courier made; `body` is the row of its body, which
              several messages may share (forwards)
    body      the bytes, or the name of the file they are in
    settled   a journal: what became of records in segments, one row for each segment and commit group
    site      a domain under which a message that was put away can be asked for (ETRN)

`epoch` of a message is the number of the flush before which it was put away last. A flush hands out what has an older
one, in the order of its index; no row is changed for it, and what is put away again drops out. What is on hold is not
in that index.

Each row begins with a letter that tells its table, and each blob with the CRC-32 of the rest: SQLite keeps no sums, so
a zeroed page within a long blob would go unnoticed; and `salvage` can tell rows of a file whose schema is gone.
"""

import zlib
from collections.abc import Callable
from typing import TypeVar

import msgspec

from postwarden.mail.envelope import Envelope
from postwarden.mail.queue import Damaged, State

PAGE_SIZE = 4096

TABLES = """
CREATE TABLE IF NOT EXISTS message(
    id INTEGER PRIMARY KEY, tag TEXT, due REAL, body INTEGER, head_size INTEGER, body_size INTEGER,
    queue_id TEXT, state BLOB, envelope BLOB, head BLOB, epoch INTEGER NOT NULL DEFAULT 0);
CREATE INDEX IF NOT EXISTS message_due ON message(due);
CREATE INDEX IF NOT EXISTS message_body ON message(body, queue_id);
CREATE TABLE IF NOT EXISTS body(id INTEGER PRIMARY KEY, tag TEXT, size INTEGER, file TEXT, data BLOB);
CREATE INDEX IF NOT EXISTS body_file ON body(file) WHERE file IS NOT NULL;
CREATE TABLE IF NOT EXISTS settled(id INTEGER PRIMARY KEY, tag TEXT, segment INTEGER, changes BLOB);
CREATE INDEX IF NOT EXISTS message_epoch ON message(epoch) WHERE due < 1e15;
CREATE INDEX IF NOT EXISTS message_queue_id ON message(queue_id);
CREATE TABLE IF NOT EXISTS site(id INTEGER PRIMARY KEY, tag TEXT, name TEXT, message INTEGER);
CREATE INDEX IF NOT EXISTS site_name ON site(name, message);
CREATE INDEX IF NOT EXISTS site_message ON site(message);
"""
"""`salvage` knows where these begin in a new file: add at the end only."""

ADD_EPOCH = "ALTER TABLE message ADD COLUMN epoch INTEGER NOT NULL DEFAULT 0"
"""For a file of the first layout, which ended with `head`; its rows stay as they are."""

COLUMNS = {"message": (10, 11), "body": (5,), "settled": (4,), "site": (4,)}
TAGS = {"message": "M", "body": "B", "settled": "S", "site": "D"}


Settled = list[tuple[int, tuple[int, ...] | None]]
"""Offset of a record, and which recipients are final; None: the whole record is done with."""

_encode = msgspec.msgpack.Encoder().encode
_state = msgspec.msgpack.Decoder(State).decode
_envelope = msgspec.msgpack.Decoder(Envelope).decode
_settled: Callable[[bytes], Settled] = msgspec.msgpack.Decoder(Settled).decode
T = TypeVar("T")


def seal(data: bytes) -> bytes:
    return zlib.crc32(data).to_bytes(4) + data


def unseal(blob: object, what: str) -> bytes:
    """Raises Damaged."""
    if not isinstance(blob, bytes) or len(blob) < 4 or zlib.crc32(memoryview(blob)[4:]) != int.from_bytes(blob[:4]):
        raise Damaged(f"queue.db: {what} is damaged")
    return blob[4:]


def encode_state(state: State) -> bytes:
    return _encode(state)


def encode_envelope(envelope: Envelope) -> bytes:
    return _encode(envelope)


def seal_state(state: State) -> bytes:
    return seal(_encode(state))


def seal_envelope(envelope: Envelope) -> bytes:
    return seal(_encode(envelope))


def seal_settled(settled: Settled) -> bytes:
    return seal(_encode(settled))


def read_state(blob: object, row: int) -> State:
    return _read(_state, blob, f"state of message {row}")


def read_envelope(blob: object, row: int) -> Envelope:
    return _read(_envelope, blob, f"envelope of message {row}")


def read_settled(blob: object, row: int) -> Settled:
    return _read(_settled, blob, f"journal row {row}")


def _read(decode: Callable[[bytes], T], blob: object, what: str) -> T:
    try:
        return decode(unseal(blob, what))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:  # msgspec raises all three
        raise Damaged(f"queue.db: {what}: {error}") from error
