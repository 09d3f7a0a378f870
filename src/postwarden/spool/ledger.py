"""The courier's side of the spool: which messages live, and where.

A message lives in exactly one place: as a record of a segment until that record is settled, or as a row of queue.db.
Facts about a record are rows of the journal in queue.db; receivers' files are only read, and unlinked when all that is
in them is settled. Crash points:

    outcome known, not committed     the delivery is repeated after a restart: at most the open deliveries and one
                                     commit group
    commit                           SQLite's: whole or absent. One transaction holds all of a `Change`: final
                                     recipients, the report about them, the new due time. A message that moves is
                                     inserted and its record settled in the same one, so it is never in both places
                                     and never in neither
    committed, segment not unlinked  unlinked after the next start, since the journal says that all of it is settled
    unlinked, journal not cleaned    rows of segments that do not exist are dropped at the start. The order matters: a
                                     journal cleaned before the directory is synced could bring all its mail back
    body file                        unlinked after the commit that ends its last message; a crash between leaves
                                     garbage, see `garbage`

What receivers tell over their channels is only a faster way to what is on disk: a record that was never told is found
behind the cursor of its segment (`live`) once the segment has no writer, which the kernel tells by its lock.

`due` on the loop reads committed rows. So a message counts as held until the commit that puts it away is through, and
it is not handed out twice.
"""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from postwarden.ipc.records import Stored
from postwarden.mail.events import Event, Failure, Warn
from postwarden.mail.queue import Change, Content, Entry, Key, NewMessage, SpoolError
from postwarden.net.clock import Clock
from postwarden.spool.entry import change_entry, lasts, state_of
from postwarden.spool.files import DiskFiles, Files
from postwarden.spool.intake import Intake
from postwarden.spool.layout import instance_of, spool_directory
from postwarden.spool.ledgerwriter import LedgerWriter, Work
from postwarden.spool.live import LiveSegment, plausible
from postwarden.spool.lookup import Lookup
from postwarden.spool.newrows import NewRows, given
from postwarden.spool.params import SpoolParams
from postwarden.spool.queuedb import GROWN, Delete, Drop, Operation, Settle, Unlink, Update
from postwarden.spool.queueid import COURIER, QueueIds
from postwarden.spool.queuerows import QueueRows
from postwarden.spool.segment import Gap
from postwarden.spool.shelf import Shelf

MOVE_AFTER = 60.0
_BATCH = 200
Done = Callable[[tuple[Entry, ...]], None]


