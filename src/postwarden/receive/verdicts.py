"""What policy decided, carried out: logged, answered, noted for the message."""

from typing import TYPE_CHECKING

from postwarden.mail.decision import Decision, Verdict
from postwarden.mail.reply import Reply

if TYPE_CHECKING:
    from postwarden.receive.session import Session

_DENIED = Reply(554, "5.7.1", "Access denied")
_NO_HOLD = Reply(451, "4.3.5", "Server configuration error: HOLD is not available here")
_REFUSING = (Verdict.REJECT, Verdict.DEFER)


def judged(
    session: "Session", decision: Decision, stage: str, recipient: str | None, sender: str | None
) -> Reply | None:
    """The reply that policy wants, logged; None: go on."""
    for effect in decision.effects:
        if effect.action == "warning":
            session.service.warn(effect.note)
        else:
            session.refuse(stage, effect.note, recipient, sender, action=effect.action)
    verdict = decision.verdict
    if verdict in _REFUSING:
        reply = decision.reply or _DENIED
        session.refuse(stage, reply, recipient, sender)
        return reply
    if verdict is Verdict.HOLD and session.transaction is None and stage != "MAIL":
        # Before MAIL nothing can be marked: what is to be looked at first must not go through.
        session.refuse(stage, _NO_HOLD, recipient, sender)
        return _NO_HOLD
    if verdict is Verdict.HOLD or (verdict is Verdict.DISCARD and stage not in ("CONNECT", "HELO", "EHLO")):
        session.refuse(stage, decision.note, recipient, sender, action=verdict.value)
    if session.transaction is not None:
        session.transaction.obey(decision)
    return None
