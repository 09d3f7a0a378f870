"""What the store of decisions has of one message, or of those who were refused. Root reads the files himself; others
have the courier do it, by the same code."""

import os
import struct
from collections.abc import Callable, Iterable, Iterator

from msgspec import Struct

from postwarden.trace.files import BEGIN, Place, scan
from postwarden.trace.records import Attempted, Ended, Judged, Mapped, Record, Stored
from postwarden.trace.reference import spelled

_REFUSING = frozenset(("reject", "defer"))
_JUDGED = b"\xa1j"
"""How the records begin that tell of a judgement, after the length of their array; the time comes next."""
_TIME = struct.Struct(">xd")


class Wanted(Struct, frozen=True, array_like=True):
    """Which refused sessions; empty: all."""

    client: str = ""
    sender: str = ""
    recipient: str = ""
    since: float = 0.0
    """Seconds since the epoch."""

    def fits(self, judged: Judged) -> bool:
        client = judged.facts.client
        return (
            judged.verdict in _REFUSING
            and judged.when >= self.since
            and (not self.client or self.client.lower() in (client.address, client.name.lower()))
            and (not self.sender or (judged.facts.sender or "").lower() == self.sender.strip("<>").lower())
            and (not self.recipient or self.recipient.lower() in _recipients(judged))
        )

    def may_fit(self, data: bytes) -> bool:
        """Of an encoded record, without decoding it."""
        at = data.find(_JUDGED, 0, 5) + len(_JUDGED)
        if at < len(_JUDGED) or (b"reject" not in data and b"defer" not in data):
            return False
        return data[at] != 0xCB or _TIME.unpack_from(data, at)[0] >= self.since

    def may_be_in(self, file: str, data: bytes) -> bool:
        """A file to which nothing was written since then has nothing of then."""
        try:
            return os.stat(file).st_mtime >= self.since
        except OSError:
            return False


def _recipients(judged: Judged) -> Iterator[str]:
    yield judged.recipient.lower()
    for address in judged.recipients:
        yield address.lower()


def refused(
    path: str, wanted: Wanted, after: Place = BEGIN, pace: Callable[[], None] = lambda: None
) -> Iterator[tuple[Judged, bytes, Place]]:
    """Who was refused: each record, as it is written, and where to go on. Raises OSError."""
    for record, data, place in scan(path, wanted.may_fit, file_wanted=wanted.may_be_in, after=after, pace=pace):
        if isinstance(record, Judged) and wanted.fits(record):
            yield record, data, place


class Search:
    """For a queue id, a message id or the reference of a refusal: which messages those are, then their records."""

    def __init__(self, name: str) -> None:
        self.asked = name
        self.name = name.strip("<>")
        self.reference = spelled(name)
        self.stored: dict[str, Stored | None] = {}
        """By queue id; None where it came before decisions were recorded."""

    def look(self, record: Record) -> bool:
        """Whether a record is about the one that is looked for; notes which message that is."""
        match record:
            case Stored():
                if self.name not in (record.queue_id, record.message_id.strip("<>")):
                    return False
                self.stored[record.queue_id] = record
            case Attempted() | Ended() | Mapped():
                if record.queue_id != self.name:
                    return False
                self.stored.setdefault(record.queue_id, None)
            case Judged():
                return self._refuses(record)
        return True

    def _refuses(self, record: Judged) -> bool:
        named = self.reference and record.reference == self.reference
        return record.verdict in _REFUSING and bool(named or record.queue_id == self.name)

    def wants(self, record: Record) -> bool:
        """Of the second pass: whether it belongs to a message that was found, or is the refusal itself."""
        if isinstance(record, Judged):
            return self._refuses(record) or any(brought(record, one) for one in self.stored.values())
        return record.queue_id in self.stored or (isinstance(record, Stored) and record.parent in self.stored)

    def words(self) -> tuple[bytes, ...]:
        """One of them is in each record that is wanted."""
        found = {self.name, self.reference, *self.stored, *(one.session for one in self.stored.values() if one)}
        return tuple(word.encode() for word in sorted(found) if word)

    def first_pass(self, path: str, pace: Callable[[], None] = lambda: None) -> None:
        """Find out which messages are meant. Raises OSError."""
        for record, _, _ in self._scan(path, BEGIN, pace):
            self.look(record)

    def second_pass(
        self, path: str, after: Place = BEGIN, pace: Callable[[], None] = lambda: None
    ) -> Iterator[tuple[Record, bytes, Place]]:
        """All that is known of them: each record, as it is written, and where to go on. Raises OSError."""
        for record, data, place in self._scan(path, after, pace):
            if self.wants(record):
                yield record, data, place

    def _scan(self, path: str, after: Place, pace: Callable[[], None]) -> Iterator[tuple[Record, bytes, Place]]:
        words = self.words()

        def wanted(data: bytes) -> bool:
            return any(word in data for word in words)

        return scan(path, wanted, file_wanted=lambda file, data: wanted(data), after=after, pace=pace)


def brought(judged: Judged, stored: Stored | None) -> bool:
    """Whether a judgement was about that message. A session may have brought several."""
    if stored is None or not stored.session or judged.session != stored.session:
        return False
    if judged.queue_id:
        return judged.queue_id == stored.queue_id
    return judged.recipient in {old or new for new, old in stored.recipients}


class History(Struct):
    """Of one message, in order of time."""

    queue_id: str
    records: list[Record]

    @property
    def stored(self) -> Stored | None:
        mine = (one for one in self.records if isinstance(one, Stored) and one.queue_id == self.queue_id)
        return next(mine, None)


def told(name: str, records: Iterable[Record]) -> tuple[list[History], list[Judged]]:
    """What a `Search` for `name` has brought, by message; and the refusals that go by that name."""
    search = Search(name)
    found = sorted(records, key=lambda record: record.when)
    refusals = [one for one in found if search.look(one) and isinstance(one, Judged)]
    histories = [History(queue_id, _of(queue_id, stored, found)) for queue_id, stored in search.stored.items()]
    return histories, [one for one in refusals if one.queue_id not in search.stored]


def _of(queue_id: str, stored: Stored | None, records: list[Record]) -> list[Record]:
    return [
        one
        for one in records
        if (brought(one, stored) if isinstance(one, Judged) else queue_id in (one.queue_id, getattr(one, "parent", "")))
    ]
