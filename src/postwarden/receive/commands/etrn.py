"""ETRN (RFC 1985). No domain's mail waits for it here: deferred mail is tried by its own schedule."""

from typing import TYPE_CHECKING

from postwarden.mail.hostname import valid_hostname
from postwarden.mail.reply import Reply
from postwarden.wire.smtp_events import Word

if TYPE_CHECKING:
    from postwarden.receive.session import Session

_NEED_HELLO = Reply(503, "", "Error: send HELO/EHLO first")
_SYNTAX = Reply(500, "", "Syntax: ETRN domain")
_BAD_NAME = Reply(501, "", "Error: invalid parameter syntax")


def apply_etrn(session: "Session", word: Word) -> None:
    session.where = "ETRN"
    if session.params.smtpd_helo_required and not session.facts.client.helo:
        session.answer(_NEED_HELLO, "ETRN")
        return
    if len(word.arguments) != 1:
        session.answer(_SYNTAX, "ETRN")
        return
    domain = word.arguments[0]
    if not valid_hostname(domain.lstrip("@#")):
        session.answer(_BAD_NAME, "ETRN")
        return
    if session.allows(session.service.judge.etrn(session.facts, domain), "ETRN", "ETRN"):
        session.warn(f"reject: ETRN {domain}... from ", "")
        session.answer(Reply(459, "", f"<{domain}>: service unavailable"), "ETRN")
