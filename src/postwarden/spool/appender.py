"""The receiver's side of the spool.

The promise: `done(None)` is called only when the message would survive the loss of power. Crash points of a message:

    receiving           body in memory, or in a body file that no record names: garbage, the courier removes it
    body file written   the same, until the file, then its name in the directory, then the record are durable, in
                        that order; the body file stays locked until the record is, so garbage can be told from it
    record written      whole or torn, perhaps durable: the courier may deliver it although no 250 was sent; the client
                        sends again. RFC 5321 4.1.1.4 leaves no way round it
    record synced       the 250 may leave. If the courier never hears of it, it finds it in the segment
    fault of the disk   451, or 452 if it is full; see segmentfile for what becomes of the segment

Memory: at most `BUDGET` bytes wait here. A body over `INLINE` bytes goes to a file of its own; when the budget is
spent each body does, so that slow clients can't stop fast ones. Who writes faster than the disk is told `congested`.
"""

import errno
from collections.abc import Callable
from zlib import crc32

from postwarden.ipc.records import SegmentSealed, Stored
from postwarden.mail.envelope import Envelope
from postwarden.mail.events import Event, Failure, Notice
from postwarden.mail.reply import Reply
from postwarden.net.clock import Clock, Timer
from postwarden.spool.bodyfile import BodyFile, BodyWriter
from postwarden.spool.files import DiskFiles, Files
from postwarden.spool.layout import incoming, spool_directory
from postwarden.spool.params import SpoolParams
from postwarden.spool.queueid import QueueIds
from postwarden.spool.segment import MARKER_SIZE, Meta, seal_record
from postwarden.spool.segmentfile import SegmentFile
from postwarden.spool.writer import GroupWriter, Writer

INLINE = 256 << 10
BUDGET = 64 << 20
SEGMENT_SIZE = 32 << 20
SEGMENT_AGE = 60.0
COMMIT_EVERY = 0.002
_SPACE_FACTOR = 1.5
"""Room for this many messages of message_size_limit must be left, as smtpd(8) has it."""
_SPACE_AGE = 0.2
_FULL = frozenset((errno.ENOSPC, errno.EDQUOT))

NO_SPACE = Reply(452, "4.3.1", "Insufficient system storage")
NO_WRITE = Reply(451, "4.3.0", "Error: queue file write error")

Done = Callable[[Reply | None], None]


def fault_reply(error: OSError) -> Reply:
    return NO_SPACE if error.errno in _FULL else NO_WRITE


