"""How messages get into queue.db: out of their segment, with a settlement (reports, forwards), from elsewhere."""

from collections.abc import Callable
from functools import partial

from postwarden.mail.events import Event, Failure
from postwarden.mail.queue import Entry, NewMessage, SpoolError
from postwarden.spool.entry import state_of
from postwarden.spool.live import LiveSegment
from postwarden.spool.queuedb import Insert, Load


class NewRows:
    """Numbers rows, and makes what the writer inserts."""

    def __init__(self, tell: Callable[[Event], None]) -> None:
        """`tell` is called on the writer's thread."""
        self._tell = tell
        self.last = 0
        """The number that was given out last."""
        self.epoch = 1
        """Of flushes."""

    def begin(self, last_row: int, last_epoch: int) -> None:
        """What queue.db held when it was opened."""
        self.last = last_row
        self.epoch = last_epoch + 1

    def number(self) -> int:
        self.last += 1
        return self.last

    def insert(self, row: int, entry: Entry, load: Load, body: int, sites: tuple[str, ...] = ()) -> Insert:
        """`body`: the row whose body this one shares; 0: it has its own."""
        return Insert(
            row, entry.due, entry.envelope, state_of(entry), load, body,
            entry.body_file, entry.body_size, entry.body_crc, self.epoch, sites,
        )  # fmt: skip

    def moved(self, segment: LiveSegment, entry: Entry, sites: tuple[str, ...]) -> Insert:
        """A record of `segment`; from now on the entry has the key of its row."""
        row, offset = self.number(), entry.key[1]
        load: Load
        if entry.head is not None and entry.body is not None:
            load = partial(given, entry.head, entry.body)
        else:
            load = partial(self._load, segment, entry.envelope.queue_id, offset)
        insert = self.insert(row, entry, load, 0, sites)
        entry.key = (0, row)
        entry.content = row
        return insert

    def spawned(self, new: NewMessage, parent: Entry, segment: LiveSegment | None) -> tuple[Entry, Insert]:
        """A message that a settlement of `parent` makes; `segment`: where that one is, if it is no row."""
        row = self.number()
        envelope = new.envelope
        entry = Entry(
            (0, row), envelope, new.open, len(new.head), len(new.body), new.attempts, new.due, dict(new.reasons),
            new.head, content=row, warned=new.warned, untold=dict(new.untold),
        )  # fmt: skip
        if new.body_of is None:
            entry.body = new.body
            load: Load = partial(given, new.head, new.body)
        else:
            if new.body_of != parent.key:
                raise SpoolError("a forward has the body of the message that it is settled with")
            entry.body, entry.body_size = parent.body, parent.body_size
            load = self._forwarded(new.head, parent, entry, segment)
        body = entry.content if entry.content != row else 0
        return entry, self.insert(row, entry, load, body)

    def _forwarded(self, head: bytes, parent: Entry, entry: Entry, segment: LiveSegment | None) -> Load:
        """How the writer gets the content of a forward: its own head, its parent's body."""
        at = parent.key[1]
        entry.body_file, entry.body_crc = parent.body_file, parent.body_crc
        if segment is None:
            entry.content = parent.content
            return partial(given, head, b"")
        if parent.body is not None or parent.body_file:
            return partial(given, head, parent.body or b"")
        queue_id = entry.envelope.queue_id

        def load() -> tuple[bytes, bytes] | None:
            content = self._load(segment, queue_id, at)
            return (head, content[1]) if content is not None else None

        return load

    def _load(self, segment: LiveSegment, queue_id: str, offset: int) -> tuple[bytes, bytes] | None:
        """On the writer's thread."""
        record = segment.file.record(offset)
        content = segment.file.content(record) if record is not None else None
        if content is None:
            self._tell(Failure(f"{queue_id}: the content is lost: {segment.file.path}, offset {offset}, is damaged"))
        return content


def given(head: bytes, body: bytes) -> tuple[bytes, bytes]:
    return head, body
