"""What a client said in a session: counted for the disconnect line, and for the limits of errors and of idle talk."""

from postwarden.mail.transcript import Trouble
from postwarden.receive.params import SmtpdParams

_ORDER = (
    "HELO", "EHLO", "XCLIENT", "XFORWARD", "STARTTLS", "AUTH", "MAIL", "RCPT", "DATA", "BDAT", "RSET", "NOOP", "VRFY",
    "ETRN", "QUIT", "UNKNOWN",
)  # fmt: skip
_NO_TROUBLE = Trouble.NONE
_IDLE_TALK = frozenset(("HELO", "EHLO", "RSET", "NOOP", "VRFY", "ETRN"))


class Tally:
    __slots__ = ("_accepted", "_idle_talk", "_limit", "_total", "errors", "trouble")

    def __init__(self, params: SmtpdParams) -> None:
        self._limit = params.smtpd_junk_command_limit
        self._accepted: dict[str, int] = {}
        self._total: dict[str, int] = {}
        self._idle_talk = 0
        self.errors = 0
        """Since the last message that was delivered."""
        self.trouble = _NO_TROUBLE
        """What they were, for the postmaster."""

    def count(self, verb: str, *, accepted: bool, error: bool = True) -> None:
        """A command got its final reply. `error`: if it was refused, that counts as the client's error."""
        total = self._total
        total[verb] = total.get(verb, 0) + 1
        if accepted:
            self._accepted[verb] = self._accepted.get(verb, 0) + 1
        elif error:
            self.errors += 1
        if verb in _IDLE_TALK:
            self.talk()

    def talk(self) -> None:
        """A command that moves nothing: too many of them are errors."""
        if self._idle_talk > self._limit:
            self.errors += 1
        self._idle_talk += 1

    def delivered(self) -> None:
        """A message was taken: what went wrong before is forgiven."""
        self.errors = self._idle_talk = 0
        self.trouble = _NO_TROUBLE

    def counts(self) -> tuple[tuple[str, int, int], ...]:
        """(verb in lower case, accepted, total), in Postfix's order."""
        total, accepted = self._total, self._accepted
        return tuple((verb.lower(), accepted.get(verb, 0), total[verb]) for verb in _ORDER if verb in total)
