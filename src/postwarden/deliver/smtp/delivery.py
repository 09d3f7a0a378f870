"""One job: its recipients, and the servers that are tried one after another until each recipient is settled
(RFC 5321 5.1)."""

from collections.abc import Callable
from functools import partial
from typing import Protocol

from postwarden.deliver.body import Body, FileBody
from postwarden.deliver.smtp import reasons
from postwarden.deliver.smtp.handshake import Handshake
from postwarden.deliver.smtp.params import Profile
from postwarden.deliver.smtp.protocols import ClientTls, Outward
from postwarden.deliver.smtp.quirks import Quirks
from postwarden.deliver.smtp.security import PLAIN, Security
from postwarden.deliver.smtp.session import Session
from postwarden.deliver.smtp.transaction import Transaction
from postwarden.ipc.records import Forward, Job, Outcome
from postwarden.mail.address import external
from postwarden.mail.decision import BUILT_IN, Rule
from postwarden.mail.events import Delivered, Notice, Warn, printable
from postwarden.mail.events import Event as LogEvent
from postwarden.mail.host import Host
from postwarden.mail.remade import Remade
from postwarden.mail.session import TlsFacts
from postwarden.mail.status import Status, Timing
from postwarden.net.clock import Clock

Done = Callable[[Outcome], None]
Forwarded = Callable[[Forward], None]
_BEST_MX = Rule("best_mx_transport", "", BUILT_IN)
_MISCONFIGURED = Status("4.3.5", "mail system configuration error")


class Desk(Protocol):
    """What the deliverer does for its deliveries."""

    profile: Profile
    clock: Clock
    tls: ClientTls | None
    outward: Outward | None
    quirks: Quirks | None
    status_filter: Callable[[Status], Status] | None

    def hosts(self, nexthop: str, done: Callable[[tuple[Host, ...] | Status], None]) -> None: ...

    def rested(self, nexthop: str) -> Session | None:
        """A connection that waits for a message to this next hop."""

    def secure(self, nexthop: str, host: Host, done: Callable[[Security | Status], None]) -> None:
        """How a connection to `host` is to be secured."""

    def dial(self, host: Host, nexthop: str, failed: Callable[[OSError], None]) -> Session: ...

    def log(self, event: LogEvent) -> None: ...

    def settled(self, delivery: "Delivery") -> None: ...


