"""`sendmail -bs`: SMTP on standard input and output. What it takes is handed in as any mail of the user who runs it.

It is the session that the network meets, over a stream and a clock without a loop; nobody judges here, since who runs
this could as well name the same recipients on the command line.
"""

import heapq
import itertools
import os
import select
import ssl
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from tempfile import SpooledTemporaryFile

from postwarden.cli.handing_in import NotAllowed, hand_in
from postwarden.cli.tool import Refusal, Voice
from postwarden.config.settings import Settings, load
from postwarden.mail.decision import BUILT_IN, Decision, Rule, Verdict
from postwarden.mail.envelope import Envelope, Recipient
from postwarden.mail.events import Warn
from postwarden.mail.remade import Remade
from postwarden.mail.reply import Reply
from postwarden.mail.session import PeerCertificate, SessionFacts, TlsFacts
from postwarden.mail.xtext import orcpt_of
from postwarden.net.log import Log
from postwarden.net.peername import LOCAL, PeerName
from postwarden.net.stream import Handler
from postwarden.receive.service import Neighbours, Service
from postwarden.receive.session import Session
from postwarden.spool.queueid import COURIER, QueueIds
from postwarden.wire.submission import Submission

_READ = 64 << 10
_IN_MEMORY = 1 << 20
_RULE = Rule("sendmail -bs", "", BUILT_IN)
_PERMIT = Decision(Verdict.PERMIT, _RULE)
_NO_ETRN = Decision(Verdict.REJECT, _RULE, reply=Reply(458, "", "Unable to queue messages"))
_OVERRIDES = {
    # No TLS over a pipe, and no key that this user may read. Programs write LF, and all they have to say at once.
    "smtpd_tls_security_level": "none", "smtpd_use_tls": "no", "smtpd_enforce_tls": "no",
    "smtpd_tls_wrappermode": "no", "smtpd_forbid_bare_newline": "no", "smtpd_forbid_unauth_pipelining": "no",
}  # fmt: skip


def main(name: str, words: list[str]) -> int:
    """`words[0]` is the configuration directory. Exit code 0 when the session is over, however it went."""
    settings = load(words[0], _OVERRIDES)
    voice = Voice(name)
    voice.open(settings)
    clock = PollClock()
    parties = Neighbours(
        clock, voice, Nobody(), Permissive(voice), as_it_is, HandingStore(settings, voice, clock), clock
    )
    session = Session(Service(settings, "", parties))
    serve(session, clock, 0, 1)
    return 0


class PollClock:
    """A `net.clock.Clock`, and the `net.waiting.Waiting` that is never needed. `run` calls what is due."""

    def __init__(self) -> None:
        self._timers: list[tuple[float, int, _Timer]] = []
        self._count = itertools.count()
        self.now = time.time
        self.monotonic = time.monotonic

    def call_later(self, seconds: float, callback: Callable[[], None]) -> "_Timer":
        timer = _Timer(callback)
        heapq.heappush(self._timers, (time.monotonic() + seconds, next(self._count), timer))
        return timer

    def call_soon(self, callback: Callable[[], None]) -> None:
        self.call_later(0.0, callback)

    def wait(self, fetch: Callable[[], Awaitable[None]], done: Callable[[Exception | None], None]) -> None:
        self.call_soon(lambda: done(RuntimeError("nothing to wait for")))

    def run(self) -> float | None:
        """Call what is due; seconds until the next, None: there is none."""
        while self._timers:
            due, _, timer = self._timers[0]
            left = due - time.monotonic()
            if left > 0 and timer.callback is not None:
                return left
            heapq.heappop(self._timers)
            callback, timer.callback = timer.callback, None
            if callback is not None:
                callback()
        return None


@dataclass
class _Timer:
    callback: Callable[[], None] | None

    def cancel(self) -> None:
        self.callback = None


class PipeStream:
    """A `net.stream.Stream` that writes at once, and waits for whoever reads."""

    def __init__(self, handler: Handler, out: int) -> None:
        self._handler = handler
        self._out = out
        self.open = True
        self.reading = True
        self.peer = ("127.0.0.1", 0)
        self.local = ("127.0.0.1", 0)
        self.tls: TlsFacts | None = None
        self.certificate: PeerCertificate | None = None

    def write(self, data: bytes) -> None:
        rest = memoryview(data)
        try:
            while rest and self.open:
                try:
                    rest = rest[os.write(self._out, rest) :]
                except BlockingIOError:  # whoever has the other end has made it so
                    select.select([], [self._out], [])
        except OSError:
            self.open = False

    def pause(self) -> None:
        self.reading = False

    def resume(self) -> None:
        self.reading = True

    def start_tls(self, context: ssl.SSLContext, *, server_side: bool, server_name: str = "") -> None:
        raise NotImplementedError

    def close(self) -> None:
        self.open = False

    def abort(self) -> None:
        self.open = False


