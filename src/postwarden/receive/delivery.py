"""The end of a message: judge it, prepare it, make it durable, and only then say 250."""

from typing import TYPE_CHECKING

from msgspec import structs

from postwarden.mail.envelope import Client, Envelope, Notify, Recipient
from postwarden.mail.reply import Reply
from postwarden.receive.attributes import Forwarded
from postwarden.receive.received import closing
from postwarden.receive.refusals import refused

if TYPE_CHECKING:
    from postwarden.receive.session import Session
    from postwarden.receive.transaction import Transaction


def deliver(session: "Session", transaction: "Transaction", verb: str, note: str = "") -> None:
    """All content is here. `verb` is DATA or BDAT; `note` goes before `queued as`. May raise Pending, and is called
    again: nothing that it does before can't be done twice."""
    intake, draft = transaction.intake, transaction.draft
    assert intake is not None and draft is not None
    intake.finish()
    service = session.service
    if not session.allows(service.judge.end_of_data(transaction.facts(intake.size)), "END-OF-MESSAGE", verb):
        return
    head = _received(session, transaction) + intake.head
    if transaction.prepended:
        head = "".join(f"{line}\r\n" for line in transaction.prepended).encode() + head
    prepared = service.prepare(_envelope(session, transaction, len(head)), head, service.profile)
    if isinstance(prepared, Reply):
        refusal = refused(session, prepared)
        session.refuse("END-OF-MESSAGE", refusal)
        session.answer(refusal, verb)
        return
    envelope, head, remade = prepared.envelope, prepared.head, prepared.remade
    if transaction.redirect:
        redirected = Recipient(transaction.redirect, transaction.recipients[0].address)
        envelope = structs.replace(envelope, recipients=(redirected,), filter="")
    size = intake.body_size + len(head)
    if envelope.size != size:
        envelope = structs.replace(envelope, size=size)
    text = f"Ok: {note}queued as {envelope.queue_id}"
    if transaction.discard or not envelope.recipients:
        session.answer(Reply(250, "2.0.0", text), verb)
        session.tally.delivered()
        return
    session.hold()
    name = session.facts.findings.name

    def stored(fault: Reply | None) -> None:
        if fault is None and service.recorder is not None:
            service.recorder.stored(envelope, session=name, remade=remade)
        _stored(session, verb, text, fault)

    draft.commit(envelope, head, stored)


def _stored(session: "Session", verb: str, text: str, fault: Reply | None) -> None:
    if session.over:
        return
    if fault is None:
        session.answer(Reply(250, "2.0.0", text), verb)
        session.tally.delivered()
    else:
        session.answer(fault)
        session.tally.count(verb, accepted=False, error=False)
    session.resume()


def _envelope(session: "Session", transaction: "Transaction", head_size: int) -> Envelope:
    mail, intake, facts = transaction.mail, transaction.intake, session.facts
    assert intake is not None
    forwarded = transaction.forwarded
    copies = (Recipient(copy, notify=Notify.NEVER) for copy in transaction.copies)
    return Envelope(
        transaction.queue_id,
        transaction.arrival,
        mail.sender,
        (*transaction.recipients, *copies),
        intake.body_size + head_size,
        mail.eight_bit or intake.eight_bit,
        mail.smtputf8,
        mail.ret,
        mail.envid,
        facts.client if forwarded is None else _original(facts.client, forwarded),
        context="" if forwarded is None else forwarded.context,
        server=(facts.server_address, facts.server_port),
        hold=transaction.hold,
        filter=transaction.filter or session.service.content_filter,
    )


def _original(client: Client, forwarded: Forwarded) -> Client:
    """Whose message it is, as the next one who is told by XFORWARD shall hear it."""
    return structs.replace(forwarded.client or client, ident=forwarded.ident)


def _received(session: "Session", transaction: "Transaction") -> bytes:
    service, smtputf8 = session.service, transaction.mail.smtputf8
    if smtputf8:
        opening = service.received_by.opening(session.facts, smtputf8=True)
    else:
        opening = session.opening
        if not opening:
            opening = session.opening = service.received_by.opening(session.facts)
    date = service.dates.at(service.clock.now())
    return (opening + closing(transaction.queue_id, transaction.only_recipient or "", date)).encode()
