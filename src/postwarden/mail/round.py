"""What became of a message's recipients in one round of deliveries, and the reports that this calls for."""

from collections.abc import Sequence
from enum import Enum

from msgspec import Struct

from postwarden.mail.status import Status

Outcomes = Sequence[tuple[int, Status]]
"""(index of the recipient in the envelope, what became of it)."""


class Round(Struct, frozen=True):
    """Each recipient that somebody may have to hear of is in one of these."""

    failed: Outcomes = ()
    """Refused for good."""
    expired: Outcomes = ()
    """Given up for the message's age; the status is that of the last try."""
    late: Outcomes = ()
    """Still open, and it is time to say so (delay_warning_time). Empty in every other round."""
    traced: Outcomes = ()
    """Of which the sender wants to hear whatever became of it: DSN SUCCESS, `sendmail -v` and `-bv`, and deliveries
    after a delay was told of (confirm_delay_cleared)."""
    first: bool = False
    """The sender has not yet been told which aliases his recipients became."""


class Kind(Enum):
    FAILURE = "failure"
    EXPIRY = "expiry"
    DELAY = "delay"
    SUCCESS = "success"
    VERIFY = "verify"


class Report(Struct, frozen=True):
    """A report that is to be made."""

    kind: Kind
    recipient: str
    outcomes: Outcomes
    """An index past the end of the recipients is that of an alias which was expanded."""
    log: str
    """What the log says of it, before its queue id."""
    sender: str = ""
    """Of the report. One to a sender has none, so that nobody reports about it."""
    postmaster: bool = False
    """A copy for postmasters, without the text for senders."""
    whole: bool = False
    """The message comes back with its body, if it is small enough."""


class Remark(Struct, frozen=True):
    """Why there is no report."""

    text: str
    warning: bool = False
