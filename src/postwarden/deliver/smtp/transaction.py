"""One message over one connection: MAIL, RCPT, DATA, content, and what the server answers to each (RFC 5321 3.3,
RFC 2920, RFC 2033).

The order of things is Postfix's. Commands are sent in bursts; when all of a burst are answered, the course is
corrected: a refused sender, no accepted recipient or a refused DATA lead to RSET. `SmtpClient` knows which command a
reply answers.
"""

from typing import Protocol

from msgspec.structs import replace

from postwarden.deliver.body import Body
from postwarden.deliver.smtp import commands, reasons
from postwarden.deliver.smtp.content import Encoder, encode
from postwarden.deliver.smtp.downgrade import Downgrade, NestingError, needs_downgrade
from postwarden.deliver.smtp.session import Session
from postwarden.ipc.records import Job
from postwarden.mail.session import TlsFacts
from postwarden.mail.status import Status
from postwarden.tables.table import TableError
from postwarden.wire.smtp_replies import EndlessReply, RemoteReply
from postwarden.wire.smtp_states import END

_BURST = 4096
"""Bytes of commands that are sent before the first of them is answered, as Postfix does: a server that refuses the
sender is not told of a thousand recipients first."""
_PIECE = 1 << 16
"""Bytes of a body that are sent at once, where it is not sent whole."""
_PIECES_A_TURN = 4
"""How much of a body one delivery may send before others have their turn."""


class Owner(Protocol):
    """Who keeps the books of a delivery."""

    outward: Job
    """With the addresses that are said to servers."""
    body: Body
    left: list[int]
    """Indices of the recipients that this transaction is for."""

    def refused(self, recipients: list[int], status: Status) -> None: ...

    def delivered(self, recipients: list[int], status: Status) -> None: ...

    def warn(self, text: str) -> None: ...

    def stale(self) -> None:
        """The connection had been used before and turned out to be dead: nothing was said about this message."""

    def broken(self, recipients: list[int], status: Status) -> None:
        """The connection is over, and these had not had the server's last word."""

    def over(self) -> None:
        """All that there was to say to this server has been said."""


