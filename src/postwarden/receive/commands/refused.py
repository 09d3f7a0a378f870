"""What is no command, is malformed, or is out of order."""

from typing import TYPE_CHECKING

from msgspec import structs

from postwarden.mail.events import Notice
from postwarden.mail.reply import Reply
from postwarden.mail.transcript import Trouble
from postwarden.receive.commands.noop import OK
from postwarden.receive.refusals import refused
from postwarden.wire.data import LineEnds
from postwarden.wire.smtp_events import BareLf, Refused, Unknown
from postwarden.wire.smtp_states import State

if TYPE_CHECKING:
    from postwarden.receive.session import Session

_UNKNOWN = Reply(500, "5.5.2", "Error: command not recognized")
_SYNCHRONIZATION = Reply(554, "5.5.0", "Error: SMTP protocol synchronization")
_FORBIDDEN = Reply(221, "2.7.0", "Error: I can break rules, too. Goodbye.")


def apply_refused(session: "Session", event: Refused) -> None:
    session.where = event.verb or "UNKNOWN"
    reply = event.reply
    if session.machine.state is State.REFUSED:
        reply = Reply(503, "5.7.0", f"Error: access denied for {session.facts.client}")
    if event.warning is not None:
        before, after = event.warning
        if event.verb == "BDAT":
            before = f"{session.queue_id or 'NOQUEUE'}: {before}"
        session.warn(before, after)
    if reply.code == 421:
        reply = Reply(421, reply.status, f"{session.service.hostname} {reply.text}")
    session.answer(reply, event.verb)
    if not event.verb:
        # No command at all: an error, and nothing that the disconnect line counts.
        session.tally.errors += 1
    if event.close:
        session.end()


def apply_unknown(session: "Session", unknown: Unknown) -> None:
    if unknown.line in session.service.noop:
        session.answer(OK)
        session.tally.talk()
        return
    session.where = "UNKNOWN"
    if unknown.line in session.service.forbidden:
        session.warn("non-SMTP command from ", f": {unknown.line[:100]}")
        session.answer(_FORBIDDEN)
        session.tally.count("UNKNOWN", accepted=False)
        session.end()
        return
    session.answer(_UNKNOWN, "UNKNOWN")


def notice_early(session: "Session") -> None:
    """The client sent more without waiting for a reply: once a session is enough to know."""
    machine = session.machine
    assert machine.early is not None
    (verb, data), machine.early = machine.early, None
    if not session.facts.pipelined:
        session.facts = structs.replace(session.facts, pipelined=True)
        text = data[:100].decode("utf-8", "replace").replace("\r", "\\r").replace("\n", "\\n")
        client = session.facts.client
        session.service.emit(Notice(f"improper command pipelining after {verb} from {client}: {text}"))
    if session.params.smtpd_forbid_unauth_pipelining:
        session.say(refused(session, _SYNCHRONIZATION).marked())
        session.tally.trouble |= Trouble.PROTOCOL
        if verb != "CONNECT":
            session.tally.count(verb, accepted=False)
        session.end()


def reports_bare_lf(session: "Session") -> bool:
    """A bare LF in this session's content is a reason to refuse it."""
    return session.mode.options.line_ends is LineEnds.REJECT and not session.standing.bare_newline


def refuse_bare_lf(session: "Session", stage: str) -> Reply:
    """Logged; the caller answers."""
    code = session.params.smtpd_forbid_bare_newline_reject_code
    text = f"{session.service.hostname} Error: bare <LF> received"
    reply = refused(session, Reply(code, f"{code // 100}.5.2", text))
    session.refuse(stage, "bare <LF> received" + (f" [ref {reply.reference}]" if reply.reference else ""))
    return reply


def apply_bare_lf(session: "Session", _: BareLf) -> None:
    session.answer(refuse_bare_lf(session, session.where))
    session.end()
