"""HELO and EHLO (RFC 5321 4.1.1.1)."""

from typing import TYPE_CHECKING

from msgspec import structs

from postwarden.receive.received import safe_name
from postwarden.wire.smtp_events import Hello

if TYPE_CHECKING:
    from postwarden.receive.session import Session


def apply_hello(session: "Session", hello: Hello) -> None:
    service, facts, verb = session.service, session.facts, hello.verb
    session.where = verb
    extended = verb == "EHLO"
    client = structs.replace(facts.client, helo=safe_name(hello.name), protocol="ESMTP" if extended else "SMTP")
    facts = structs.replace(facts, client=client)
    if not session.allows(service.judge.helo(facts), verb, verb):
        return
    session.replace_facts(facts)
    if extended:
        offer_tls = service.tls is not None and not session.machine.secure
        reply, encoded = service.ehlo(tls=offer_tls, xclient=session.standing.xclient)
        session.answer(reply, verb, encoded)
    else:
        session.answer(service.helo_reply, verb)
