"""ETRN (RFC 1985): mail for a domain of fast_flush_domains is tried now."""

from typing import TYPE_CHECKING

from postwarden.mail.hostname import valid_address, valid_hostname
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
    if domain[:1] in ("@", "#"):  # RFC 1985 5.3: subdomains, named queues; both are the domain to us
        domain = domain[1:]
    if not valid_hostname(domain) and not _literal(domain):
        session.answer(_BAD_NAME, "ETRN")
        return
    decision = session.service.judge.etrn(session.facts, domain)
    session.service.sites.look_up(domain)
    if session.allows(decision, "ETRN", "ETRN"):
        reply = session.service.sites.flush(domain, session.service.flush_site)
        if reply.code == 459:
            session.warn(f"reject: ETRN {domain}... from ", "")
        elif reply.code != 250:
            session.warn("unable to talk to fast flush service; client ", "")
        session.answer(reply, "ETRN")


def _literal(domain: str) -> bool:
    return domain[:1] == "[" and domain[-1:] == "]" and valid_address(domain[1:-1].removeprefix("IPv6:"))
