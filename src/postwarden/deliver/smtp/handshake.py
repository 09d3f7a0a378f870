"""From the connection to the moment when mail can be sent: greeting, EHLO or HELO, STARTTLS."""

from collections.abc import Callable
from functools import partial

from postwarden.deliver.smtp import reasons
from postwarden.deliver.smtp.protocols import ClientTls, Notes
from postwarden.deliver.smtp.quirks import (
    DELAY_DOT,
    NO_ESMTP,
    WORKAROUNDS,
    Answer,
    Quirks,
    behind_firewall,
    workarounds,
)
from postwarden.deliver.smtp.security import AUTHENTIC, Security, matches, sni
from postwarden.deliver.smtp.session import Session
from postwarden.ipc.records import Job
from postwarden.mail.session import PeerCertificate, TlsFacts
from postwarden.mail.status import Status
from postwarden.tables.table import TableError
from postwarden.wire.smtp_extensions import discarding, parse
from postwarden.wire.smtp_replies import RemoteReply
from postwarden.wire.smtp_states import BANNER, TLS

SMTP_PORT = 25


class Handshake:
    """A `Phase`. `done(None)` when the session is ready; else why not, and the session has been ended.

    `security` says whether TLS is wanted; where it insists, nothing but QUIT is ever said without it, nor to a server
    that is not the right one. `job` is what the session is made for: a sentence about a loop names its next hop.
    """

    __slots__ = ("_done", "_esmtp", "_job", "_level", "_notes", "_quirks", "_security", "_session", "_tls")

    def __init__(
        self,
        session: Session,
        security: Security,
        tls: ClientTls | None,
        job: Job,
        *,
        quirks: Quirks | None = None,
        notes: Notes,
        done: Callable[[Status | None], None],
    ) -> None:
        self._session = session
        self._security = security
        self._level = security.level
        self._tls = tls
        self._job = job
        self._quirks = quirks
        self._esmtp = True
        self._notes = notes
        self._done = done

    def begin(self) -> None:
        """The connection stands."""
        if self._session.profile.tls_wrapper:
            self._start_tls()
        else:
            self._session.await_reply()

    # Phase

    def answered(self, event: str, reply: RemoteReply) -> None:
        if event == BANNER:
            self._greeted(reply)
        elif event in ("EHLO", "LHLO"):
            self._hello_answered(event, reply)
        elif event == "HELO":
            self._helo_answered(reply)
        else:
            self._starttls_answered(reply)

    def broken(self, status: Status) -> None:
        session = self._session
        if session.stage == TLS:
            session.tls_fault = True
            if session.untrusted:
                self._notes.say(reasons.verification_failed(session.host, session.untrusted))
                status = reasons.not_verified(session.host)
            else:
                status = reasons.tls_failed(session.host)
        self._done(status)

    def drained(self) -> None:
        return

    def secured(self, tls: TlsFacts) -> None:
        session, security = self._session, self._security
        certificate = session.stream.certificate if session.stream is not None else None
        authentic = security.level in AUTHENTIC
        matched = authentic and matches(security, certificate, session.host, session.profile.host_name)
        self._notes.secured(session.host, tls, _trust(security, certificate, matched=matched))
        if authentic and not matched:
            if not session.profile.tls_wrapper:
                session.client.secured()
            self._refused(reasons.not_verified(session.host))
            return
        if session.profile.tls_wrapper:
            session.await_reply()
        else:
            session.client.secured()
            self._hello("EHLO")

    # inside

    def _greeted(self, reply: RemoteReply) -> None:
        session, profile = self._session, self._session.profile
        if not 200 <= reply.code < 300:
            self._refused(reasons.refused_to_talk(session.host, reply, soften=profile.skip_5xx_greeting))
            return
        words = reply.text.split("\n", 1)[0][4:].split()
        if words and words[0].lower() == profile.host_name.lower() and self._could_loop():
            self._notes.warn(f"host {reasons.relay(session.host)} greeted me with my own hostname {profile.host_name}")
        self._esmtp = (profile.always_ehlo or "ESMTP" in reply.text.upper().split()) and not profile.never_ehlo
        if not behind_firewall(reply.text):
            self._hello("EHLO" if self._esmtp else "HELO")
        elif self._quirks is not None and self._quirks.firewall is not None:
            self._quirks.firewall.find(session.host, self._behind_firewall)
        else:
            self._behind_firewall(None)

    def _behind_firewall(self, found: Answer) -> None:
        """Names of workarounds for this server; without any, main.cf's."""
        session, profile, job = self._session, self._session.profile, self._job
        if session.gone:
            return
        if isinstance(found, TableError):
            self._notes.warn(str(found))
        chosen = workarounds(found) if isinstance(found, str) else profile.firewall
        if session.clock.now() - job.arrival < profile.firewall_after:
            chosen -= {DELAY_DOT}
        if chosen or isinstance(found, str) or profile.firewall:
            words = " ".join(name for name in WORKAROUNDS if name in chosen)
            self._notes.say(f"{job.queue_id}: enabling PIX workarounds: {words} for {reasons.relay(session.host)}")
        session.dot_delay = profile.dot_delay if DELAY_DOT in chosen else 0
        self._hello("EHLO" if self._esmtp and NO_ESMTP not in chosen else "HELO")

    def _hello(self, verb: str) -> None:
        profile = self._session.profile
        if profile.lmtp:
            verb = "LHLO"
        self._session.ask(verb, f"{verb} {profile.hello_name}".encode())

    def _hello_answered(self, verb: str, reply: RemoteReply) -> None:
        session = self._session
        if 200 <= reply.code < 300:
            if self._quirks is None or self._quirks.discard is None:
                self._offered(reply, session.profile.discard)
            else:
                self._quirks.discard.find(session.host, partial(self._discarded, reply))
        elif verb == "LHLO" or reply.code == 421:
            self._refused(reasons.refused_to_talk(session.host, reply))
        else:
            self._hello("HELO")

    def _discarded(self, reply: RemoteReply, found: Answer) -> None:
        session = self._session
        if session.gone:
            return
        if isinstance(found, TableError):
            assert self._quirks is not None and self._quirks.discard is not None
            where = session.host.path or session.host.address
            name, error = self._quirks.discard.name, found
            self._notes.warn(f"{self._job.queue_id}: {name} map lookup error for {where}: {error}")
            self._refused(reasons.unreadable(session.host))
            return
        words = None if found is None else frozenset(found.lower().replace(",", " ").split())
        self._offered(reply, session.profile.discard if words is None else words)

    def _offered(self, reply: RemoteReply, discard: frozenset[str]) -> None:
        if discard and (said := discarding(discard)):
            self._notes.say(said)
        self._session.offered = parse(reply.text, discard)
        self._accepted(reply)

    def _helo_answered(self, reply: RemoteReply) -> None:
        if 200 <= reply.code < 300:
            self._accepted(reply)
        else:
            self._refused(reasons.refused_to_talk(self._session.host, reply))

    def _accepted(self, reply: RemoteReply) -> None:
        session, offered = self._session, self._session.offered
        own = session.profile.host_name
        if offered.esmtp and offered.name.lower() == own.lower() and self._could_loop():
            self._notes.warn(f"host {reasons.relay(session.host)} replied to HELO/EHLO with my own hostname {own}")
            self._refused(reasons.loops(session.host, self._job.nexthop))
            return
        if offered.bad_size:
            self._notes.warn(f'bad EHLO SIZE limit "{offered.bad_size}" from {reasons.relay(session.host)}')
        self._consider_tls()

    def _consider_tls(self) -> None:
        session = self._session
        encrypted = session.stream is not None and session.stream.tls is not None
        if encrypted:
            self._ready()
        elif session.offered.starttls and self._level != "none" and self._tls is not None:
            session.ask("STARTTLS", b"STARTTLS")
        elif self._level not in ("none", "may"):
            missing = reasons.tls_not_available if session.offered.starttls else reasons.tls_not_offered
            self._refused(missing(session.host))
        else:
            if session.offered.starttls and session.profile.tls_note_offer:
                self._notes.say(f"Host offered STARTTLS: [{session.host.name}]")
            self._ready()

    def _starttls_answered(self, reply: RemoteReply) -> None:
        if 200 <= reply.code < 300:
            self._start_tls()
        elif self._level == "may":
            self._ready()
        else:
            self._session.client.doubt(reply.code)
            self._refused(reasons.refused_tls(self._session.host, reply))

    def _start_tls(self) -> None:
        session, tls = self._session, self._tls
        session.stage = TLS
        session.expect(session.profile.timeouts["STARTTLS"])
        server_name = sni(self._security, session.host, session.profile.host_name)
        if tls is None or session.stream is None or not tls.start(session.stream, self._security.wanted, server_name):
            session.stage = ""
            session.end(reasons.tls_not_available(session.host))

    def _could_loop(self) -> bool:
        """Postfix: on other ports a server with our name is a content filter beside us, not ourselves."""
        return self._session.host.port == SMTP_PORT and not self._session.profile.lmtp

    def _ready(self) -> None:
        session = self._session
        if self._level not in ("none", "may") and (session.stream is None or session.stream.tls is None):
            self._refused(reasons.tls_not_available(session.host))
            return
        session.phase = None
        self._done(None)

    def _refused(self, status: Status) -> None:
        """Nothing can be sent over this connection; QUIT, as Postfix does."""
        session = self._session
        session.phase = None
        session.trusted = False
        session.quit()
        self._done(status)


def _trust(security: Security, certificate: PeerCertificate | None, *, matched: bool) -> str:
    """Postfix's words. A chain is verified only at the levels that want it; what others show is `Untrusted`."""
    if matched:
        return "Verified"
    if certificate is None:
        return "Anonymous"
    return "Trusted" if security.level in ("verify", "secure") else "Untrusted"
