"""Messages by name and by page: what operators ask for. Only `find` and `pick` take what they find."""

from collections.abc import Collection, Iterable

from postwarden.mail.queue import Content, Cursor, Entry, Key, Listed
from postwarden.spool.entry import state_of
from postwarden.spool.live import LiveSegment
from postwarden.spool.queuerows import PAGE_BYTES, QueueRows
from postwarden.spool.schema import encode_envelope, encode_state
from postwarden.spool.shelf import Shelf

_ROWS, _SEGMENTS, _NEW_ROWS = range(3)


class Lookup:
    def __init__(
        self, rows: QueueRows, shelf: Shelf, held: dict[int, Entry], moving: dict[int, tuple[LiveSegment, int]]
    ) -> None:
        """`held`: what the courier holds of queue.db, by row; `moving`: rows that are not committed yet, and where
        they come from."""
        self._rows = rows
        self._shelf = shelf
        self._held = held
        self._moving = moving
        self.adrift: dict[int, Entry] = {}
        """By row: messages that nobody holds, on their way from a segment to queue.db. Who asks for one by name gets
        it from here, so that none is invisible in between."""

    # taking

    def find(self, queue_ids: Collection[str]) -> list[Entry]:
        """Messages with these ids that nobody holds, on hold or not; held from now on. Take a few hundred ids at a
        time. The first call reads the names of all mail that waits in segments."""
        left = set(queue_ids)
        found = self._take(self._rows.rows_of(left)) if left else []
        found += self._claim([row for row, entry in self.adrift.items() if entry.envelope.queue_id in left])
        left.difference_update([entry.envelope.queue_id for entry in found])
        for segment in list(self._shelf.waiting()) if left else ():
            for queue_id in [queue_id for queue_id in queue_ids if queue_id in left]:
                entry = segment.fetch(segment.locate(queue_id))
                if entry is not None:
                    left.discard(queue_id)
                    found.append(entry)
        return found

    def pick(self, keys: Collection[Key]) -> list[Entry]:
        """`find` for what a page has just listed, which costs less. One that has moved meanwhile is not found."""
        rows = [at for number, at in keys if not number]
        found = self._take(rows) if rows else []
        for number, at in keys:
            segment = self._shelf.segments.get(number)
            entry = segment.fetch(at) if segment is not None else None
            if entry is not None:
                found.append(entry)
        wanted = set(keys) if self.adrift else ()
        return found + self._claim([row for row in self.adrift if self._place(row) in wanted])

    def _take(self, rows: list[int]) -> list[Entry]:
        found = self._rows.pick(rows, self._held)
        for entry in found:
            self._held[entry.key[1]] = entry
        return found

    def _claim(self, rows: Iterable[int]) -> list[Entry]:
        return [self.adrift.pop(row) for row in rows]

    def _place(self, row: int) -> Key:
        segment, offset = self._moving[row]
        return segment.number, offset

    def put_back(self, entry: Entry) -> bool:
        """Hold it no more. False: that can't be without a change on the disk, since its place in the segment has been
        passed."""
        number, at = entry.key
        if number:
            segment = self._shelf.segments[number]
            if at < segment.cursor:
                return False
            del segment.held[at]
        elif at in self._moving:
            self.adrift[at] = entry
        else:
            del self._held[at]
            self._rows.put_away(entry.due)
        return True

    # looking

    def peek(self, queue_id: str) -> tuple[Listed, Content] | None:
        """A message as it is stored, held or not, without taking it. Raises Damaged, OSError."""
        for row in self._rows.rows_of([queue_id]):
            listing, _ = self._rows.page(row - 1, 1, self._held)
            if listing and listing[0].key == (0, row):
                return listing[0], self._rows.content(row)
        for segment in self._shelf.segments.values():
            held = (offset for offset, entry in segment.held.items() if entry.envelope.queue_id == queue_id)
            offset = next(held, 0) or (segment.locate(queue_id) if segment.waiting else 0)
            entry = next((entry for at, entry in segment.entries(offset - 1) if at == offset), None) if offset else None
            if entry is not None:
                return _listed(segment, offset, entry), self._content(segment, offset, entry)
        return None

    def _content(self, segment: LiveSegment, offset: int, entry: Entry) -> Content:
        head, body = segment.content(offset)
        if not entry.body_file:
            return Content(head, body)
        return Content(head, None, self._rows.open_body(entry.body_file), 0, entry.body_size, entry.body_crc)

    def page(self, after: Cursor | None, limit: int = 500) -> tuple[list[Listed], Cursor | None]:
        """Up to `limit` of the messages that are stored, big ones fewer, and where to go on; None: that was all. A page
        may be empty and not the last. What moves meanwhile may come twice: see `mail.queue.once`. Raises Damaged when
        queue.db can't be read now: it is being rebuilt."""
        # Rows, segments, and then the rows that are new since: so that what moves comes twice rather than never.
        stage, row, number, at = after or (_ROWS, 0, 0, 0)
        if stage != _SEGMENTS:
            found, next_row = self._rows.page(row, limit, self._held)
            if next_row is not None:
                return found, (stage, next_row, 0, 0)
            return found, (_SEGMENTS, row, 0, 0) if stage == _ROWS else None
        found, size = [], 0
        for segment in sorted(self._shelf.segments.values(), key=lambda segment: segment.number):
            if segment.number < number:
                continue
            for offset, entry in segment.entries(at if segment.number == number else 0):
                listed = _listed(segment, offset, entry)
                found.append(listed)
                size += len(listed.raw_envelope) + len(listed.raw_state)
                if len(found) >= limit or size > PAGE_BYTES:
                    return found, (_SEGMENTS, row, segment.number, offset)
        return found, (_NEW_ROWS, row, 0, 0)


def _listed(segment: LiveSegment, offset: int, entry: Entry) -> Listed:
    envelope = entry.envelope
    held = offset in segment.held
    return Listed(
        (segment.number, offset), envelope.queue_id, entry.due, held, encode_envelope(envelope),
        encode_state(state_of(entry)),
    )  # fmt: skip
