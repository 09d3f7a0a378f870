"""What a session that does not end tells its postmaster: at HELO, RSET and the end of a message a transcript that
has grown long is sent, if there was trouble, and a new one begins (smtpd_history_flush_threshold)."""

from typing import TYPE_CHECKING

from postwarden.mail.transcript import Trouble

if TYPE_CHECKING:
    from postwarden.receive.session import Session


def begin_anew(session: "Session") -> None:
    """A command that is not answered yet belongs to what went before, its reply to what comes."""
    transcript, machine = session.transcript, session.machine
    if transcript is None or not transcript.longer_than(session.params.smtpd_history_flush_threshold, machine.line):
        return
    if machine.line:
        transcript.add(machine.line, "")
        machine.line = b""
    postmaster, trouble = session.service.postmaster, session.tally.trouble
    if trouble:
        postmaster.tell(session.facts.client, transcript, trouble, "")
    session.tally.trouble = Trouble.NONE
    session.transcript = postmaster.transcript()