def serve(session: Session, clock: PollClock, source: int, out: int) -> None:
    """Until the session is over, or its input."""
    stream = PipeStream(session, out)
    session.opened(stream)
    over = False
    while stream.open:
        left = clock.run()
        if over and stream.open:
            if left is None:
                break
            time.sleep(left)
        elif not stream.open:
            break
        elif not stream.reading:
            time.sleep(left or 0.01)
        elif select.select([source], [], [], left)[0]:
            try:
                data = os.read(source, _READ)
            except BlockingIOError:
                continue
            if not data:
                over = True
                session.ended()
            for line in data.splitlines(keepends=True):
                # One at a time: what was written ahead is no fault of who writes into a pipe.
                if stream.open:
                    session.received(line)
                    clock.run()
    session.closed(None)


class Nobody:
    """Peer names: who is at the other end of a pipe is local."""

    def verify(self, address: str, done: Callable[[PeerName], None]) -> None:
        done(LOCAL)


class Permissive:
    """A judge that lets pass."""

    def __init__(self, log: Log) -> None:
        self._log = log

    def connect(self, facts: SessionFacts) -> Decision:
        return _PERMIT

    def helo(self, facts: SessionFacts) -> Decision:
        return _PERMIT

    def mail(self, facts: SessionFacts, sender: str) -> Decision:
        return _PERMIT

    def recipient(self, facts: SessionFacts, recipient: str) -> Decision:
        return _PERMIT

    def data(self, facts: SessionFacts) -> Decision:
        return _PERMIT

    def end_of_data(self, facts: SessionFacts) -> Decision:
        return _PERMIT

    def etrn(self, facts: SessionFacts, domain: str, /) -> Decision:
        self._log.emit("smtpd", Warn('do not use ETRN in "sendmail -bs" mode'))
        return _NO_ETRN

    def verify(self, facts: SessionFacts, address: str) -> Decision:
        return _PERMIT


@dataclass(frozen=True)
class Unchanged:
    envelope: Envelope
    head: bytes
    remade: tuple[Remade, ...] = ()


def as_it_is(envelope: Envelope, head: bytes, profile: str) -> Unchanged | Reply:
    """Content is prepared where it is stored."""
    return Unchanged(envelope, head)


class HandingStore:
    """A `receive.ports.Store` that hands in."""

    def __init__(self, settings: Settings, voice: Voice, clock: PollClock) -> None:
        self._settings, self._voice, self._clock = settings, voice, clock
        self.new_queue_id = QueueIds(time.time, COURIER, long=bool(settings.value("enable_long_queue_ids"))).new

    def room(self, size: int) -> Reply | None:
        return None

    def draft(self) -> "HandingDraft":
        return HandingDraft(self)

    def hand_in(self, envelope: Envelope, content: Iterable[bytes]) -> Reply | None:
        """None, or the reply that says why not."""
        # What the program said, as of any SMTP client; pickup would name what it means here.
        given = tuple(
            Recipient(one.address, "", one.orcpt or orcpt_of(one.address), one.notify) for one in envelope.recipients
        )
        submission = Submission(
            envelope.sender, given, eight_bit=envelope.eight_bit, ret=envelope.ret, envid=envelope.envid
        )
        try:
            hand_in(self._settings, self._voice, submission, content)
        except NotAllowed as error:
            return Reply(550, "5.7.1", f"Error: {error}")
        except (Refusal, OSError) as error:
            return Reply(451, "4.3.0", f"Error: {error}")
        return None

    def later(self, callback: Callable[[], None]) -> None:
        self._clock.call_soon(callback)


class HandingDraft:
    """A `receive.ports.Draft`."""

    congested = False

    def __init__(self, store: HandingStore) -> None:
        self.on_drained: Callable[[], None] | None = None
        self._store = store
        self._body = SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115

    def write(self, data: bytes) -> None:
        self._body.write(data)

    def commit(self, envelope: Envelope, head: bytes, done: Callable[[Reply | None], None]) -> None:
        fault = self._store.hand_in(envelope, _Content(head, self._body))
        self._body.close()
        self._store.later(lambda: done(fault))

    def abandon(self) -> None:
        self._body.close()


class _Content:
    """Head and body, as often as they are asked for."""

    def __init__(self, head: bytes, body: "SpooledTemporaryFile[bytes]") -> None:
        self._head = head
        self._body = body

    def __iter__(self) -> Iterator[bytes]:
        yield self._head
        self._body.seek(0)
        while data := self._body.read(_READ):
            yield data
