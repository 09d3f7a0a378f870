"""One connection to a server, from its greeting to QUIT. What is said over it is a `Phase`: the handshake, one
message after another, a reset, the wait between two messages."""

from collections.abc import Callable
from typing import Protocol

from postwarden.deliver.smtp import reasons
from postwarden.deliver.smtp.params import Profile
from postwarden.deliver.smtp.security import PLAIN
from postwarden.mail.host import Host
from postwarden.mail.session import TlsFacts
from postwarden.mail.status import Status
from postwarden.net.clock import Clock, Deadline
from postwarden.net.stream import Stream, UntrustedCertificate
from postwarden.tables.table import TableError
from postwarden.wire.smtp_client import SmtpClient
from postwarden.wire.smtp_extensions import Extensions
from postwarden.wire.smtp_replies import EndlessReply, RemoteReply
from postwarden.wire.smtp_states import END, State


class Phase(Protocol):
    def answered(self, event: str, reply: RemoteReply) -> None: ...

    def broken(self, status: Status) -> None:
        """The connection is over, in the middle of this: lost, timed out, or not to be trusted."""

    def drained(self) -> None: ...

    def secured(self, tls: TlsFacts) -> None: ...


class Keeper(Protocol):
    """Who owns the connections that rest."""

    def keep(self, session: "Session") -> bool:
        """Take a session that can carry another message, and call its `rest`; False: no use for it."""

    def forget(self, session: "Session") -> None:
        """The session is gone."""


