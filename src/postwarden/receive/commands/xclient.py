"""XCLIENT (XCLIENT_README): an authorized client says who the real client is. The session begins anew as that one."""

from typing import TYPE_CHECKING

from msgspec import structs

from postwarden.mail.envelope import Client
from postwarden.mail.reply import Reply
from postwarden.mail.session import SessionFacts
from postwarden.receive.attributes import Attribute, BadAttribute
from postwarden.receive.ehlo import XCLIENT_ATTRIBUTES
from postwarden.receive.received import safe_name
from postwarden.wire.smtp_events import Word

if TYPE_CHECKING:
    from postwarden.receive.session import Session

_FORBIDDEN = Reply(550, "5.7.0", "Error: insufficient authorization")
_SYNTAX = Reply(501, "5.5.4", "Syntax: XCLIENT attribute=value...")


def apply_xclient(session: "Session", word: Word) -> None:
    session.where = "XCLIENT"
    if not word.arguments:
        session.answer(_SYNTAX, "XCLIENT")
        return
    if not session.standing.xclient:
        session.answer(_FORBIDDEN, "XCLIENT")
        return
    # Who is spoken of has said nothing yet, whatever the one who speaks said before.
    anew = structs.replace(session.facts.client, helo="", protocol="SMTP", login="")
    facts = structs.replace(session.facts, client=anew)
    try:
        for argument in word.arguments:
            facts = _changed(facts, argument, session.params.inet_protocols)
    except BadAttribute as bad:
        session.answer(Reply(501, "5.5.4", str(bad)), "XCLIENT")
        return
    decision = session.service.judge.connect(facts)
    # Asked for before anything is done: it may raise Pending.
    session.service.clients.standing(facts.client.name, facts.client.address)
    session.replace_facts(facts)
    forwards = session.standing.xforward
    session.stand_as_client()
    # Whoever is connected goes on to say whose mail it brings.
    session.standing = structs.replace(session.standing, xforward=forwards)
    session.forwarded = None
    refusal = session.judged(decision, "CONNECT")
    if refusal is not None:
        # The client check happens here and, without smtpd_delay_reject, never again.
        session.answer(refusal, "XCLIENT")
        session.end()
        return
    session.answer(session.service.banner)
    session.tally.count("XCLIENT", accepted=False, error=False)


def _changed(facts: SessionFacts, argument: str, families: tuple[str, ...]) -> SessionFacts:
    attribute = Attribute(argument, "XCLIENT", XCLIENT_ATTRIBUTES, families)
    client, status = facts.client, attribute.status
    match attribute.name:
        case "NAME":
            return structs.replace(facts, client=structs.replace(client, name=attribute.hostname()), name_status=status)
        case "REVERSE_NAME":
            client = structs.replace(client, reverse_name=attribute.hostname())
            return structs.replace(facts, client=client, reverse_name_status=status)
        case "DESTADDR":
            return structs.replace(facts, server_address=attribute.address())
        case "DESTPORT":
            return structs.replace(facts, server_port=attribute.port())
        case _:
            return structs.replace(facts, client=_changed_client(client, attribute))


def _changed_client(client: Client, attribute: Attribute) -> Client:
    value, known = attribute.value, attribute.known
    match attribute.name:
        case "ADDR":
            return structs.replace(client, address=attribute.address())
        case "PORT":
            return structs.replace(client, port=attribute.port())
        case "HELO":
            return structs.replace(client, helo=safe_name(value) if known else "")
        case "PROTO":
            if known and value.upper() not in ("SMTP", "ESMTP"):
                raise attribute.bad()
            return structs.replace(client, protocol=value.upper() if known else "SMTP")
        case _:
            return structs.replace(client, login=value if known else "")
