"""Mail of local users: what comes over the submission socket, judged, prepared as the pickup service's cleanup profile
says, and stored (pickup(8), postdrop(1)).

The peer's uid is the kernel's word. Who may say that a message is somebody else's is root, and the mail system's own
user: the agent brings what was put into the maildrop directory.
"""

import traceback
from collections.abc import Callable
from functools import partial

from msgspec import structs

from postwarden.mail.decision import Pending
from postwarden.mail.envelope import Envelope
from postwarden.mail.events import Failure, PickedUp, Warn, printable
from postwarden.mail.remade import Remade
from postwarden.mail.reply import Reply
from postwarden.net.clock import Deadline
from postwarden.net.stream import Stream
from postwarden.receive.content import Intake
from postwarden.receive.ports import Draft
from postwarden.receive.submit_service import SubmitService
from postwarden.tables.table import TableError
from postwarden.wire.data import ChunkReader
from postwarden.wire.submission import (
    ACCEPTED,
    DENIED,
    GREETING,
    LATER,
    REFUSED,
    Answer,
    End,
    Line,
    Malformed,
    Reader,
    Submission,
    answer,
)

_PATIENCE = 60.0
"""Seconds without a byte. `sendmail` has all of its message before it connects."""
_ROUNDS = 200
_OLDEST = 30 * 86400.0
_TROUBLE = Answer(LATER, "internal error")
_WRITE = Answer(LATER, "queue file write error")
_TOO_BIG = Answer(REFUSED, "message file too big")


