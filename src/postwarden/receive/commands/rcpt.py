"""RCPT (RFC 5321 4.1.1.3)."""

from typing import TYPE_CHECKING

from postwarden.mail.decision import BUILT_IN, Decision, Rule, Verdict
from postwarden.mail.envelope import Recipient
from postwarden.mail.probe_sender import HEARD
from postwarden.mail.reply import Reply
from postwarden.receive.commands.mail import NO_DSN, UNDECLARED, open_transaction
from postwarden.receive.counters import RECIPIENTS
from postwarden.receive.rates import too_many
from postwarden.receive.refusals import refused
from postwarden.wire.smtp_events import Rcpt

if TYPE_CHECKING:
    from postwarden.receive.session import Session

OK = Reply(250, "2.1.5", "Ok")
_DISCARDED = Decision(Verdict.PERMIT, Rule("the message is discarded", "", BUILT_IN))
_TOO_MANY = Reply(452, "4.5.3", "Error: too many recipients")


def apply_rcpt(session: "Session", rcpt: Rcpt) -> None:
    transaction = session.transaction
    assert transaction is not None
    session.where = "RCPT"
    recipients = transaction.recipients
    if len(recipients) >= session.params.smtpd_recipient_limit:
        # Real clients go on for a while after this reply; that alone is no error (RFC 5321 4.5.3.1.10).
        transaction.overshoot += 1
        forgiven = transaction.overshoot <= session.params.smtpd_recipient_overshoot_limit
        # One record tells it of a message: the others of a thousand would be of no use.
        session.recorded = _TOO_MANY
        first = transaction.overshoot == 1
        reply = refused(session, _TOO_MANY, recipient=rcpt.address) if first else _TOO_MANY
        session.answer(reply, "" if forgiven else "RCPT")
        if forgiven:
            session.tally.count("RCPT", accepted=True)
        return
    if session.params.strict_smtputf8 and not transaction.mail.smtputf8 and not rcpt.address.isascii():
        session.answer(UNDECLARED, "RCPT")
        return
    if (rcpt.orcpt or rcpt.notify) and not session.offers("dsn"):
        session.answer(NO_DSN, "RCPT")
        return
    # What is thrown away needs no judgement, and whoever sends it shall not learn who exists here.
    discarded = transaction.discard
    decision = _DISCARDED if discarded else session.service.judge.recipient(transaction.facts(), rcpt.address)
    if session.standing.limited and too_many(session, RECIPIENTS):
        address = session.facts.client.address
        reply = Reply(450, "4.7.1", f"Error: too many recipients from {address}")
        session.answer(refused(session, reply, recipient=rcpt.address), "RCPT")
        return
    if not session.allows(decision, "RCPT", "RCPT", rcpt.address):
        return
    if not transaction.queue_id:
        open_transaction(session, transaction)
    address = decision.facts[0].answer if decision.rule is HEARD else rcpt.address
    recipients.append(Recipient(address, "", rcpt.orcpt, rcpt.notify))
    session.answer(OK, "RCPT")