class Ledger:
    """What the courier knows of the queue. All calls and callbacks on the loop; none blocks longer than a page read."""

    def __init__(
        self,
        params: SpoolParams,
        clock: Clock,
        post: Callable[..., object],
        on_event: Callable[[Event], None],
        *,
        files: Files | None = None,
        grown: int = GROWN,
    ) -> None:
        """`post` is `loop.call_soon_threadsafe`. Nothing is opened before `recover`."""
        self._clock = clock
        self._emit = on_event
        self._files = files or DiskFiles()
        self._grown = grown
        self._spool = spool_directory(params.queue_directory)
        self._shelf = Shelf(self._spool, clock)
        self._writer = LedgerWriter(self._spool, self._files, post, on_event, self._replaced)
        self._rows = QueueRows(self._spool, self._damaged, self._writer.broken)
        self._held: dict[int, Entry] = {}
        """Messages in queue.db that the courier holds, by row."""
        self._moving: dict[int, tuple[LiveSegment, int]] = {}
        """Rows that are not committed yet, and where their content is until then."""
        self._intake = Intake(self._files, self._spool)
        self._lookup = Lookup(self._rows, self._shelf, self._held, self._moving)
        self.find, self.pick = self._lookup.find, self._lookup.pick
        self.peek, self.page = self._lookup.peek, self._lookup.page
        self._new = NewRows(self._writer.tell)
        self.new_queue_id = QueueIds(clock.now, COURIER, long=params.enable_long_queue_ids).new

    # taking up

    def recover(self) -> Iterator[Entry]:
        """Open the queue, then yield what lives in it, oldest first, read page by page as the iterator is driven.

        It is `due` in a loop: who is full stops early and calls `due` when there is room. Raises OSError and
        sqlite3.Error when the queue can't be opened."""
        self._files.make_directory(self._spool)
        journal = self._writer.open(self._grown)
        self._rows.open()
        self._new.begin(self._writer.last_row, self._writer.last_epoch)
        self._shelf.open(journal)
        self._writer.forget(self._shelf.gone(journal))
        return self._recovered()

    def _recovered(self) -> Iterator[Entry]:
        while page := self.due(self._clock.now()):
            yield from page

    def take(self, stored: Stored, instance: int = -1) -> Entry | None:
        """A receiver's message, now held by the courier. None: known already, or older ones of that segment come first
        and it will follow through `due`. `instance` is the receiver's, from its Link: a record that names
        another's segment raises SpoolError."""
        segment = self._segment(stored, instance)
        if segment is None:
            return None
        if stored.offset == segment.cursor and not segment.settled:
            return segment.take(stored)
        segment.extend(stored.offset + stored.length)
        return None

    def set_aside(self, stored: Stored, instance: int = -1) -> None:
        """The courier is full: the message waits on disk and comes with `due`. Costs no memory."""
        segment = self._segment(stored, instance)
        if segment is not None:
            segment.extend(stored.offset + stored.length)

    def _segment(self, stored: Stored, instance: int) -> LiveSegment | None:
        """None: it is gone, since all that was in it was read from the disk and settled before this word of it came."""
        number = stored.segment
        if instance >= 0 and instance_of(number) != instance:
            raise SpoolError(f"receiver {instance} speaks of segment {number:016x}, which is not its own")
        body = stored.body_file, stored.body_size, stored.body_crc
        if stored.length <= 0 or not plausible(stored.envelope, *body):
            raise SpoolError(f"receiver {instance} tells of a message that can't be")
        segment = self._shelf.segments.get(number) or self._shelf.find(number)
        if segment is None and not self._shelf.done_with(number):
            self._emit(Warn(f"{stored.envelope.queue_id}: segment {number:016x} of receiver {instance} is not there"))
        return segment

    def due(self, now: float, limit: int = 500) -> tuple[Entry, ...]:
        """Up to `limit` messages that nobody holds and whose time has come: set aside, found on disk, deferred until
        now. They are held from now on. Empty: nothing (more) is due."""
        # Half of the page for each, as qmgr(8) takes turns: new mail must not starve the old, nor the old the new.
        found = self._due_rows(now, (limit + 1) // 2)
        for segment in self._shelf.waiting():
            if len(found) >= limit:
                return tuple(found)
            found += segment.read(limit - len(found), partial(self._gap, segment))
        self._shelf.collect_garbage(self._body_files, self._writer.submit_unlink)
        if len(found) < limit:
            found += self._due_rows(now, limit - len(found))
        return tuple(found)

    def _due_rows(self, now: float, limit: int) -> list[Entry]:
        found = self._rows.due(now, limit, self._held)
        for entry in found:
            self._held[entry.key[1]] = entry
        return found

    def _body_files(self, of: set[str]) -> set[str]:
        """Those of these that some message needs."""
        files = self._rows.body_files(of)
        for segment in self._shelf.segments.values():
            files.update([entry.body_file for entry in segment.held.values()])
        files.update([entry.body_file for entry in self._held.values()])
        return files

    def last_due(self) -> float | None:
        """When the last of the put-away messages is due that nobody holds; None if there is none, or a flush is under
        way. (Of many that are held it may look at some only, and tell None.)"""
        return self._rows.last_due(self._held)

    def flush(self) -> None:
        """Make `due` hand out all deferred messages once, whatever their time, but not those on hold."""
        self._new.epoch += 1
        self._rows.flush(self._new.epoch)

    def flush_site(self, site: str) -> None:
        """Make `due` hand out all deferred messages that were put away with this site in `Change.sites`, once."""
        self._rows.flush_site(site, self._new.last)

    # by name: `find`, `pick`, `peek`, `page` are those of `lookup.Lookup`

    def put_back(self, entry: Entry) -> None:
        """What `find` or `pick` gave, unchanged: it is held no more."""
        if not self._lookup.put_back(entry):
            self.settle(Change(entry.key, due=entry.due or self._clock.now()), lambda _: None)

    def import_(self, messages: Sequence[NewMessage], done: Callable[[], None]) -> None:
        """Store mail that comes from elsewhere, all in one transaction, then call `done`. Nobody holds it; what has no
        due time is due now. Raises OSError when a big body can't be stored; nothing has happened then. Blocks for as
        long as that takes."""
        made = [self._intake.store_body(new, self._new.number()) for new in messages]
        operations = [
            self._new.insert(entry.key[1], entry, partial(given, new.head, body), 0)
            for new, (entry, body) in zip(messages, made, strict=True)
        ]

        def stored() -> None:
            for entry, _ in made:
                self._rows.put_away(entry.due)
            done()

        self._writer.submit(Work(operations, stored))

    def linked(self, instance: int) -> None:
        """A channel to this receiver stands: what it stored before (while no courier listened) comes with `due`."""
        self._shelf.look(instance, written=True)

    def sealed(self, segment: int) -> None:
        """A receiver's SegmentSealed."""
        self._shelf.look(instance_of(segment))

    def orphan(self, instance: int) -> None:
        """A receiver ended: what it stored and never told comes with `due`. The kernel may close its channel before it
        drops its locks, so all that is written counts now, not when the segments are seen to be sealed."""
        self._shelf.look(instance, written=True)

    # content

    def content(self, key: Key) -> Content:
        """Head and body of a held message. Raises Damaged, OSError."""
        number, at = key
        if not number and at in self._moving:
            segment, at = self._moving[at]
        elif not number:
            return self._rows.content(at)
        else:
            segment = self._shelf.segments[number]
        entry = segment.held.get(at) or self._held[key[1]]
        head, body = segment.content(at)
        if not entry.body_file:
            return Content(head, body)
        return Content(head, None, self._rows.open_body(entry.body_file), 0, entry.body_size, entry.body_crc)

    # settling

    @property
    def failing(self) -> bool:
        """queue.db can't be written now: begin no deliveries, since each could be repeated after a crash."""
        return self._writer.failing

    def settle(self, change: Change, done: Done) -> None:
        """Make `change` durable with the next commit group, then call `done` with the entries of the spawned messages,
        of which the courier then holds those without a `due` time. The entry's fields change at once. A fault of the
        disk is reported, and tried again until it works or the process ends; `done` is never called for what is not
        durable."""
        key = change.key
        segment = self._shelf.segments.get(key[0])
        entry = self._held.get(key[1]) if segment is None else segment.held.get(key[1])
        if entry is None:
            raise SpoolError(f"nobody holds message {key}")
        operations: list[Operation] = []
        spawned = tuple([self._spawn(new, entry, operations) for new in change.spawned])
        change_entry(entry, change)
        if segment is not None:
            self._settle_record(segment, entry, change, operations)
        else:
            self._settle_row(entry, change, operations)
        # A message that a sweep moves meanwhile is the affair of that sweep: `entry.key` may be another by then.
        left = (segment, key[1]) if segment is not None and (not entry.open or not entry.key[0]) else None
        gone = entry if not entry.open or change.due > 0 else None
        row = 0 if entry.key[0] else entry.key[1]
        self._writer.submit(Work(operations, partial(self._settled, left, row, gone, spawned, done)))

    def _settle_record(self, segment: LiveSegment, entry: Entry, change: Change, operations: list[Operation]) -> None:
        offset = entry.key[1]
        if not entry.open:
            operations.append(Settle(segment.number, offset, None))
            if entry.body_file:
                operations.append(Unlink(entry.body_file))
        elif (
            change.due or lasts(change) or (entry.body_file and any(new.body_of is not None for new in change.spawned))
        ):
            # A body file that a forward shares has to be counted in queue.db, or it goes with the forward.
            self._move(segment, entry, operations, change.sites)
        elif change.finals:
            operations.append(Settle(segment.number, offset, tuple([index for index, _ in change.finals])))

    def _settle_row(self, entry: Entry, change: Change, operations: list[Operation]) -> None:
        row = entry.key[1]
        if not entry.open:
            operations.append(Delete(row, entry.content))
        elif change.due or change.finals or lasts(change):
            sites = change.sites if change.due else None
            operations.append(Update(row, entry.due, state_of(entry), self._new.epoch, sites))

    def _move(
        self, segment: LiveSegment, entry: Entry, operations: list[Operation], sites: tuple[str, ...] = ()
    ) -> None:
        """From its segment to queue.db: the row and the end of the record in one transaction."""
        offset = entry.key[1]
        operations.append(self._new.moved(segment, entry, sites))
        operations.append(Settle(segment.number, offset, None))
        row = entry.key[1]
        self._held[row] = entry
        self._moving[row] = (segment, offset)

    def _spawn(self, new: NewMessage, parent: Entry, operations: list[Operation]) -> Entry:
        number = parent.key[0]
        entry, insert = self._new.spawned(new, parent, self._shelf.segments[number] if number else None)
        operations.append(insert)
        self._held[entry.key[1]] = entry
        return entry

    def _settled(
        self,
        left: tuple[LiveSegment, int] | None,
        row: int,
        gone: Entry | None,
        spawned: tuple[Entry, ...],
        done: Done,
    ) -> None:
        """A change is durable: the message has left its record `left`, has `row` in queue.db, and is `gone` from the
        courier's hands."""
        if left is not None:
            left[0].leave(left[1])
        if row:
            self._moving.pop(row, None)
            if gone is not None:
                self._held.pop(row, None)
                if gone.open:
                    self._rows.put_away(gone.due)
        if spawned:
            self._away([entry for entry in spawned if entry.due])
        done(spawned)

    def _away(self, entries: Sequence[Entry]) -> None:
        """These rows are durable, and nobody's."""
        for entry in entries:
            del self._held[entry.key[1]]
            self._rows.put_away(entry.due)

    # house-keeping

    def sweep(self, now: float) -> None:
        """Call about every 5 s: moves what is alive a minute after sealing into queue.db, where it is due at `now` if
        nobody holds it; unlinks settled segments."""
        self._shelf.look_everywhere()
        self._writer.sweep()
        moment = self._clock.monotonic()
        for number, path in self._shelf.leftovers():
            self._writer.submit(Work([Drop(number, path)], _nothing))
        for segment in list(self._shelf.segments.values()):
            if segment.finished:
                self._drop(segment)
            elif segment.sealed_at is not None and moment - segment.sealed_at >= MOVE_AFTER and not segment.moving:
                self._empty(segment, now)

    def barrier(self, passed: Callable[[], None]) -> None:
        """Call `passed` when all that was asked for until now is durable."""
        self._writer.submit(Work([], passed))

    def _drop(self, segment: LiveSegment) -> None:
        if not segment.dropped:
            segment.dropped = True
            self._writer.submit(Work([Drop(segment.number, segment.file.path)], partial(self._shelf.remove, segment)))

    def _empty(self, segment: LiveSegment, now: float) -> None:
        """Move a batch; the next when it is through."""
        operations: list[Operation] = []
        here = [entry for entry in segment.held.values() if entry.open and entry.key[0]]
        entries = here[:_BATCH]
        unheld: list[Entry] = []
        if len(entries) < _BATCH:
            unheld = list(segment.read(_BATCH - len(entries), partial(self._gap, segment)))
        for entry in unheld:
            entry.due = entry.due or now
        offsets = [entry.key[1] for entry in (*entries, *unheld)]
        for entry in (*entries, *unheld):
            self._move(segment, entry, operations)
        if not offsets:
            return
        self._lookup.adrift.update({entry.key[1]: entry for entry in unheld})
        segment.moving = True

        def moved() -> None:
            self._moved(segment, offsets, entries, unheld)
            if segment.finished:
                self._drop(segment)
            else:
                self._empty(segment, now)

        self._writer.submit(Work(operations, moved))

    def _moved(self, segment: LiveSegment, offsets: list[int], held: list[Entry], unheld: list[Entry]) -> None:
        segment.moving = False
        for offset in offsets:
            segment.leave(offset)
        for entry in (*held, *unheld):
            self._moving.pop(entry.content, None)
        adrift = self._lookup.adrift
        self._away([entry for entry in (*held, *unheld) if adrift.pop(entry.content, None) is not None])

    def _gap(self, segment: LiveSegment, gap: Gap, settled: int) -> None:
        """Bytes in which no record could be read: said with the place, since nothing else is left to name."""
        size = gap.stop - gap.start
        where = f"{segment.file.path}: {size} bytes at {gap.start}"
        if segment.sealed_at is not None and gap.stop >= segment.end:
            text = "hold no whole record: a write that was not finished (and not answered with 250), or damage"
        else:
            self._shelf.damaged.add(instance_of(segment.number))
            text = f"are damaged; messages in them are lost, except {settled} that were done with"
        self._emit(Warn(f"{where} {text}"))

    def _damaged(self, text: str) -> None:
        self._emit(Failure(text))

    def _replaced(self) -> None:
        try:
            self._rows.open()
        except sqlite3.Error as error:
            self._damaged(f"queue.db: {error}")

    def close(self) -> None:
        """Wait until all that was settled is durable, then close. Blocks."""
        self._writer.close()
        self._rows.close()
        self._shelf.close()


def _nothing() -> None:
    return
