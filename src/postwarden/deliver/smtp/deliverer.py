"""SMTP and LMTP deliveries of one transport."""

import os
from collections.abc import Callable
from functools import partial

from postwarden.deliver.body import Body
from postwarden.deliver.smtp import reasons
from postwarden.deliver.smtp.cache import SessionCache
from postwarden.deliver.smtp.delivery import Delivery, Done, Forwarded
from postwarden.deliver.smtp.params import Profile
from postwarden.deliver.smtp.protocols import ClientTls, Hosts, Log, Outward, Policies
from postwarden.deliver.smtp.quirks import Quirks
from postwarden.deliver.smtp.security import PLAIN, Security
from postwarden.deliver.smtp.session import Session
from postwarden.ipc.records import Forward, Job, Troubled
from postwarden.mail.events import Event, Failure, Warn
from postwarden.mail.host import Host
from postwarden.mail.status import Status
from postwarden.mail.transcript import Transcript
from postwarden.net.clock import Clock
from postwarden.net.dial import Dial, SourceError

_STUCK = 3600.0
"""Seconds without any sign of life. Each step has a time-out of its own, and the longest is a sixth of this: only a
bug of ours, in whatever should have called back, gets this far."""
_STOPPING = Status("4.3.0", "mail system is stopping")
_INTERNAL = Status("4.3.0", "internal error in the mail transport")


def _nobody(forward: Forward) -> None:
    return


class SmtpDeliverer:
    """Takes any number of jobs at a time; how many at once is the scheduler's decision.

    `log_name` is the syslog_name of the transport's own, where it has one.
    """

    def __init__(
        self,
        profile: Profile,
        hosts: Hosts,
        dial: Dial,
        *,
        clock: Clock,
        log: Log,
        tls: ClientTls | None = None,
        policies: Policies | None = None,
        outward: Outward | None = None,
        quirks: Quirks | None = None,
        status_filter: Callable[[Status], Status] | None = None,
        log_name: str = "",
    ) -> None:
        self.profile = profile
        self.clock = clock
        self.tls = tls
        self._policies = policies
        self.outward = outward
        self.quirks = quirks
        self.status_filter = status_filter
        self._hosts = hosts
        self._dial = dial
        self._log = log
        self._program = "lmtp" if profile.lmtp else "smtp"
        self._log_name = log_name
        self._cache = SessionCache()
        if profile.tells:
            self._cache.on_gone = self._tell
        self.troubled: Callable[[Troubled], None] | None = None
        """Who passes on what a postmaster wants to hear of."""
        self._running: set[Delivery] = set()
        self._signs: dict[Delivery, tuple[tuple[object, ...], float]] = {}
        longest = max((*profile.timeouts.values(), profile.transfer_timeout, profile.connect_timeout))
        self._patience = max(_STUCK, 2 * longest)

    def deliver(self, job: Job, body: Body, done: Done, forwarded: Forwarded = _nobody) -> None:
        """Deliver `job`; `done` gets its Outcome, once, perhaps before this returns. `body` is `job.body`, or the file
        that came with the job, which is closed here. Each recipient's line is written to the log here, but for those
        that go on by another transport, of whom `forwarded` hears first."""
        delivery = Delivery(self, job, body, done, forwarded)
        self._running.add(delivery)
        delivery.begin()

    @property
    def busy(self) -> int:
        """Jobs that are not settled."""
        return len(self._running)

    def watch(self) -> None:
        """Give up what is stuck. To be called once a minute or so."""
        now, before = self.clock.monotonic(), self._signs
        signs = self._signs = {}
        for delivery in tuple(self._running):
            sign = delivery.sign_of_life
            old, since = before.get(delivery, (None, now))
            since = since if old == sign else now
            if now - since < self._patience:
                signs[delivery] = sign, since
                continue
            self.log(Failure(f"{delivery.job.queue_id}: no sign of life for {now - since:.0f} s: given up"))
            delivery.abandon(_INTERNAL)

    def close(self) -> None:
        """Keep no more connections than deliveries need, which go on."""
        self._cache.close()

    def drop_probes(self) -> None:
        """The end must not wait for servers of which only an address was asked."""
        for delivery in [one for one in self._running if one.job.probe]:
            delivery.abandon(_STOPPING)

    # delivery.Desk

    def hosts(self, nexthop: str, done: Callable[[tuple[Host, ...] | Status], None]) -> None:
        self._hosts.find(nexthop, done)

    def secure(self, nexthop: str, host: Host, done: Callable[[Security | Status], None]) -> None:
        if self._policies is None:
            done(PLAIN)
        else:
            self._policies.find(nexthop, host, done)

    def rested(self, nexthop: str) -> Session | None:
        return self._cache.take(nexthop)

    def dial(self, host: Host, nexthop: str, failed: Callable[[OSError], None]) -> Session:
        profile = self.profile
        session = Session(host, profile, self.clock, self._cache)
        if profile.tells:
            session.client.transcript = Transcript()
        if self.quirks is not None and self.quirks.replies is not None:
            session.client.filter_replies(partial(self.quirks.replies, reasons.relay(host)))
        self._cache.begin(session, nexthop)
        source = profile.bind[":" in host.address]
        timeout = profile.connect_timeout

        def not_connected(error: OSError) -> None:
            if not isinstance(error, SourceError):
                failed(error)
                return
            self.log(Warn(f"smtp_connect_addr: bind {source}: {os.strerror(error.errno or 0)}"))
            if profile.bind_enforce:
                failed(error)
            else:
                self._dial.connect(host, session, failed, timeout=timeout)

        self._dial.connect(host, session, not_connected, timeout=timeout, source=source)
        return session

    def log(self, event: Event) -> None:
        self._log.emit(self._program, event, self._log_name)

    def _tell(self, session: Session) -> None:
        """It is over. A message about our own mail to the postmaster would lead to the next one."""
        transcript, sender = session.client.close_transcript(), session.sender.lower()
        if transcript is None or self.troubled is None or sender in ("", self.profile.double_bounce):
            return
        lines = tuple(transcript.lines("Out", "In"))
        self.troubled(Troubled(reasons.relay(session.host), self._program.upper(), lines))

    def settled(self, delivery: Delivery) -> None:
        self._running.discard(delivery)
