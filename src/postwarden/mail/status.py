"""What became of one recipient in one delivery attempt (RFC 3463, RFC 3464 2.3)."""

from enum import Enum

from msgspec import Struct
from msgspec.structs import replace


class Action(Enum):
    """The word that the log and the DSN use."""

    SENT = "sent"
    BOUNCED = "bounced"
    DEFERRED = "deferred"

    @property
    def final(self) -> bool:
        return self is not Action.DEFERRED


class Part(Struct, frozen=True, array_like=True):
    """One of those that a recipient became on this machine: whoever traces his mail hears of each."""

    address: str
    original: str
    """Empty where it is the recipient's own address, or a list with an owner stands between."""
    code: str
    text: str
    report: str = ""
    """As in `Status`."""


class Status(Struct, frozen=True, array_like=True):
    """`action` follows from the first digit of `code`, so that the two can never disagree."""

    code: str
    """Enhanced status code, as `5.1.1`."""
    text: str
    """The log's sentence in parentheses: `host mx[1.2.3.4] said: 550 no such user (in reply to RCPT TO command)`."""
    relay: str = "none"
    """`name[address]:port` of the remote end, `local`, `none`."""
    remote_mta: str = ""
    """Name for the DSN's Remote-MTA; empty when no remote server was reached."""
    remote_reply: str = ""
    """The remote server's whole reply, for Diagnostic-Code: smtp; empty when none."""
    report: str = ""
    """Of a success, what its report calls it (RFC 3464 2.3.3): empty: delivered; `relayed`, to a server that does not
    report; `passed`, to one that does, so that nobody need be told; `expanded`, an alias."""
    cause: str = ""
    """Which setting or table of ours decided, for a plain sentence in reports; empty where the text says all."""
    soft: bool = False
    """It was a refusal for good; soft_bounce made it temporary."""
    verified: bool = False
    """Nothing was delivered: this is what would become of it (`sendmail -bv`)."""
    parts: tuple[Part, ...] = ()
    origin: str = ""
    """Where what `cause` names is written: a table's key, file and line. For postmasters alone."""
    program_said: str = ""
    """What a program of this machine said of it, for Diagnostic-Code: x-unix; empty when none ran."""

    @property
    def action(self) -> Action:
        return {"2": Action.SENT, "4": Action.DEFERRED, "5": Action.BOUNCED}[self.code[0]]

    def foretold(self) -> "Status":
        return replace(self, verified=True)

    def softened(self) -> "Status":
        """What soft_bounce makes of a refusal for good."""
        return replace(self, code="4" + self.code[1:], soft=True) if self.code[0] == "5" else self


class Timing(Struct, frozen=True, array_like=True):
    """Moments of one delivery, seconds since the epoch; 0 where it was never reached. They become `delays=a/b/c/d`."""

    handed: float
    """The deliverer got the job."""
    connected: float
    """The greeting and HELO were over."""
    done: float