class Transaction:
    """A `Phase`."""

    __slots__ = (
        "_accepted",
        "_at",
        "_body_at",
        "_budget",
        "_converter",
        "_delayed",
        "_encoder",
        "_heard",
        "_lines",
        "_mail_refused",
        "_owner",
        "_paused",
        "_producing",
        "_recipients",
        "_replies",
        "_sent",
        "_session",
        "_since",
        "_told",
    )

    def __init__(self, session: Session, owner: Owner) -> None:
        self._session = session
        self._owner = owner
        self._recipients = owner.left
        self._lines: list[tuple[str, bytes]] = []
        self._at = 0
        """The next of `_lines` to be sent."""
        self._heard = False
        """MAIL was answered."""
        self._told = 0
        """Recipients whose RCPT was answered."""
        self._replies = 0
        """Replies to END so far (LMTP)."""
        self._mail_refused = False
        self._accepted: list[int] = []
        self._encoder: Encoder | None = None
        self._converter: Downgrade | None = None
        self._body_at = 0
        self._producing = False
        self._delayed = self._paused = False
        """The dot is sent on its own; it waits for the content to be out."""
        self._budget = self._since = 0.0
        """Seconds that sending may still take, and since when they are counted."""
        self._sent = 0
        """Bytes since then."""

    def begin(self) -> None:
        session, job = self._session, self._owner.outward
        session.uses += 1
        offered = session.offered
        if 0 < offered.size_limit < job.size:
            self._never_mind(reasons.too_big(session.host, job.size, offered.size_limit))
        elif job.smtputf8 and not offered.smtputf8 and _needs_smtputf8(job, self._recipients):
            self._never_mind(reasons.no_smtputf8(session.host))
        elif self._prepare():
            session.phase = self
            self._push()

    def _prepare(self) -> bool:
        """Write down the commands; False when an address makes that impossible."""
        session, job, owner = self._session, self._owner.outward, self._owner
        offered, profile = session.offered, session.profile
        quote = profile.quote
        # Postfix: conversion would make the announced size wrong.
        announce = offered.eight_bit or not profile.convert
        try:
            lines = [("MAIL", commands.mail(job, offered, announce_size=announce, quote=quote))]
        except commands.UnfitAddress:
            self._never_mind(Status("5.1.7", "bad sender address syntax", reasons.relay(session.host)))
            return False
        fit = []
        for index in self._recipients:
            try:
                lines.append(("RCPT", commands.rcpt(job.recipients[index], offered, quote=quote)))
                fit.append(index)
            except commands.UnfitAddress:
                owner.refused([index], Status("5.1.3", "bad recipient address syntax", reasons.relay(session.host)))
        if not fit:
            session.release()
            owner.over()
            return False
        if job.trace != "verify" or profile.verify_at_data:
            lines.append(("DATA", b"DATA"))
        if profile.xforward and offered.xforward:
            lines[:0] = [("XFORWARD", line) for line in commands.xforward(job, offered)]
        self._recipients = fit
        self._lines = lines
        return True

    def _never_mind(self, status: Status) -> None:
        """Refuse the message ourselves; the connection is as good as it was."""
        self._owner.refused(list(self._recipients), status)
        self._session.release()
        self._owner.over()

    # Phase

    def answered(self, event: str, reply: RemoteReply) -> None:
        if event == "RCPT":
            self._rcpt_answered(reply)
        elif event == "MAIL":
            self._heard = True
            if not 200 <= reply.code < 300 and self._sender_refused(reply):
                return
        elif event == "DATA":
            self._data_answered(reply)
            return
        elif event == END:
            self._end_answered(reply)
            return
        elif not 200 <= reply.code < 300:
            self._owner.warn(reasons.xforward_refused(self._session.host, reply))
        if not self._session.client.awaited:
            self._push()

    def broken(self, status: Status) -> None:
        session, owner = self._session, self._owner
        if not self._heard and session.uses > 1:
            owner.stale()
            return
        owner.broken(self._unsettled(), self._why(status))

    def drained(self) -> None:
        if self._producing:
            self._produce()
        elif self._paused:
            self._pause()

    def secured(self, tls: TlsFacts) -> None:
        return

    # envelope

    def _push(self) -> None:
        """All that was sent is answered: correct the course, or send the next burst."""
        session, lines, at = self._session, self._lines, self._at
        if at == len(lines):  # there was nothing to send
            self._abort()
            return
        event, line = lines[at]
        if self._mail_refused or (event == "DATA" and not self._accepted):
            self._abort()
            return
        send = session.client.send
        out = send(event, line)
        at += 1
        if session.offered.pipelining:
            parts, size = [out], len(out)
            for event, line in lines[at:]:
                size += len(line) + 2
                if size > _BURST:
                    break
                parts.append(send(event, line))
                at += 1
            out = b"".join(parts)
        self._at = at
        session.write(out)
        session.await_reply()

    def _sender_refused(self, reply: RemoteReply) -> bool:
        """True when this is over."""
        session = self._session
        if reply.code == 421 and session.uses > 1:
            # An old connection that the server is tired of is no verdict on this message.
            session.phase = None
            session.end(None)
            self._owner.stale()
            return True
        self._mail_refused = True
        self._owner.refused(list(self._recipients), reasons.said(session.host, "MAIL", reply))
        return False

    def _rcpt_answered(self, reply: RemoteReply) -> None:
        index = self._recipients[self._told]
        self._told += 1
        if self._mail_refused:
            return
        foretold = self._owner.outward.trace == "verify" and not self._session.profile.verify_at_data
        if 200 <= reply.code < 300 and foretold:
            self._owner.delivered([index], reasons.done(self._session.host, reply, "relayed"))
        elif 200 <= reply.code < 300:
            self._accepted.append(index)
        else:
            self._owner.refused([index], reasons.said(self._session.host, "RCPT", reply))

    def _data_answered(self, reply: RemoteReply) -> None:
        if 300 <= reply.code < 400:
            if self._owner.outward.trace == "verify":
                self._foretell(reply)
            else:
                self._content()
            return
        if self._accepted:
            self._owner.refused(self._accepted, reasons.said(self._session.host, "DATA", reply))
        self._abort()

    def _foretell(self, reply: RemoteReply) -> None:
        """It would take the content now. The one way to send none is to go (smtp_address_verify_target = data)."""
        session = self._session
        if self._accepted:
            status = replace(reasons.done(session.host, reply, "relayed"), code="2.0.0")
            self._owner.delivered(self._accepted, status)
        session.phase = None
        session.end(None)
        self._owner.over()

    def _abort(self) -> None:
        """All recipients are settled and the server has nothing: make it forget the transaction."""
        session, owner = self._session, self._owner
        if not owner.outward.probe:
            session.reset(owner.over)
            return
        # One address, one connection: a server that is slow with who asks for many unknown users (Postfix: a second for
        # each) had 60 open that waited for RSET, and refused mail for that.
        session.phase = None
        session.quit()
        owner.over()

    # content

    def _content(self) -> None:
        session, owner = self._session, self._owner
        job, profile = owner.outward, session.profile
        if not self._accepted:
            self._finish(b"")
            return
        converts = profile.convert and not session.offered.eight_bit and needs_downgrade(job.head)
        if isinstance(owner.body, bytes) and len(owner.body) <= _PIECE * _PIECES_A_TURN and not converts:
            self._finish(encode(job.head + owner.body, profile.line_limit))
            return
        self._encoder = Encoder(profile.line_limit)
        self._converter = Downgrade(profile.nesting_limit, profile.boundary_limit) if converts else None
        session.stage = reasons.BODY
        self._producing = True
        self._budget, self._since = float(profile.transfer_timeout), session.clock.monotonic()
        if self._send(job.head):
            self._produce()

    def _produce(self) -> None:
        """Send pieces while the server takes them; a turn of the loop for others after every few."""
        session = self._session
        session.expect(self._patience())
        for _ in range(_PIECES_A_TURN):
            if session.gone or session.congested_now:
                return
            try:
                piece = self._piece()
            except (OSError, EOFError):
                session.end(reasons.unreadable(session.host))
                return
            if not piece:
                self._producing = False
                session.stage = ""
                rest = self._converter.finish() if self._converter is not None else b""
                assert self._encoder is not None
                self._finish(self._encoder.feed(rest) + self._encoder.finish())
                return
            if not self._send(piece):
                return
        session.clock.call_soon(self._produce_more)

    def _patience(self) -> float:
        """For what is sent next: with smtp_per_request_deadline what the content before has left of it."""
        profile = self._session.profile
        if not profile.per_request:
            return profile.transfer_timeout
        now = self._session.clock.monotonic()
        earned = self._sent / profile.data_rate - (now - self._since)
        self._budget = min(self._budget + earned, profile.transfer_timeout)
        self._since, self._sent = now, 0
        return max(self._budget, 0.0)

    def _produce_more(self) -> None:
        if self._producing and not self._session.gone:
            self._produce()

    def _piece(self) -> bytes:
        body, at = self._owner.body, self._body_at
        piece = body[at : at + _PIECE] if isinstance(body, bytes) else body.read(at, _PIECE)
        self._body_at += len(piece)
        return piece

    def _send(self, piece: bytes) -> bool:
        """False when the message can't be converted: there is no way to take it back but to break the connection."""
        assert self._encoder is not None
        if self._converter is not None:
            try:
                piece = self._converter.feed(piece)
            except NestingError as error:
                self._session.end(reasons.unfit(self._session.host, str(error)))
                return False
        data = self._encoder.feed(piece)
        self._sent += len(data)
        self._session.write(data)
        return True

    def _finish(self, data: bytes) -> None:
        """Send the last of the content and its dot, and wait for the verdict."""
        session = self._session
        client = session.client
        if client.unasked:
            session.end(self._early())
            return
        if session.dot_delay and not self._delayed:
            self._delayed = self._paused = True
            session.stage = reasons.BODY
            session.write(data)
            self._pause()
            return
        replies = max(len(self._accepted), 1) if session.profile.lmtp else 1
        data += client.send(END, b".", replies)
        if session.offered.pipelining and not session.lasts():
            data += client.send("QUIT", b"QUIT")
        session.write(data)
        session.await_reply()

    def _pause(self) -> None:
        """All before the dot has to be on its way before the time runs."""
        session = self._session
        session.expect(session.profile.transfer_timeout + session.dot_delay)
        if not session.congested_now:
            self._paused = False
            session.clock.call_later(session.dot_delay, self._dot)

    def _dot(self) -> None:
        if not self._session.gone:
            self._session.stage = ""
            self._finish(b"")

    def _early(self) -> Status:
        """A verdict on content that had not ended: a refusal may be meant, an acceptance can't be."""
        host, reply = self._session.host, self._early_reply()
        if reply is not None and reply.code >= 400:
            return reasons.said(host, END, reply)
        return reasons.out_of_step(host, "a reply came before the end of the message")

    def _early_reply(self) -> RemoteReply | None:
        try:
            return self._session.client.early()
        except (EndlessReply, TableError):
            return None

    def _why(self, status: Status) -> Status:
        """A server that broke off in the middle of the content may have said why."""
        if self._producing:
            reply = self._early_reply()
            if reply is not None and reply.code >= 400:
                return reasons.said(self._session.host, END, reply)
        return status

    def _end_answered(self, reply: RemoteReply) -> None:
        session, owner = self._session, self._owner
        accepted = self._accepted
        if not session.profile.lmtp:
            settled = accepted
        else:
            settled = accepted[self._replies : self._replies + 1]
            self._replies += 1
        if settled:
            if 200 <= reply.code < 300:
                # RFC 3461 5.2.2: a server that knows DSN reports for itself.
                report = "passed" if session.offered.dsn else "" if session.profile.final else "relayed"
                owner.delivered(settled, reasons.done(session.host, reply, report))
            else:
                owner.refused(settled, reasons.said(session.host, END, reply))
        if session.client.awaited != END:
            session.release()
            owner.over()

    def _unsettled(self) -> list[int]:
        """Recipients about whom the server has not had its last word."""
        if self._mail_refused:
            return []
        return self._accepted[self._replies :] + self._recipients[self._told :]


def _needs_smtputf8(job: Job, recipients: list[int]) -> bool:
    """The client asked for SMTPUTF8, and an address or a header makes use of it (RFC 6531 3.6)."""
    if not (job.sender.isascii() and job.head.isascii()):
        return True
    return not all(job.recipients[index].address.isascii() for index in recipients)