class Submitting:
    """One submission: a `net.stream.Handler`."""

    __slots__ = (
        "_admitted", "_chunks", "_deadline", "_draft", "_intake", "_over", "_reader", "_rounds", "_service",
        "_stream", "_submission", "_undecided", "peer", "uid",
    )  # fmt: skip

    _stream: Stream
    _submission: Submission

    def __init__(self, service: SubmitService, uid: int) -> None:
        """`uid` is the peer's."""
        self._service = service
        self.peer = self.uid = uid
        self._reader = Reader()
        self._chunks = ChunkReader()
        self._draft: Draft | None = None
        self._intake: Intake | None = None
        self._admitted = False
        self._undecided = False
        """Whether it may come in is not known yet; meanwhile it does."""
        self._over = False
        self._rounds = 0
        self._deadline = Deadline(service.clock, self._timed_out)

    # net.stream.Handler

    def opened(self, stream: Stream) -> None:
        self._stream = stream
        self._deadline.set(_PATIENCE)
        self._service.enter(self)

    def admitted(self) -> None:
        """For the service: there is a place."""
        if not self._over:
            self._admitted = True
            self._stream.write(GREETING)

    def turned_away(self) -> None:
        """For the service: there is not even room to wait."""
        self._stream.close()
        self._end()

    def received(self, data: bytes) -> None:
        if self._over:
            return
        self._deadline.set(_PATIENCE)
        try:
            if not self._admitted:
                # Places are limited because each may hold megabytes: who waits for one may hold nothing.
                raise Malformed("spoke before it was greeted")
            for event in self._reader.feed(data):
                match event:
                    case Submission():
                        self._begin(event)
                    case End():
                        self._finish()
                    case Line():
                        self._service.log_line(self.uid, event)
                    case _:
                        self._content(event)
                if self._over:
                    return
        except Malformed as error:
            self._service.complain(self.uid, f"uid={self.uid}: malformed input: {error}")
            self._say(Answer(REFUSED, "malformed input"))
        except Exception:
            self._broken()

    def ended(self) -> None:
        if not self._reader.ended:
            self._stream.close()
            self._end()

    def secured(self, tls: object) -> None:
        """Never: no TLS is spoken here."""

    def congested(self) -> None:
        """An answer is short."""

    def drained(self) -> None:
        """As above."""

    def closed(self, reason: Exception | None) -> None:
        self._end()

    # inside

    def _begin(self, submission: Submission) -> None:
        service = self._service
        if submission.user >= 0:
            if self.peer not in (0, service.trusted):
                raise Malformed("speaks for somebody else")
            self.uid = submission.user
        self._submission = submission
        try:
            denial = self._denial(submission)
        except Pending:
            self._undecided, denial = True, None
        if denial is not None:
            self._say(denial)
            return
        self._draft = service.store.draft()
        self._intake = Intake(self._draft)

    def _denial(self, submission: Submission) -> Answer | None:
        """Raises Pending."""
        service = self._service
        if not submission.recipients:
            return Answer(REFUSED, "no recipients")
        try:
            if not service.users.may_submit(self.uid):
                text = f"User {service.users.name(self.uid)}({self.uid}) is not allowed to submit mail"
                service.complain(self.uid, text)
                return Answer(DENIED, text)
            if not service.users.may_send_as(self.uid, submission.sender):
                return Answer(REFUSED, f"not authorized to use sender='{submission.sender}'")
        except TableError as error:
            service.complain(self.uid, f"uid={self.uid}: who may submit is not known: {error}")
            return Answer(LATER, "user lookup error")
        if service.absent is not None:
            reply = service.absent.reply
            if reply is not None and reply.permanent:
                return Answer(REFUSED, reply.text)
            service.complain(self.uid, f"uid={self.uid}: {service.absent.parameter}: not available in this version")
            return Answer(LATER, reply.text if reply is not None else "a filter is not available")
        fault = service.store.room(0)
        if fault is not None:
            return Answer(LATER, fault.text)
        quota = service.over_quota(self.uid)
        return Answer(LATER, quota) if quota else None

    def _content(self, data: bytes) -> None:
        intake, draft = self._intake, self._draft
        assert intake is not None and draft is not None
        intake.write(self._chunks.feed(data))
        limit = self._service.params.message_size_limit
        if 0 < limit < intake.size:
            self._service.complain(self.uid, f"uid={self.uid}: File too large")
            self._say(_TOO_BIG)
        elif draft.congested:
            draft.on_drained = self._stream.resume
            self._stream.pause()

    def _finish(self) -> None:
        intake = self._intake
        assert intake is not None
        rest = self._chunks.finish()
        if rest:
            intake.write(rest)
        intake.finish()
        self._deadline.clear()
        if self._undecided:
            self._decide()
        else:
            self._take()

    def _decide(self) -> None:
        try:
            denial = self._denial(self._submission)
        except Pending as pending:
            self._wait(pending, self._decide)
            return
        if denial is None:
            self._take()
        else:
            self._say(denial)

    def _take(self) -> None:
        queue_id = self._service.store.new_queue_id()
        self._service.emit(PickedUp(queue_id, self.uid, self._submission.sender))
        self._prepare(queue_id)

    def _prepare(self, queue_id: str) -> None:
        service, intake, draft = self._service, self._intake, self._draft
        assert intake is not None and draft is not None
        params = service.params
        now = service.clock.now()
        head = (
            f"Received: by {params.myhostname} ({params.mail_name}, from userid {self.uid})\r\n"
            f"\tid {queue_id}; {service.dates.at(now)}\r\n"
        ).encode() + intake.head
        try:
            prepared = service.prepare(self._envelope(queue_id, now, len(head)), head, service.profile)
        except Pending as pending:
            self._wait(pending, lambda: self._prepare(queue_id))
            return
        if isinstance(prepared, Reply):
            verdict = LATER if prepared.temporary else REFUSED
            service.emit(Warn(f"{queue_id}: not accepted: {prepared}"))
            self._say(Answer(verdict, prepared.text, queue_id))
            return
        envelope, head = prepared.envelope, prepared.head
        size = intake.body_size + len(head)
        if envelope.size != size:
            envelope = structs.replace(envelope, size=size)
        if not envelope.recipients:
            self._say(Answer(ACCEPTED, "", queue_id))
            return
        self._draft = None
        draft.on_drained = None
        draft.commit(envelope, head, partial(self._stored, envelope, prepared.remade))

    def _wait(self, pending: Pending, then: Callable[[], None]) -> None:
        self._rounds += 1
        if self._rounds > _ROUNDS:
            self._say(_TROUBLE)
            return

        def done(error: Exception | None) -> None:
            if self._over:
                return
            try:
                if error is not None:
                    raise error
                then()
            except Exception:
                self._broken()

        self._service.waiting.wait(pending.fetch, done)

    def _envelope(self, queue_id: str, now: float, head_size: int) -> Envelope:
        submission, intake = self._submission, self._intake
        assert intake is not None
        addresses = (submission.sender, *(recipient.address for recipient in submission.recipients))
        utf8 = self._service.detects_utf8 and (not all(map(str.isascii, addresses)) or _is_utf8(intake.head))
        return Envelope(
            queue_id,
            self._arrival(now),
            submission.sender,
            submission.recipients,
            intake.body_size + head_size,
            submission.eight_bit or intake.eight_bit,
            smtputf8=utf8,
            ret=submission.ret,
            envid=submission.envid,
            context="remote" if submission.remote else "local",
            user=str(self.uid),
            full_name=submission.full_name,
            verp=submission.verp,
            trace=submission.trace,
            filter=self._service.content_filter,
        )

    def _arrival(self, now: float) -> float:
        """The time of a file is its owner's to set: within reason it is believed."""
        written = self._submission.written if self.peer in (0, self._service.trusted) else 0.0
        return min(max(written, now - _OLDEST), now) if written else now

    def _stored(self, envelope: Envelope, remade: tuple[Remade, ...], fault: Reply | None) -> None:
        recorder = self._service.recorder
        if fault is None and recorder is not None:
            recorder.stored(envelope, remade=remade)
        if not self._over:
            self._say(Answer(ACCEPTED, "", envelope.queue_id) if fault is None else _WRITE)

    def _say(self, said: Answer) -> None:
        self._stream.write(answer(said))
        self._stream.close()
        self._end()

    def _broken(self) -> None:
        """A bug, ours or of a stage."""
        if not self._over:
            text = printable(traceback.format_exc(limit=-6).replace("\n", " | "))
            self._service.emit(Failure(f"uid={self.uid}: {text}"))
            self._say(_TROUBLE)

    def _timed_out(self) -> None:
        if not self._over:
            self._service.complain(self.uid, f"uid={self.uid}: timeout")
            self._stream.close()
            self._end()

    def _end(self) -> None:
        if self._over:
            return
        self._over = True
        self._deadline.clear()
        self._service.leave(self)
        if self._draft is not None:
            self._draft.on_drained = None
            self._draft.abandon()
            self._draft = None
        del self._deadline


def _is_utf8(head: bytes) -> bool:
    """Text beyond ASCII, rightly encoded."""
    if head.isascii():
        return False
    try:
        head.decode()
    except UnicodeDecodeError:
        return False
    return True