class Delivery:
    """Keeps the books (`transaction.Owner`). A recipient that one server puts off is offered to the next; what the
    last server says counts."""

    __slots__ = (
        "_complete",
        "_connected",
        "_desk",
        "_destination",
        "_done",
        "_fault",
        "_final",
        "_forwarded",
        "_handed",
        "_hosts",
        "_over",
        "_plain",
        "_remade",
        "_results",
        "_session",
        "_sessions",
        "_tried",
        "_why",
        "body",
        "job",
        "left",
        "outward",
    )

    def __init__(self, desk: Desk, job: Job, body: Body, done: Done, forwarded: Forwarded) -> None:
        self.job = job
        self.outward = job
        self.body = body
        self.left = list(range(len(job.recipients)))
        self._desk = desk
        self._done = done
        self._forwarded = forwarded
        self._results: list[Status | None] = [None] * len(job.recipients)
        self._hosts: tuple[Host, ...] = ()
        """Not tried yet."""
        self._destination = 0
        self._tried = 0
        """Addresses of this destination."""
        self._sessions = 0
        """Sessions of this destination that got past the handshake."""
        self._session: Session | None = None
        self._final = False
        """No other server can be asked after this one."""
        self._plain = False
        """The next attempt goes without TLS, which did not work."""
        self._complete = False
        """A server was talked to as long as there was something to say: the destination is alive."""
        self._why: Status | None = None
        self._fault: Status | None = None
        self._over = False
        self._remade: tuple[Remade, ...] = ()
        self._handed = desk.clock.now()
        self._connected = 0.0

    def begin(self) -> None:
        if self._desk.outward is None:
            self._start()
        else:
            self._desk.outward.find(self.job, self._addressed)

    def _addressed(self, answer: Job | Status, remade: tuple[Remade, ...]) -> None:
        if self._over:
            return
        if isinstance(answer, Status):
            self._final = True
            self.refused(self.left, answer)
            self._settle()
            return
        self.outward, self._remade = answer, remade
        self._start()

    def _start(self) -> None:
        session = self._desk.rested(self.job.nexthop)
        if session is None:
            self._desk.hosts(self.job.nexthop, self._found)
        else:
            self._desk.secure(self.job.nexthop, session.host, partial(self._rested, session))

    def _rested(self, session: Session, policy: Security | Status) -> None:
        """A table may want more by now than when the connection was made."""
        usable = not self._over and not session.gone and session.reusable()
        if not usable or (policy is not session.policy and policy != session.policy):
            session.quit()
            if not self._over:
                self._start()
            return
        self._hosts = session.others
        self._destination = session.host.destination
        self._tried = self._sessions = 1
        self._transact(session)

    @property
    def sign_of_life(self) -> tuple[object, ...]:
        """Another value each time that something has happened."""
        session = self._session
        return (self._tried, len(self._hosts), len(self.left), session, 0.0 if session is None else session.due)

    def abandon(self, why: Status) -> None:
        """Nothing will come of it: put off what is left, and hear of it no more."""
        session, self._session = self._session, None
        if session is not None:
            session.phase = session.on_opened = None
            session.end(None)
        self._final = True
        self._record([index for index in self.left if self._results[index] is None], why)
        self._settle()

    # from host to host

    def _found(self, answer: tuple[Host, ...] | Status) -> None:
        if self._over:
            return
        if isinstance(answer, Status):
            self._why = answer
        else:
            self._hosts = answer
        self._next()

    def _next(self) -> None:
        """Try the next server, or settle what is left with the last reason there was."""
        if not self.left:
            self._settle()
            return
        hosts = self._hosts
        if not hosts:
            self._give_up()
            return
        host, self._hosts = hosts[0], hosts[1:]
        if host.destination != self._destination:
            self._destination = host.destination
            self._tried = self._sessions = 0
        self._tried += 1
        if self._tried == self._desk.profile.address_limit:
            self._leave_destination()
        self._final = not self._hosts
        self._desk.secure(self.job.nexthop, host, partial(self._dial, host))

    def _dial(self, host: Host, security: Security | Status) -> None:
        if self._over:
            return
        plain, self._plain = self._plain, False
        if isinstance(security, Status):
            self.refused(self.left, security, whole_server=True)
            self._after()
            return
        self._session = self._desk.dial(host, self.job.nexthop, self._not_connected)
        self._session.policy = security
        # The table may want more by now, and the next server more than this one.
        self._session.security = PLAIN if plain and security.level == "may" else security
        self._session.others = self._hosts
        self._session.sender = self.job.sender
        self._shake(self._session)

    def _leave_destination(self) -> None:
        """Enough of its servers were tried; what is left are those of the next destination (fallback relays)."""
        self._hosts = tuple(host for host in self._hosts if host.destination != self._destination)

    def _not_connected(self, error: OSError) -> None:
        if self._over:
            return
        session, self._session = self._session, None
        assert session is not None
        self._why = reasons.not_connected(session.host, error)
        self._desk.log(Notice(self._why.text))
        session.phase = None
        session.end(None)
        self._next()

    def _give_up(self) -> None:
        why = self._why or reasons.unavailable()
        if self._desk.profile.best_mx and reasons.is_loop(why):
            transport, _, nexthop = self._desk.profile.best_mx.partition(":")
            if (transport, nexthop or self.job.nexthop) != (self.job.transport, self.job.nexthop):
                self._pass_on(transport, nexthop or self.job.nexthop)
                return
            self.warn("best_mx_transport does not lead away from this transport")
            why = _MISCONFIGURED
        self._final = True
        if why.code[0] == "5" and self.job.nexthop == self._desk.profile.relayhost:
            # The operator's mistake, as a rule: the mail waits until it is found.
            self._desk.log(Warn("relayhost configuration problem"))
            why = Status("4.3.5", why.text, why.relay, why.remote_mta, why.remote_reply)
        self.refused(self.left, why, whole_server=True)
        self._settle()

    def _pass_on(self, transport: str, nexthop: str) -> None:
        """We are the best mail exchanger ourselves: another transport delivers, in the same round."""
        job = self.job
        for index in self.left:
            address = printable(external(job.recipients[index].address))
            self.say(f"{job.queue_id}: passing <{address}> to transport={transport}")
            self._forwarded(Forward(job.job_id, index, "", (), transport, nexthop))
            self._results[index] = Status("2.0.0", f"given to {transport}")
            step = Remade("best_mx_transport", job.recipients[index].address, (f"{transport}:{nexthop}",), _BEST_MX)
            self._remade = (*self._remade, step)
        self._settle()

    # handshake

    def _shake(self, session: Session) -> None:
        desk = self._desk
        shake = Handshake(
            session, session.security, desk.tls, self.job, quirks=desk.quirks, notes=self, done=self._shaken
        )
        session.phase = shake
        session.on_opened = shake.begin

    def _shaken(self, status: Status | None) -> None:
        session = self._session
        assert session is not None
        if status is None:
            self._sessions += 1
            if self._sessions == self._desk.profile.session_limit:
                self._leave_destination()
            self._transact(session)
            return
        if session.tls_fault and self._may_go_plain(session):
            self._again_plain(session.host)
        self.refused(self.left, status, whole_server=True)
        self._after()

    def _may_go_plain(self, session: Session) -> bool:
        """Opportunistic TLS that fails: the first attempts wait for it to work, later ones do without."""
        profile, job = self._desk.profile, self.job
        return session.security.level == "may" and job.active - job.arrival >= profile.plaintext_after

    def _again_plain(self, host: Host) -> None:
        self._plain = True
        self._final = False
        self._tried -= 1
        self._hosts = (host, *self._hosts)

    # transaction.Owner

    def _transact(self, session: Session) -> None:
        self._session = session
        session.sender = self.job.sender
        self._final = not self._hosts
        self._connected = self._desk.clock.now()
        Transaction(session, self).begin()

    def stale(self) -> None:
        self._session = None
        self._tried = self._sessions = 0
        self._connected = 0.0
        self._start()

    def refused(self, recipients: list[int], status: Status, *, whole_server: bool = False) -> None:
        if not recipients:
            return
        hard = status.code[0] == "5"
        soft_bounce = hard and self._desk.profile.soft_bounce and not self.job.probe
        if (not hard or soft_bounce) and not self._final:
            self._why = status
            self._desk.log(Notice(f"{self.job.queue_id}: {status.text}"))
            return
        if soft_bounce:
            status = status.softened()
        self._record(recipients, status)
        if whole_server and not self._complete and self._fault is None and status.code[0] == "4":
            self._fault = status

    def delivered(self, recipients: list[int], status: Status) -> None:
        self._record(recipients, status)

    def broken(self, recipients: list[int], status: Status) -> None:
        session = self._session
        if recipients and session is not None and self._tls_was_on(session) and self._may_go_plain(session):
            self._again_plain(session.host)
        self.refused(recipients, status, whole_server=True)
        self._after()

    def over(self) -> None:
        self._complete = True
        self._after()

    def _tls_was_on(self, session: Session) -> bool:
        return session.stream is not None and session.stream.tls is not None

    def _after(self) -> None:
        self._session = None
        results = self._results
        self.left = [index for index in self.left if results[index] is None]
        self._next()

    # the end

    def _record(self, recipients: list[int], status: Status) -> None:
        job, results, desk = self.job, self._results, self._desk
        if desk.quirks is not None and desk.quirks.replies is not None and status.code[0] != "2":
            status = desk.quirks.replies.told(status)
        if desk.status_filter is not None and recipients:
            status = desk.status_filter(status)
        now = desk.clock.now()
        connected = self._connected or now
        delays = (job.active - job.arrival, self._handed - job.active, connected - self._handed, now - connected)
        uses = self._session.uses if self._session is not None else 0
        if job.trace == "verify":
            status = status.foretold()
        for index in recipients:
            results[index] = status
            recipient = job.recipients[index]
            desk.log(Delivered(job.queue_id, recipient.address, recipient.original, status, delays, uses))

    def _settle(self) -> None:
        self._over = True
        if isinstance(self.body, FileBody):
            self.body.close()
        results = tuple(status for status in self._results if status is not None)
        timing = Timing(self._handed, self._connected, self._desk.clock.now())
        self._desk.settled(self)
        self._done(Outcome(self.job.job_id, results, timing, self._fault, self._remade))

    # protocols.Notes

    def say(self, text: str) -> None:
        self._desk.log(Notice(text))

    def warn(self, text: str) -> None:
        self._desk.log(Warn(text))

    def secured(self, host: Host, tls: TlsFacts, trust: str) -> None:
        if self._desk.profile.tls_log:
            bits = f"({tls.bits}/{tls.bits} bits)"
            self.say(
                f"{trust} TLS connection established to {reasons.relay(host)}:"
                f" {tls.protocol} with cipher {tls.cipher} {bits}"
            )
