"""What the store of decisions has of one message, or of those who were refused. Root reads the files himself; others
have the courier do it, by the same code."""

import os
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from msgspec import Struct, field

from postwarden.trace.files import BEGIN, Place, scan
from postwarden.trace.records import Attempted, Ended, Judged, Mapped, Operated, Record, Stored
from postwarden.trace.reference import spelled

MOST = 1000
"""Messages of one message id: a list may send each of its members one of his own, and a stranger any number."""
_ROOM = 20_000
"""Their recipients together."""
_OFFSPRING = 20
"""Forwards and reports that were made of messages, and of those: their fate is told with it."""
_FEW = 20
"""Words: to look for more takes longer than to decode each record."""
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
            and (not self.sender or _folded(judged.facts.sender) == self.sender.strip("<>").lower())
            and (not self.recipient or self.recipient.strip("<>").lower() in _recipients(judged))
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


def _folded(address: str | None) -> str | None:
    return None if address is None else address.lower()


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
    """For a queue id, a message id or the reference of a refusal: which messages those are, then their records. Of
    more than MOST messages with one id, it knows the newest."""

    def __init__(self, name: str) -> None:
        self.asked = name
        self.name = name.strip("<>")
        self.reference = spelled(name)
        self.stored: dict[str, Stored | None] = {}
        """By queue id; None where it came before decisions were recorded."""
        self._room = _ROOM
        self._offspring: dict[str, bytes] = {}

    def look(self, record: Record) -> bool:
        """Whether a record is about the one that is looked for; notes which message that is."""
        match record:
            case Stored():
                if self.name not in (record.queue_id, record.message_id.strip("<>")):
                    return False
                self._keep(record)
            case Attempted() | Ended() | Mapped() | Operated():
                if record.queue_id != self.name:
                    return False
                self.stored.setdefault(record.queue_id, None)
            case Judged():
                return self._refuses(record)
        return True

    def _keep(self, record: Stored) -> None:
        self._forget(record.queue_id)
        self.stored[record.queue_id] = record
        self._room -= len(record.recipients)
        while len(self.stored) > MOST or (self._room < 0 and len(self.stored) > 1):
            self._forget(next(iter(self.stored)))

    def _forget(self, queue_id: str) -> None:
        known = self.stored.pop(queue_id, None)
        self._room += 0 if known is None else len(known.recipients)

    def _refuses(self, record: Judged) -> bool:
        named = self.reference and record.reference == self.reference
        return record.verdict in _REFUSING and bool(named or record.queue_id == self.name)

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
        brought = Brought(self.stored)
        for record, data, place in self._scan(path, after, pace):
            if isinstance(record, Judged):
                wanted = bool(brought.by(record)) or self._refuses(record)
            else:
                wanted = self._descends(record) or bool(brought.by(record))
            if wanted:
                yield record, data, place

    def _descends(self, record: Stored | Attempted | Ended | Mapped | Operated) -> bool:
        """Whether it is about what was made of one of the messages; children come after their parents."""
        known = self._offspring
        if (
            isinstance(record, Stored)
            and (record.parent in known or record.parent in self.stored)
            and len(known) < _OFFSPRING
            and record.queue_id not in self.stored
        ):
            known[record.queue_id] = record.queue_id.encode()
        return record.queue_id in known

    def _scan(self, path: str, after: Place, pace: Callable[[], None]) -> Iterator[tuple[Record, bytes, Place]]:
        words = self.words()

        def wanted(data: bytes) -> bool:
            return any(word in data for word in words) or any(word in data for word in self._offspring.values())

        if len(words) > _FEW:
            return scan(path, after=after, pace=pace)
        return scan(path, wanted, file_wanted=lambda file, data: wanted(data), after=after, pace=pace)


class Brought:
    """Which of some messages a record is about."""

    def __init__(self, stored: Mapping[str, Stored | None]) -> None:
        self._stored = stored
        self._said: dict[tuple[str, str], list[str]] = {}
        """Queue ids, by session and what was judged in it: that queue id, or a recipient of before there was one."""
        for queue_id, one in stored.items():
            if one is not None and one.session:
                for about in {queue_id, *(old or new for new, old in one.recipients)}:
                    self._said.setdefault((one.session, about), []).append(queue_id)

    def by(self, record: Record) -> Sequence[str]:
        """Their queue ids. A session may have brought several messages, so that a judgement may be about several."""
        if isinstance(record, Judged):
            return self._said.get((record.session, record.queue_id or record.recipient), ())
        parent = record.parent if isinstance(record, Stored) else ""
        return [one for one in (record.queue_id, parent) if one in self._stored]


class History(Struct):
    """Of one message, in order of time."""

    queue_id: str
    records: list[Record]
    offspring: list[Record] = field(default_factory=list)
    """Of what was made of it, as far as that is no history of its own."""

    @property
    def stored(self) -> Stored | None:
        mine = (one for one in self.records if isinstance(one, Stored) and one.queue_id == self.queue_id)
        return next(mine, None)


def told(name: str, records: Iterable[Record]) -> tuple[list[History], list[Judged]]:
    """What a `Search` for `name` has brought, by message; and the refusals that go by that name."""
    search = Search(name)
    found = sorted(records, key=lambda record: record.when)
    refusals = [one for one in found if search.look(one) and isinstance(one, Judged)]
    histories = {queue_id: History(queue_id, []) for queue_id in search.stored}
    brought = Brought(search.stored)
    for record in found:
        for queue_id in brought.by(record):
            histories[queue_id].records.append(record)
    _add_offspring(histories, found)
    return list(histories.values()), [one for one in refusals if one.queue_id not in histories]


def _add_offspring(histories: Mapping[str, History], found: Sequence[Record]) -> None:
    of: dict[str, History] = {}
    for record in found:
        if isinstance(record, Judged) or record.queue_id in histories:
            continue
        parent = record.parent if isinstance(record, Stored) else ""
        history = histories.get(parent) or of.get(parent) or of.get(record.queue_id)
        if history is not None:
            of[record.queue_id] = history
            history.offspring.append(record)