class Draft:
    """A message that is being received: its body, as it comes."""

    __slots__ = (
        "_appender", "_chunks", "_crc", "_file", "_open", "_size",
        "body", "done", "envelope", "head", "length", "offset", "on_drained", "prefix", "segment",
    )  # fmt: skip

    envelope: Envelope
    head: bytes
    body: bytes
    done: Done
    prefix: bytes
    length: int
    """Of the record."""
    segment: int
    offset: int

    def __init__(self, appender: "Appender") -> None:
        self._appender = appender
        self._chunks: list[bytes] = []
        self._size = 0
        self._file: BodyFile | None = None
        self._open = True
        self.on_drained: Callable[[], None] | None = None
        """Called once each time `congested` ends."""

    @property
    def congested(self) -> bool:
        """More bytes wait for the disk than they should: write no more until `on_drained`."""
        return self._file is not None and self._file.congested

    def write(self, data: bytes) -> None:
        """Body bytes (CRLF line ends, no dot-stuffing, without the head)."""
        if self._file is not None:
            self._file.write(data)
            return
        self._chunks.append(data)
        self._size += len(data)
        self._appender.used += len(data)
        if self._size > INLINE or self._appender.spent:
            self._spill()

    def commit(self, envelope: Envelope, head: bytes, done: Done) -> None:
        """Make it durable, then call `done(None)`, or `done(fault)` if it can't be; always later, from the loop.
        Until then nothing may be answered. The draft is used up."""
        assert self._open
        self._open = False
        self.envelope = envelope
        self.head = head
        self.done = done
        if self._file is not None:
            self._file.finish(self._body_stored)
        else:
            chunks = self._chunks
            self.body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
            self._submit(Meta(envelope))

    def abandon(self) -> None:
        """The message is not wanted. Without effect after commit or abandon."""
        if self._open:
            self._open = False
            self._forget()
            if self._file is not None:
                self._file.abandon()

    def _spill(self) -> None:
        self._file = self._appender.body_file(self._drained)
        data = b"".join(self._chunks)
        self._forget()
        self._file.write(data)

    def _forget(self) -> None:
        self._appender.used -= self._size
        self._size = 0
        self._chunks = []

    def _drained(self) -> None:
        if self._open and self.on_drained is not None:
            self.on_drained()

    def _body_stored(self, fault: OSError | None) -> None:
        file = self._file
        assert file is not None
        if fault is not None:
            self._appender.report(fault)
            self.done(fault_reply(fault))
            return
        self.body = b""
        self._submit(Meta(self.envelope, file.name, file.size, file.crc))

    def _submit(self, meta: Meta) -> None:
        body, head = self.body, self.head
        self.prefix = seal_record(meta, head, len(body), crc32(body, crc32(head)))
        self.length = MARKER_SIZE + len(self.prefix) + len(head) + len(body)
        self._appender.submit(self)

    def finished(self, fault: Reply | None) -> Stored | None:
        """For the appender: the end of the commit."""
        self._forget()
        file = self._file
        if file is None:
            if fault is not None:
                return None
            return Stored(self.segment, self.offset, self.length, self.envelope, self.head, self.body)
        if fault is not None:
            file.abandon()
            return None
        file.release()
        return Stored(
            self.segment, self.offset, self.length, self.envelope, self.head, None, file.name, file.size, file.crc
        )


class _Roll:
    """Seal the segment, if it is still this one."""

    def __init__(self, segment: int) -> None:
        self.segment = segment


class _Result:
    """What the thread tells the loop of a group."""

    __slots__ = ("fault", "sealed", "segment")

    def __init__(self) -> None:
        self.fault: OSError | None = None
        self.sealed: list[int] = []
        self.segment = 0
        """That is open now."""


_Item = Draft | _Roll


