"""All segments on the disk, and body files that no message refers to.

Garbage: a body file is written before the record that names it, so a receiver that dies between leaves one that nobody
needs. It is safe to remove when (1) it had no lock when it was listed, so that its record, if there is one, was durable
by then; (2) all segments have been read as far as they went after that; (3) no message refers to it. Where records were
damaged a body may be all that is left of a message: there nothing is removed.
"""

import contextlib
import os
import time
from collections.abc import Callable, Iterable, Iterator

from postwarden.net.clock import Clock
from postwarden.spool.files import locked
from postwarden.spool.layout import incoming, instance_of, instances, is_body, parse_segment
from postwarden.spool.live import Finals, LiveSegment
from postwarden.spool.segment import Segment

_STALE = 3600.0


class Shelf:
    def __init__(self, spool: str, clock: Clock) -> None:
        self._spool = spool
        self._clock = clock
        self.segments: dict[int, LiveSegment] = {}
        self._journal: dict[int, Finals] = {}
        self._removed: dict[int, str] = {}
        """Segments that are done with, until their files are seen to be gone."""
        self._garbage: set[str] = set()
        self._read_to: dict[int, int] = {}
        self.damaged: set[int] = set()
        """Receivers whose segments hold damage."""

    def open(self, journal: dict[int, Finals]) -> None:
        """Find all there is. Raises OSError."""
        self._journal = journal
        for instance in instances(self._spool):
            self._watch_garbage(instance)
            self.look(instance, written=True)
        self.segments = dict(sorted(self.segments.items()))
        self._read_to = {number: segment.end for number, segment in self.segments.items()}

    def gone(self, journaled: Iterable[int]) -> list[int]:
        """Of these segments, those that no longer exist."""
        return [number for number in journaled if number not in self.segments]

    def look_everywhere(self) -> None:
        for instance in instances(self._spool):
            self.look(instance)

    def look(self, instance: int, *, written: bool = False) -> None:
        """Find new segments of this receiver, and which of them nobody writes any more. `written`: what is in one that
        is being written counts too, though the last of it may not be durable yet; a record that was delivered and is
        not there after a power failure was never answered with 250, so its client comes again."""
        there = set()
        for path, number in self._list(instance):
            there.add(number)
            if number not in self._removed:
                self._refresh(path, number, written)
        for number in [n for n in self._removed if instance_of(n) == instance and n not in there]:
            del self._removed[number]

    def _list(self, instance: int) -> list[tuple[str, int]]:
        directory = incoming(self._spool, instance)
        try:
            names = sorted(os.listdir(directory))
        except FileNotFoundError:
            return []
        found = []
        for text in names:
            name = parse_segment(text)
            if name is not None and instance_of(name.number) == instance:
                found.append((os.path.join(directory, text), name.number))
        return found

    def _refresh(self, path: str, number: int, written: bool) -> None:
        segment = self.segments.get(number)
        try:
            if segment is None:
                name = parse_segment(os.path.basename(path))
                assert name is not None
                segment = LiveSegment(Segment(path, name), self._journal.pop(number, {}))
                self.segments[number] = segment
            if segment.sealed_at is None:
                if not locked(path):
                    segment.seal(self._clock.monotonic())
                elif written:
                    segment.extend(segment.file.size())
        except FileNotFoundError:
            return

    def find(self, number: int) -> LiveSegment | None:
        """A segment that a receiver just spoke of."""
        if number in self._removed:
            return None
        for path, found in self._list(instance_of(number)):
            if found == number:
                name = parse_segment(os.path.basename(path))
                assert name is not None
                segment = LiveSegment(Segment(path, name), self._journal.pop(number, {}))
                self.segments[number] = segment
                return segment
        return None

    def done_with(self, number: int) -> bool:
        """It was removed a short while ago."""
        return number in self._removed

    def waiting(self) -> Iterator[LiveSegment]:
        """Segments with records that nobody has read."""
        return (segment for segment in list(self.segments.values()) if segment.waiting)

    def remove(self, segment: LiveSegment) -> None:
        """Its file is unlinked, or could not be."""
        self.segments.pop(segment.number, None)
        self._removed[segment.number] = segment.file.path
        segment.file.close()

    def leftovers(self) -> list[tuple[int, str]]:
        """Files of removed segments that are still there: unlinking failed."""
        return [(number, path) for number, path in self._removed.items() if os.path.exists(path)]

    def close(self) -> None:
        for segment in self.segments.values():
            segment.file.close()
        self.segments.clear()

    # garbage

    def _watch_garbage(self, instance: int) -> None:
        directory = incoming(self._spool, instance)
        for name in os.listdir(directory):
            path = os.path.join(directory, name)
            with contextlib.suppress(FileNotFoundError):
                if is_body(name) and not locked(path):
                    self._garbage.add(f"{instance}/{name}")
                elif name.endswith(".segment.new") and not locked(path) and _age(path) > _STALE:
                    os.unlink(path)

    def collect_garbage(self, referred: Callable[[set[str]], set[str]], unlink: Callable[[list[str]], None]) -> None:
        """Once, when all that was there at the start has been read. `referred`: which of these some message needs."""
        if not self._garbage:
            return
        for number, end in self._read_to.items():
            segment = self.segments.get(number)
            if segment is not None and segment.cursor < end and not segment.blocked:
                return
        garbage, self._garbage = self._garbage, set()
        garbage = {path for path in garbage if int(path.partition("/")[0]) not in self.damaged}
        if garbage:
            unlink(sorted(garbage - referred(garbage)))


def _age(path: str) -> float:
    return time.time() - os.stat(path).st_mtime
