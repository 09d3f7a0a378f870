"""RSET, NOOP, QUIT, and AUTH where no login is configured (RFC 5321 4.1.1.5, 4.1.1.9, 4.1.1.10)."""

from typing import TYPE_CHECKING

from postwarden.mail.reply import Reply
from postwarden.receive.chapters import begin_anew
from postwarden.wire.smtp_events import Word

if TYPE_CHECKING:
    from postwarden.receive.session import Session

OK = Reply(250, "2.0.0", "Ok")
_BYE = Reply(221, "2.0.0", "Bye")
_NO_AUTH = Reply(503, "5.5.1", "Error: authentication not enabled")


def apply_reset(session: "Session", _: Word) -> None:
    session.where = "RSET"
    session.forwarded = None
    begin_anew(session)
    session.answer(OK, "RSET")


def apply_noop(session: "Session", _: Word) -> None:
    session.where = "NOOP"
    session.answer(OK, "NOOP")


def apply_quit(session: "Session", _: Word) -> None:
    session.where = "QUIT"
    session.answer(_BYE, "QUIT")
    session.end()


def apply_auth(session: "Session", _: Word) -> None:
    session.where = "AUTH"
    session.answer(_NO_AUTH, "AUTH")
