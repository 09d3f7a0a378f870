"""A segment as the courier sees it: read once, from front to back, by a cursor.

Records before the cursor were handed out (`held`) or settled before the last start; records behind it wait on disk and
cost no memory. `end` is how far the file is known to be durable: as far as the receiver has told, or all of it once
nobody writes it any more.
"""

from collections.abc import Callable, Iterator

from postwarden.ipc.records import Stored
from postwarden.mail.envelope import Envelope
from postwarden.mail.queue import HOLD, Damaged, Entry
from postwarden.spool.layout import instance_of, is_body
from postwarden.spool.segment import HEAD_SIZE, Gap, Record, Segment

_MAX_SIZE = 1 << 53
Finals = dict[int, tuple[int, ...] | None]


def plausible(envelope: Envelope, body_file: str, body_size: int, body_crc: int) -> bool:
    """Nothing in a record of a receiver may lead out of its directory or stop the courier: whoever owns a receiver can
    write any, and it would still be there after the receiver is gone."""
    if body_file and not is_body(body_file):
        return False
    if not 0 <= body_crc < 1 << 32 or len(envelope.verp) not in (0, 2):
        return False
    return 0 <= body_size < _MAX_SIZE and 0 <= envelope.size < _MAX_SIZE and 0 <= envelope.arrival < _MAX_SIZE


def _begin(envelope: Envelope) -> float:
    """The due time that a message comes in with."""
    return HOLD if envelope.hold else 0.0


class LiveSegment:
    def __init__(self, file: Segment, settled: Finals) -> None:
        self.file = file
        self.number = file.name.number
        self.cursor = HEAD_SIZE
        self.end = HEAD_SIZE
        self.held: dict[int, Entry] = {}
        """By offset."""
        self.settled = settled
        """What is known of records behind the cursor: from the journal, or since they were asked for by name."""
        self._names: dict[str, int] = {}
        """Queue id -> offset of what waits, as far as `_named`; made when somebody asks for names."""
        self._named = 0
        self.sealed_at: float | None = None
        """Monotonic seconds when it was seen that nobody writes it."""
        self.moving = False
        self.dropped = False
        self.blocked = False

    @property
    def waiting(self) -> bool:
        """There is something to read."""
        return self.cursor < self.end and not self.blocked

    @property
    def finished(self) -> bool:
        """Nothing in it is needed any more, if what was settled is durable."""
        return self.sealed_at is not None and self.cursor >= self.end and not self.held

    def extend(self, end: int) -> None:
        if end > self.end:
            self.end = end
            self.blocked = False

    def seal(self, now: float) -> None:
        """Nobody writes it: all of the file counts."""
        if self.sealed_at is None:
            self.sealed_at = now
            self.extend(self.file.size())
            self.blocked = False

    def take(self, stored: Stored) -> Entry:
        """The record at the cursor, as the receiver told it."""
        envelope = stored.envelope
        body_file = f"{instance_of(self.number)}/{stored.body_file}" if stored.body_file else ""
        body_size = stored.body_size if body_file else envelope.size - len(stored.head)
        entry = Entry(
            (self.number, stored.offset), envelope, tuple(range(len(envelope.recipients))), len(stored.head), body_size,
            due=_begin(envelope), head=stored.head, body=stored.body, body_file=body_file, body_crc=stored.body_crc,
        )  # fmt: skip
        self.cursor = stored.offset + stored.length
        self.extend(self.cursor)
        self.blocked = False
        self.held[stored.offset] = entry
        return entry

    def read(self, limit: int, gap: Callable[[Gap, int], None]) -> Iterator[Entry]:
        """Up to `limit` records from the cursor on that are not settled; now held. `gap` is told of bytes that hold
        no record, and how many settled records lay there."""
        for found in self.file.scan(self.cursor, self.end, writing=self.sealed_at is None):
            if isinstance(found, Gap):
                self.cursor = found.stop
                lost = [at for at in self.settled if found.start <= at < found.stop]
                gap(found, len(lost))
                continue
            self.cursor = found.offset + found.length
            if found.offset in self.held:
                continue
            finals = self.settled.pop(found.offset, ())
            if finals is None:
                continue
            entry = self._entry(found, finals)
            if entry is None:
                gap(Gap(found.offset, self.cursor), 0)
                continue
            self.held[found.offset] = entry
            yield entry
            limit -= 1
            if limit <= 0:
                return
        # Only a write that is under way is left, if anything: it comes with a longer `end`.
        self.blocked = self.cursor < self.end
        self._names.clear()

    # by name

    def locate(self, queue_id: str) -> int:
        """Offset of a record that waits, or 0. The first call reads all that waits."""
        self._named = max(self._named, self.cursor)
        for found in self.file.scan(self._named, self.end, writing=self.sealed_at is None):
            if isinstance(found, Record):
                self._names[found.meta.envelope.queue_id] = found.offset
                self._named = found.offset + found.length
        offset = self._names.get(queue_id, 0)
        return offset if offset >= self.cursor else 0

    def fetch(self, offset: int) -> Entry | None:
        """A record that waits, before its turn; now held."""
        record = self._waiting_at(offset)
        if record is None:
            return None
        entry = self._entry(record, self.settled.get(offset) or ())
        if entry is not None:
            self.held[offset] = entry
        return entry

    def _waiting_at(self, offset: int) -> Record | None:
        if not self.cursor <= offset < self.end or offset in self.held or self.settled.get(offset, ()) is None:
            return None
        record = self.file.record(offset)
        return record if record is not None and offset + record.length <= self.end else None

    def leave(self, offset: int) -> None:
        """A held record is done with, or lives in queue.db."""
        if self.held.pop(offset, None) is not None and offset >= self.cursor:
            self.settled[offset] = None

    def entries(self, after: int) -> Iterator[tuple[int, Entry]]:
        """What lives in it behind the offset `after`, by offset; nothing is taken."""
        for offset in sorted([offset for offset in self.held if after < offset < self.cursor]):
            yield offset, self.held[offset]
        for found in self.file.scan(max(self.cursor, after + 1), self.end, writing=self.sealed_at is None):
            if isinstance(found, Gap):
                continue
            finals = self.settled.get(found.offset, ())
            entry = self.held.get(found.offset)
            if entry is None and finals is not None:
                entry = self._entry(found, finals)
            if entry is not None:
                yield found.offset, entry

    def _entry(self, record: Record, finals: tuple[int, ...]) -> Entry | None:
        meta = record.meta
        if not plausible(meta.envelope, meta.body_file, meta.body_size, meta.body_crc):
            return None
        count = len(meta.envelope.recipients)
        return Entry(
            (self.number, record.offset), meta.envelope, tuple([n for n in range(count) if n not in finals]),
            record.head_size, meta.body_size if meta.body_file else record.body_size, due=_begin(meta.envelope),
            body_file=f"{instance_of(self.number)}/{meta.body_file}" if meta.body_file else "",
            body_crc=meta.body_crc,
        )  # fmt: skip

    def content(self, offset: int) -> tuple[bytes, bytes]:
        """Head and body of a record; the body is empty if it has a file. Raises Damaged."""
        record = self.file.record(offset)
        content = self.file.content(record) if record is not None else None
        if content is None:
            raise Damaged(f"the record at {offset} of {self.file.path} is damaged")
        return content
