"""What policy decided, carried out: logged, answered, noted for the message."""

from typing import TYPE_CHECKING

from msgspec import structs

from postwarden.mail.decision import Decision, Verdict
from postwarden.mail.envelope import Client
from postwarden.mail.reply import Reply
from postwarden.mail.session import SessionFacts
from postwarden.net.peername import client_address
from postwarden.receive.ports import Recorder

if TYPE_CHECKING:
    from postwarden.receive.session import Session

_DENIED = Reply(554, "5.7.1", "Access denied")
_REFUSING = (Verdict.REJECT, Verdict.DEFER)
_WHOLE = ("DATA", "BDAT", "END-OF-MESSAGE")
_RECIPIENTS = 100
"""Of a message that is refused as a whole: so many are kept."""


def judged(
    session: "Session", decision: Decision, stage: str, recipient: str | None, sender: str | None
) -> Reply | None:
    """The reply that policy wants, logged; None: go on."""
    transaction, recorder = session.transaction, session.service.recorder
    for effect in decision.effects:
        if effect.action == "warning":
            session.service.warn(effect.note)
        elif effect.action != "prepend" and not (effect.action == "hold" and transaction and transaction.hold):
            session.refuse(stage, effect.note, recipient, sender, action=effect.action)
    if transaction is not None:
        transaction.obey(decision.effects)
    reply = (decision.reply or _DENIED) if decision.verdict in _REFUSING else None
    if reply is not None:
        if recorder is not None:
            reply = session.recorded = session.service.referring(reply, recorder)
        session.refuse(stage, reply, recipient, sender)
    if recorder is not None and (reply is not None or stage == "RCPT" or decision.effects):
        record(session, recorder, decision, stage, reply, recipient=recipient or "", sender=sender)
    return reply


def record(
    session: "Session",
    recorder: Recorder,
    decision: Decision,
    stage: str,
    reply: Reply | None,
    *,
    recipient: str,
    sender: str | None,
    policy: bool = True,
) -> None:
    """For whoever asks later. `policy`: False where the server refuses by itself."""
    transaction = session.transaction
    recipients: tuple[str, ...] = ()
    facts = session.facts if hasattr(session, "facts") else _unnamed(session)
    name = facts.findings.name = facts.findings.name or recorder.session()
    if transaction is not None:
        facts = transaction.facts()
        if reply is not None and (stage in _WHOLE or reply.code == 421):
            recipients = tuple([one.address for one in transaction.recipients[:_RECIPIENTS]])
    elif sender is not None:
        facts = structs.replace(facts, sender=sender)
    recorder.judged(
        (name, session.service.key), stage, facts, decision, reply,
        recipient=recipient, recipients=recipients, policy=policy,
    )  # fmt: skip


def _unnamed(session: "Session") -> SessionFacts:
    """It ends before the client's name was looked up."""
    stream = session.stream
    client = Client("unknown", client_address(stream.peer[0]), stream.peer[1])
    return SessionFacts(client, 5, 5, stream.local[0], stream.local[1], stream.tls)
