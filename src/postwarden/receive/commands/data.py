"""DATA, its content and its end (RFC 5321 4.1.1.4)."""

from typing import TYPE_CHECKING

from postwarden.mail.reply import Reply
from postwarden.receive.commands.refused import refuse_bare_lf, reports_bare_lf
from postwarden.receive.content import Intake
from postwarden.receive.delivery import deliver
from postwarden.wire.smtp_events import Content, ContentEnd, Data

if TYPE_CHECKING:
    from postwarden.receive.session import Session
    from postwarden.receive.transaction import Transaction

_GO_AHEAD = Reply(354, "", "End data with <CR><LF>.<CR><LF>")
HEADS = 64 << 20
"""Bytes of heads that all sessions of a service may keep; beyond it no more than `HEAD` each. A body has the spool's
budget, but a head is looked at whole."""
HEAD = 64 << 10
_NO_SPACE = Reply(452, "4.3.1", "Insufficient system storage")
TOO_BIG = Reply(552, "5.3.4", "Error: message file too big")


def apply_data(session: "Session", _: Data) -> None:
    transaction = session.transaction
    assert transaction is not None
    session.where = "DATA"
    if not session.allows(session.service.judge.data(transaction.facts()), "DATA", "DATA"):
        return
    begin_content(session, transaction)
    session.answer(_GO_AHEAD)


def begin_content(session: "Session", transaction: "Transaction") -> Intake:
    draft = session.service.store.draft()
    transaction.draft = draft
    transaction.intake = Intake(draft)
    return transaction.intake


def apply_content(session: "Session", content: Content) -> None:
    transaction = session.transaction
    if transaction is None or transaction.intake is None or transaction.spoiled is not None:
        return
    intake, draft, limit = transaction.intake, transaction.draft, session.params.message_size_limit
    intake.write(content.data)
    if _count_head(session, transaction, intake) > HEADS and intake.kept > HEAD and draft is not None:
        session.service.warn(f"{transaction.queue_id}: too many long headers at once")
        transaction.spoiled = _NO_SPACE
        intake.give_up()
        draft.abandon()
        _count_head(session, transaction, intake)
    elif 0 < limit < intake.size:
        if not intake.over and draft is not None:
            session.service.warn(f"{transaction.queue_id}: queue file size limit exceeded")
            intake.give_up()
            draft.abandon()
        elif intake.size > limit + session.mode.options.discard_limit:
            # RFC 5321 4.5.3.1.9 wants all of it read, but not for ever.
            session.hang_up(("4.3.0", "Error: message far too big"), "too much data")
    elif draft is not None and draft.congested:
        draft.on_drained = session.resume
        session.hold()


def _count_head(session: "Session", transaction: "Transaction", intake: Intake) -> int:
    """What the heads of all sessions take."""
    service = session.service
    service.heads += intake.kept - transaction.kept
    transaction.kept = intake.kept
    return service.heads


def apply_content_end(session: "Session", end: ContentEnd) -> None:
    transaction = session.transaction
    assert transaction is not None and transaction.intake is not None
    session.where = "END-OF-MESSAGE"
    if transaction.spoiled is not None:
        session.answer(transaction.spoiled, "DATA")
    elif transaction.intake.over:
        session.answer(TOO_BIG, "DATA")
    elif end.bare_lf and reports_bare_lf(session):
        session.answer(refuse_bare_lf(session, "END-OF-MESSAGE"), "DATA")
    else:
        deliver(session, transaction, "DATA")