class Appender:
    """One receiver's spool: implements the Store that `receive` declares."""

    def __init__(
        self,
        params: SpoolParams,
        instance: int,
        clock: Clock,
        post: Callable[..., object],
        on_event: Callable[[Event], None],
        *,
        files: Files | None = None,
        every: float = COMMIT_EVERY,
    ) -> None:
        """`post` is `loop.call_soon_threadsafe`; `every` is how many seconds commits are apart under load. Makes the
        receiver's directory, so call it before the sandbox closes; raises OSError if it can't."""
        self._params = params
        self._clock = clock
        self._on_event = on_event
        self._files = files or DiskFiles()
        self._spool = spool_directory(params.queue_directory)
        self._ids = QueueIds(clock.now, instance, long=params.enable_long_queue_ids)
        self._directory = incoming(self._spool, instance)
        self._files.make_directory(self._directory)
        self._segment = SegmentFile(self._files, self._spool, instance, clock.now)
        self._free = 0
        self._free_until = 0.0
        self._age: Timer | None = None
        self._current = 0
        self._faulty = False
        self.used = 0
        """Bytes in memory that are not durable."""
        self.on_stored: Callable[[Stored], None] | None = None
        """Called on the loop for each durable message, just before its `done`."""
        self.on_sealed: Callable[[SegmentSealed], None] | None = None
        self._bodies = BodyWriter(self._files, post, self)
        self._writer: Writer[_Item] = GroupWriter[_Item, _Result](self._commit, self._committed, post, "spool")
        self._gathered: list[Draft] = []
        self._next_commit = 0.0
        self._every = every
        self.new_queue_id = self._ids.new

    def room(self, size: int) -> Reply | None:
        """None if a message of `size` bytes (0: not known) may come in; else 452 4.3.1."""
        now = self._clock.monotonic()
        if now >= self._free_until:
            try:
                self._free = self._files.free(self._directory)
            except OSError as error:
                self._on_event(Failure(f"queue directory: {error}"))
                return fault_reply(error)
            self._free_until = now + _SPACE_AGE
        params = self._params
        least = max(params.queue_minfree, size, int(_SPACE_FACTOR * params.message_size_limit))
        return None if self._free > least else NO_SPACE

    @property
    def spent(self) -> bool:
        """All memory for what is not durable is in use."""
        return self.used > BUDGET

    def draft(self) -> Draft:
        return Draft(self)

    def body_file(self, drained: Callable[[], None]) -> BodyFile:
        """For a draft."""
        return self._bodies.begin(self._directory, drained)

    def submit(self, draft: Draft) -> None:
        """For a draft. Under load commits are `every` seconds apart: a sync costs as much CPU as half a message. A
        message that comes alone does not wait."""
        self._gathered.append(draft)
        if len(self._gathered) == 1:
            wait = self._next_commit - self._clock.monotonic()
            if wait > 0:
                self._clock.call_later(wait, self._hand_over)
            else:
                self._hand_over()

    def _hand_over(self) -> None:
        gathered, self._gathered = self._gathered, []
        if gathered:
            self._next_commit = self._clock.monotonic() + self._every
            submit = self._writer.submit
            for draft in gathered:
                submit(draft)

    def close(self) -> None:
        """Finish what was committed, seal the segment, end the threads. Blocks; `done`s are posted. Messages whose
        body file is still being finished get no answer."""
        if self._age is not None:
            self._age.cancel()
        self._bodies.close()
        if self._current:
            self._writer.submit(_Roll(self._current))
        self._hand_over()
        self._writer.close()
        self._segment.seal()

    # on the writer's thread

    def _commit(self, group: list[_Item]) -> _Result:
        result = _Result()
        segment = self._segment
        drafts: list[Draft] = []
        for item in group:
            if isinstance(item, Draft):
                drafts.append(item)
            elif item.segment == segment.number:
                result.sealed.append(segment.seal())
        if drafts:
            try:
                self._append(drafts, result)
            except OSError as error:
                result.fault = error
        result.segment = segment.number
        return result

    def _append(self, drafts: list[Draft], result: _Result) -> None:
        segment = self._segment
        if segment.size >= SEGMENT_SIZE and segment.number:
            result.sealed.append(segment.seal())
        if not segment.number:
            segment.open()
        number, marker, start = segment.number, segment.marker, segment.size
        at = start
        buffers: list[bytes] = []
        for draft in drafts:
            draft.segment = number
            draft.offset = at
            at += draft.length
            buffers += (marker, draft.prefix, draft.head, draft.body)
        try:
            segment.append(buffers, at - start)
        except OSError:
            result.sealed.append(number)
            raise

    # on the loop

    def _committed(self, group: list[_Item], result: _Result) -> None:
        if self.on_sealed is not None:
            for number in result.sealed:
                self.on_sealed(SegmentSealed(number))
        if result.segment != self._current:
            self._watch_age(result.segment)
        error = result.fault
        self.report(error)
        fault = fault_reply(error) if error is not None else None
        on_stored = self.on_stored
        for item in group:
            if isinstance(item, Draft):
                stored = item.finished(fault)
                if stored is not None and on_stored is not None:
                    on_stored(stored)
                item.done(fault)

    def _watch_age(self, segment: int) -> None:
        self._current = segment
        if self._age is not None:
            self._age.cancel()
            self._age = None
        if segment:
            self._age = self._clock.call_later(SEGMENT_AGE, lambda: self._writer.submit(_Roll(segment)))

    def report(self, error: OSError | None) -> None:
        """Once when it begins and once when it ends: under load a full disk is a thousand faults a second."""
        if error is not None and not self._faulty:
            self._on_event(Failure(f"queue file write error in {self._directory}: {error.strerror or error}"))
        elif error is None and self._faulty:
            self._on_event(Notice(f"queue files in {self._directory} can be written again"))
        self._faulty = error is not None
