"""HELO and EHLO (RFC 5321 4.1.1.1)."""

from typing import TYPE_CHECKING

from msgspec import structs

from postwarden.mail.events import Notice
from postwarden.mail.reply import Reply
from postwarden.receive.chapters import begin_anew
from postwarden.receive.received import safe_name
from postwarden.receive.refusals import refused
from postwarden.wire.smtp_events import Hello
from postwarden.wire.smtp_extensions import discarding

if TYPE_CHECKING:
    from postwarden.receive.session import Session


def apply_hello(session: "Session", hello: Hello) -> None:
    service, facts, verb = session.service, session.facts, hello.verb
    session.where = verb
    if hello.warning is not None:
        session.warn(*hello.warning)
    begin_anew(session)
    extended = verb == "EHLO"
    client = structs.replace(facts.client, helo=safe_name(hello.name), protocol="ESMTP" if extended else "SMTP")
    facts = structs.replace(facts, client=client)
    decision, before = service.judge.helo(facts), session.facts
    if decision.reply is not None or decision.effects:
        # The log tells of the name that is judged.
        session.facts = structs.replace(before, client=structs.replace(before.client, helo=client.helo))
    if not session.allows(decision, verb, verb):
        session.facts = before
        return
    session.replace_facts(facts)
    session.forwarded = None
    if extended:
        standing = session.standing
        if standing.discarded is None:
            _no_offer(session)
            return
        if standing.discarded and (kept := discarding(standing.discarded)):
            service.emit(Notice(kept))
        offer_tls = service.tls is not None and not session.machine.secure
        reply, encoded = service.ehlo(standing, tls=offer_tls)
        session.answer(reply, verb, encoded)
    else:
        session.answer(service.helo_reply, verb)


def _no_offer(session: "Session") -> None:
    """What is to be kept from this client is not known, so nothing is offered."""
    session.warn("don't know what EHLO features to announce to ", "")
    reply = refused(session, Reply(421, "4.3.0", f"{session.service.hostname} Server local data error"))
    session.service.emit(Notice(f"NOQUEUE: reject: EHLO from {session.facts.client}: {reply}"))
    session.answer(reply, "EHLO")
    session.end()
