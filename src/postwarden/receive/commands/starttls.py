"""STARTTLS (RFC 3207)."""

from typing import TYPE_CHECKING

from postwarden.mail.events import Notice
from postwarden.mail.reply import Reply
from postwarden.mail.session import TlsFacts
from postwarden.receive.counters import TLS_SESSIONS
from postwarden.receive.rates import too_many
from postwarden.wire.smtp_events import Word

if TYPE_CHECKING:
    from postwarden.receive.session import Session

_READY = Reply(220, "2.0.0", "Ready to start TLS")
_FAULT = Reply(454, "4.7.0", "TLS not available due to local problem")
_ABSENT = Reply(502, "5.5.1", "Error: command not implemented")


def apply_starttls(session: "Session", _: Word) -> None:
    session.where = "STARTTLS"
    tls = session.service.tls
    if tls is None or not session.offers("starttls"):
        session.answer(_ABSENT, "STARTTLS")
        return
    context = tls.context
    if context is None:
        # Where TLS is mandatory, what comes now in clear is still refused: by the machine, which is not secure.
        session.answer(_FAULT, "STARTTLS")
        return
    if too_many(session, TLS_SESSIONS):
        session.tally.count("STARTTLS", accepted=False)
        session.hang_up(("4.7.0", f"Error: too many new TLS sessions from {session.facts.client}"))
        return
    session.answer(_READY, "STARTTLS")
    session.flush()
    session.hold()
    session.shorten(session.params.smtpd_starttls_timeout)
    session.stream.start_tls(context, server_side=True)


def log_tls(session: "Session", tls: TlsFacts) -> None:
    if session.params.smtpd_tls_loglevel:
        trust = "Untrusted" if tls.peer_subject else "Anonymous"
        session.service.emit(
            Notice(
                f"{trust} TLS connection established from {session.facts.client}: {tls.protocol} with cipher "
                f"{tls.cipher} ({tls.bits}/{tls.bits} bits)"
            )
        )
