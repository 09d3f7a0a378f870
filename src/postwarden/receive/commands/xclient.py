"""XCLIENT (XCLIENT_README): an authorized client says who the real client is. The session begins anew as that one."""

import re
from typing import TYPE_CHECKING

from msgspec import structs

from postwarden.mail.envelope import Client
from postwarden.mail.hostname import valid_address, valid_hostname
from postwarden.mail.reply import Reply
from postwarden.mail.session import SessionFacts
from postwarden.receive.ehlo import XCLIENT_ATTRIBUTES
from postwarden.receive.received import safe_name
from postwarden.wire.smtp_events import Word

if TYPE_CHECKING:
    from postwarden.receive.session import Session

_FORBIDDEN = Reply(550, "5.7.0", "Error: insufficient authorization")
_SYNTAX = Reply(501, "5.5.4", "Syntax: XCLIENT attribute=value...")
_ESCAPE = re.compile(rb"\+([0-9A-Fa-f]{2})")
_UNAVAILABLE, _TEMPORARY = "[UNAVAILABLE]", "[TEMPUNAVAIL]"


class _Bad(Exception):
    """Carries the reply's text."""


def apply_xclient(session: "Session", word: Word) -> None:
    session.where = "XCLIENT"
    if not session.standing.xclient:
        session.answer(_FORBIDDEN, "XCLIENT")
        return
    if not word.arguments:
        session.answer(_SYNTAX, "XCLIENT")
        return
    # Who is spoken of has said nothing yet, whatever the one who speaks said before.
    anew = structs.replace(session.facts.client, helo="", protocol="SMTP", login="")
    facts = structs.replace(session.facts, client=anew)
    try:
        for argument in word.arguments:
            facts = _changed(facts, argument)
    except _Bad as bad:
        session.answer(Reply(501, "5.5.4", str(bad)), "XCLIENT")
        return
    decision = session.service.judge.connect(facts)
    session.replace_facts(facts)
    session.stand_as_client()
    refusal = session.judged(decision, "CONNECT")
    if refusal is not None:
        # The client check happens here and, without smtpd_delay_reject, never again.
        session.answer(refusal, "XCLIENT")
        session.end()
        return
    session.answer(session.service.banner)
    session.tally.count("XCLIENT", accepted=False, error=False)


def _changed(facts: SessionFacts, argument: str) -> SessionFacts:
    name, equals, encoded = argument.partition("=")
    name = name.upper()
    if not equals:
        raise _Bad("Syntax: XCLIENT attribute=value...")
    if name not in XCLIENT_ATTRIBUTES:
        raise _Bad(f"Bad XCLIENT attribute name: {argument.partition('=')[0]}")
    raw = _ESCAPE.sub(lambda match: bytes([int(match[1], 16)]), encoded.encode())
    value = raw.decode("utf-8", "replace")
    if not value.isprintable():
        raise _Bad(f"Bad {name} syntax: {encoded}")
    known = value.upper() not in (_UNAVAILABLE, _TEMPORARY)
    status = 2 if known else 4 if value.upper() == _TEMPORARY else 5
    client = facts.client
    match name:
        case "NAME":
            value = _name(value, known=known, attribute="NAME")
            return structs.replace(facts, client=structs.replace(client, name=value), name_status=status)
        case "REVERSE_NAME":
            value = _name(value, known=known, attribute="REVERSE_NAME")
            return structs.replace(
                facts, client=structs.replace(client, reverse_name=value), reverse_name_status=status
            )
        case "DESTADDR":
            return structs.replace(facts, server_address=_address(value, known=known, attribute=name))
        case "DESTPORT":
            return structs.replace(facts, server_port=_port(value, known=known, attribute=name))
        case _:
            return structs.replace(facts, client=_changed_client(client, name, value, known=known))


def _changed_client(client: Client, name: str, value: str, *, known: bool) -> Client:
    match name:
        case "ADDR":
            return structs.replace(client, address=_address(value, known=known, attribute=name))
        case "PORT":
            return structs.replace(client, port=_port(value, known=known, attribute=name))
        case "HELO":
            if len(value) > 255:
                raise _Bad(f"Bad HELO syntax: {value}")
            return structs.replace(client, helo=safe_name(value) if known else "")
        case "PROTO":
            if known and value.upper() not in ("SMTP", "ESMTP"):
                raise _Bad(f"Bad PROTO syntax: {value}")
            return structs.replace(client, protocol=value.upper() if known else "SMTP")
        case _:
            return structs.replace(client, login=value if known else "")


def _name(value: str, *, known: bool, attribute: str) -> str:
    if known and not valid_hostname(value):
        raise _Bad(f"Bad {attribute} syntax: {value}")
    return value if known else "unknown"


def _address(value: str, *, known: bool, attribute: str) -> str:
    if not known:
        return "unknown"
    if value[:5].upper() == "IPV6:":
        value = value[5:]
    if not valid_address(value):
        raise _Bad(f"Bad {attribute} syntax: {value}")
    return value


def _port(value: str, *, known: bool, attribute: str) -> int:
    if not known:
        return 0
    if not value.isascii() or not value.isdigit() or not 0 < int(value) < 65536:
        raise _Bad(f"Bad {attribute} syntax: {value}")
    return int(value)
