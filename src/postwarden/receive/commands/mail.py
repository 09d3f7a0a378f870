"""MAIL (RFC 5321 4.1.1.2)."""

from typing import TYPE_CHECKING

from msgspec import structs

from postwarden.mail.events import Opened
from postwarden.mail.reply import Reply
from postwarden.receive.counters import MESSAGES
from postwarden.receive.rates import too_many
from postwarden.receive.refusals import refused
from postwarden.receive.transaction import Transaction
from postwarden.wire.smtp_events import Mail

if TYPE_CHECKING:
    from postwarden.receive.session import Session

OK = Reply(250, "2.1.0", "Ok")
_TOO_BIG = Reply(552, "5.3.4", "Message size exceeds fixed limit")
NO_DSN = Reply(501, "5.7.1", "DSN support is disabled")
_NO_UTF8 = Reply(555, "5.5.4", "Unsupported option: SMTPUTF8")
UNDECLARED = Reply(553, "5.6.7", "Must declare SMTPUTF8 to send unicode address")
"""With strict_smtputf8 (RFC 6531 3.4)."""


def apply_mail(session: "Session", mail: Mail) -> None:
    service, params, sender = session.service, session.params, mail.sender
    session.where = "MAIL"
    if mail.smtputf8 and not session.offers("smtputf8"):
        session.answer(_NO_UTF8, "MAIL")
        return
    if params.strict_smtputf8 and not mail.smtputf8 and not sender.isascii():
        session.answer(UNDECLARED, "MAIL")
        return
    if (mail.ret or mail.envid) and not session.offers("dsn"):
        session.answer(NO_DSN, "MAIL")
        return
    facts = session.facts if params.smtpd_delay_reject else structs.replace(session.facts, size=mail.size)
    decision = service.judge.mail(facts, sender)
    if session.standing.limited and too_many(session, MESSAGES):
        reply = Reply(450, "4.7.1", f"Error: too much mail from {session.facts.client.address}")
        session.answer(refused(session, reply, sender=sender), "MAIL")
        return
    if not session.allows(decision, "MAIL", "MAIL", sender=sender):
        return
    refusal = _TOO_BIG if 0 < params.message_size_limit < mail.size else service.store.room(mail.size)
    if refusal is not None:
        refusal = refused(session, refusal, sender=sender)
        session.refuse("MAIL", refusal, sender=sender)
        session.answer(refusal, "MAIL")
        return
    session.transaction = Transaction(mail, session.facts, service.clock.now(), session.forwarded)
    session.transaction.obey(decision.effects)
    session.facts.findings.message_begins()
    session.forwarded = None
    if not params.smtpd_delay_open_until_valid_rcpt:
        open_transaction(session, session.transaction)
    session.answer(OK, "MAIL")
    if service.delay:
        session.hold()
        service.clock.call_later(service.delay, session.resume)


def open_transaction(session: "Session", transaction: Transaction) -> None:
    """Give it a queue id, and say so in the log."""
    transaction.queue_id = session.service.store.new_queue_id()
    client, forwarded = session.facts.client, transaction.forwarded
    ident, original = ("", None) if forwarded is None else (forwarded.ident, forwarded.client)
    session.service.emit(Opened(transaction.queue_id, client, client.login, ident, original))
