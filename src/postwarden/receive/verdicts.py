"""What policy decided, carried out: logged, answered, noted for the message."""

from typing import TYPE_CHECKING

from msgspec import structs

from postwarden.mail.decision import Decision, Verdict
from postwarden.mail.reply import Reply
from postwarden.receive.ports import Recorder

if TYPE_CHECKING:
    from postwarden.receive.session import Session

_DENIED = Reply(554, "5.7.1", "Access denied")
_REFUSING = (Verdict.REJECT, Verdict.DEFER)


def judged(
    session: "Session", decision: Decision, stage: str, recipient: str | None, sender: str | None
) -> Reply | None:
    """The reply that policy wants, logged; None: go on."""
    transaction = session.transaction
    for effect in decision.effects:
        if effect.action == "warning":
            session.service.warn(effect.note)
        elif effect.action != "prepend" and not (effect.action == "hold" and transaction and transaction.hold):
            session.refuse(stage, effect.note, recipient, sender, action=effect.action)
    if transaction is not None:
        transaction.obey(decision.effects)
    reply = (decision.reply or _DENIED) if decision.verdict in _REFUSING else None
    if reply is not None:
        session.refuse(stage, reply, recipient, sender)
    if session.service.recorder is not None and (reply is not None or stage == "RCPT" or decision.effects):
        _record(session, session.service.recorder, decision, stage, reply, recipient=recipient, sender=sender)
    return reply


def _record(
    session: "Session",
    recorder: Recorder,
    decision: Decision,
    stage: str,
    reply: Reply | None,
    *,
    recipient: str | None,
    sender: str | None,
) -> None:
    facts, transaction = session.facts, session.transaction
    name = facts.findings.name = facts.findings.name or recorder.session()
    if transaction is not None:
        facts = transaction.facts()
    elif sender is not None:
        facts = structs.replace(facts, sender=sender)
    recorder.judged((name, session.service.key), stage, facts, decision, reply, recipient=recipient or "")
