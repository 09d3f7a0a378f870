"""XFORWARD (XFORWARD_README): an authorized client, a content filter as a rule, says whose message comes next. It holds
for one transaction, and changes what is logged and passed on, never what is permitted."""

from typing import TYPE_CHECKING

from msgspec import structs

from postwarden.mail.envelope import Client
from postwarden.mail.reply import Reply
from postwarden.receive.attributes import Attribute, BadAttribute, Forwarded
from postwarden.receive.ehlo import XFORWARD_ATTRIBUTES
from postwarden.wire.smtp_events import Word

if TYPE_CHECKING:
    from postwarden.receive.session import Session

_OK = Reply(250, "2.0.0", "Ok")
_FORBIDDEN = Reply(550, "5.7.0", "Error: insufficient authorization")
_SYNTAX = Reply(501, "5.5.4", "Syntax: XFORWARD attribute=value...")
_LONGEST_PROTOCOL = 64


def apply_xforward(session: "Session", word: Word) -> None:
    session.where = "XFORWARD"
    if not word.arguments:
        session.answer(_SYNTAX, "XFORWARD")
        return
    if not session.standing.xforward:
        session.answer(_FORBIDDEN, "XFORWARD")
        return
    forwarded, families = session.forwarded or Forwarded(), session.params.inet_protocols
    nobody = session.service.client("unknown", "unknown", protocol="")
    try:
        for argument in word.arguments:
            forwarded = _with(forwarded, Attribute(argument, "XFORWARD", XFORWARD_ATTRIBUTES, families), nobody)
    except BadAttribute as bad:
        session.answer(Reply(501, "5.5.4", str(bad)), "XFORWARD")
        return
    session.forwarded = forwarded
    session.answer(_OK, "XFORWARD")


def _with(forwarded: Forwarded, attribute: Attribute, nobody: Client) -> Forwarded:
    value, known = attribute.value, attribute.known
    if attribute.name == "IDENT":
        return structs.replace(forwarded, ident=value if known else "")
    if attribute.name == "SOURCE":
        word = value.lower() if known else "local"
        if word not in ("local", "remote"):
            raise attribute.bad()
        return structs.replace(forwarded, context=word)
    client = forwarded.client or nobody
    match attribute.name:
        case "NAME":
            client = structs.replace(client, name=attribute.hostname())
        case "ADDR":
            client = structs.replace(client, address=attribute.address())
        case "PORT":
            client = structs.replace(client, port=attribute.port())
        case "HELO":
            client = structs.replace(client, helo=value if known else "")
        case _:
            if len(value) > _LONGEST_PROTOCOL:
                raise attribute.bad()
            client = structs.replace(client, protocol=value if known else "")
    return structs.replace(forwarded, client=client)