class Session:
    """A `net.stream.Handler`. `stage` says what goes on when it is not the reply to a command that is awaited."""

    __slots__ = (
        "_deadline",
        "_keeper",
        "born",
        "client",
        "clock",
        "congested_now",
        "dot_delay",
        "gone",
        "host",
        "offered",
        "on_opened",
        "others",
        "phase",
        "policy",
        "profile",
        "security",
        "sender",
        "stage",
        "stream",
        "tls_fault",
        "trusted",
        "untrusted",
        "uses",
    )

    def __init__(self, host: Host, profile: Profile, clock: Clock, keeper: Keeper) -> None:
        self.host = host
        self.profile = profile
        self.clock = clock
        self.client = SmtpClient()
        self.offered = Extensions()
        self.stream: Stream | None = None
        self.phase: Phase | None = None
        self.stage = ""
        self.uses = 0
        """Messages begun over this connection."""
        self.sender = ""
        """Of the last one."""
        self.others: tuple[Host, ...] = ()
        """Where else its destination's mail could go, when this connection was made."""
        self.trusted = True
        """May carry another message."""
        self.tls_fault = False
        self.untrusted = ""
        """Why the chain of the server's certificate does not lead to anybody whom we believe."""
        self.security = PLAIN
        self.policy = PLAIN
        """What its destination wanted when it was made; `security` may be less, where less was allowed."""
        self.gone = False
        self.congested_now = False
        self.dot_delay = 0
        """Seconds between the end of the content and its dot, for a firewall that wants them in two packets."""
        self.born = clock.monotonic()
        self.on_opened: Callable[[], None] | None = None
        self._keeper = keeper
        self._deadline = Deadline(clock, self._timed_out)

    # net.stream.Handler

    def opened(self, stream: Stream) -> None:
        self.stream = stream
        begin, self.on_opened = self.on_opened, None
        if begin is not None:
            begin()

    def received(self, data: bytes) -> None:
        client = self.client
        answered = False
        try:
            client.feed(data)
            while not self.gone and (answer := client.next()) is not None:
                answered, phase = True, self.phase
                if phase is not None:
                    phase.answered(answer[0], answer[1])
        except EndlessReply:
            self.end(reasons.out_of_step(self.host, "its reply has no end"))
            return
        except TableError:
            self.end(reasons.unreadable(self.host))
            return
        if self.gone:
            return
        if self.phase is None:
            self._spoken_to()
        elif client.awaited and (answered or not self.profile.per_request):
            self.await_reply()

    def ended(self) -> None:
        # A server that closes while content is on its way may still have said why: `broken` looks.
        self.end(reasons.lost(self.host, self._stage()))

    def secured(self, tls: TlsFacts) -> None:
        self.stage = ""
        if self.phase is not None and not self.gone:
            self.phase.secured(tls)

    def congested(self) -> None:
        self.congested_now = True

    def drained(self) -> None:
        self.congested_now = False
        if self.phase is not None and not self.gone:
            self.phase.drained()

    def closed(self, reason: Exception | None) -> None:
        if isinstance(reason, UntrustedCertificate):
            self.untrusted = str(reason)
        self.end(reasons.lost(self.host, self._stage()))

    # for the phases

    def ask(self, event: str, line: bytes) -> None:
        """Send one command and wait for its reply."""
        self.write(self.client.send(event, line))
        self.await_reply()

    def write(self, data: bytes) -> None:
        if self.stream is not None:
            self.stream.write(data)

    def await_reply(self) -> None:
        """Give the server the time that the reply which comes next may take."""
        self._deadline.set(self.profile.timeouts[self.client.awaited])

    def expect(self, seconds: float) -> None:
        self._deadline.set(seconds)

    @property
    def due(self) -> float:
        """When it times out; another value each time that something has happened."""
        return self._deadline.due

    def end(self, status: Status | None) -> None:
        """Break off: no more I/O over this connection. The phase, if there is one, is told `status`."""
        if self.gone:
            return
        self.gone = True
        self._deadline.clear()
        if self.stream is not None:
            self.stream.abort()
        phase, self.phase = self.phase, None
        self._keeper.forget(self)
        if phase is not None and status is not None:
            phase.broken(status)

    def release(self) -> None:
        """A message is done with and the client is idle: keep the connection for the next one, or end it with QUIT."""
        self.phase = None
        if not self.gone and not (self.reusable() and self._keeper.keep(self)):
            self.quit()

    def rest(self) -> None:
        """Wait for a next message; the owner has taken it."""
        self._deadline.set(self.profile.idle_time)

    def reusable(self) -> bool:
        return self.client.idle and self.lasts()

    def lasts(self) -> bool:
        """May carry another message after the one that it carries."""
        profile = self.profile
        return (
            (profile.reuse or self.host.domain.lower() in profile.reuse_for)
            and self.trusted
            and not self.client.garbled
            and self.clock.monotonic() - self.born < profile.reuse_time
            and not 0 < profile.reuse_count <= self.uses - 1
        )

    def reset(self, then: Callable[[], None]) -> None:
        """End a transaction that came to nothing, `release`, and call `then`, whatever the server answers."""
        self.phase = _Resetting(self, then)
        self.ask("RSET", b"RSET")

    def quit(self) -> None:
        """Say QUIT where that is possible, and close. What the server answers is waited for only if the operator
        wants that (smtp_skip_quit_response = no)."""
        if self.gone:
            return
        client = self.client
        if client.awaited == "QUIT":
            self._bid_farewell()
        elif client.awaited or client.state in (State.CONNECTED, State.DATA, State.HANDSHAKE, State.CLOSED):
            self.end(None)
        else:
            self.write(client.send("QUIT", b"QUIT"))
            self._bid_farewell()

    # inside

    def _bid_farewell(self) -> None:
        if not self.profile.skip_quit_response:
            self.phase = _Quitting(self)
            self.await_reply()
            return
        self.gone = True
        self._deadline.clear()
        self._keeper.forget(self)
        if self.stream is not None:
            self.stream.close()

    def _stage(self) -> str:
        if self.stage:
            return self.stage
        awaited = self.client.awaited
        # Content that is still in our buffer has not been followed by its dot, whatever has been queued.
        return reasons.BODY if awaited == END and self.congested_now else awaited or "QUIT"

    def _timed_out(self) -> None:
        if self.phase is None:
            self.quit()
        else:
            self.end(reasons.timed_out(self.host, self._stage()))

    def _spoken_to(self) -> None:
        """An idle server says something (421, as a rule), or has left a part of a reply: whatever it is, it must not
        be taken for the answer to the next message."""
        if self.client.unasked:
            self.trusted = False
            self.quit()


class _Quitting:
    """The last reply is awaited; no recipient depends on it any more."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def answered(self, event: str, reply: RemoteReply) -> None:
        self._session.end(None)

    def broken(self, status: Status) -> None:
        return

    def drained(self) -> None:
        return

    def secured(self, tls: TlsFacts) -> None:
        return


class _Resetting(_Quitting):
    """Until RSET is answered the delivery has its place among those of the destination: a server that is slow with it
    would else get a connection for each message that it refuses."""

    def __init__(self, session: Session, then: Callable[[], None]) -> None:
        super().__init__(session)
        self._then = then

    def answered(self, event: str, reply: RemoteReply) -> None:
        if not 200 <= reply.code < 300:
            self._session.trusted = False
        self._session.release()
        self._then()

    def broken(self, status: Status) -> None:
        self._then()
