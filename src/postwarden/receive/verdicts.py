"""What policy decided, carried out: logged, answered, noted for the message."""

from typing import TYPE_CHECKING

from postwarden.mail.decision import Decision, Verdict
from postwarden.mail.reply import Reply

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
    if decision.verdict in _REFUSING:
        reply = decision.reply or _DENIED
        session.refuse(stage, reply, recipient, sender)
        return reply
    return None
