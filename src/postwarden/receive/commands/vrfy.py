"""VRFY (RFC 5321 4.1.1.6, 3.5.3): tells no more than RCPT would."""

from typing import TYPE_CHECKING

from postwarden.mail.reply import Reply
from postwarden.receive.commands.mail import UNDECLARED
from postwarden.wire.smtp_events import Verify

if TYPE_CHECKING:
    from postwarden.receive.session import Session

_DISABLED = Reply(502, "5.5.1", "VRFY command is disabled")


def apply_verify(session: "Session", verify: Verify) -> None:
    session.where = "VRFY"
    if session.params.disable_vrfy_command:
        session.answer(_DISABLED, "VRFY")
        return
    if session.params.strict_smtputf8 and not verify.smtputf8 and not verify.address.isascii():
        session.answer(UNDECLARED, "VRFY")
        return
    decision = session.service.judge.verify(session.facts, verify.address)
    if session.allows(decision, "VRFY", "VRFY", verify.address):
        session.answer(Reply(252, "2.0.0", verify.given), "VRFY")
