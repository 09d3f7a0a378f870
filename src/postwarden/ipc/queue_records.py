"""The control socket of the queue: what its commands (postqueue, postsuper, postcat, queue) ask the courier, and what
it answers.

Frames are those of `ipc.channel`. One question at a time: the next may be asked when the answer is here. Who asks is
known by SO_PEERCRED. Nothing that is answered refers to memory of the courier: a cursor may be as old as it likes.
"""

import os

from msgspec import Struct

from postwarden.mail.queue import Cursor, Listed
from postwarden.mail.status import Status

PAGE = 500
"""Messages in one answer, and ids in one question."""

DELETE, HOLD, RELEASE, REQUEUE, EXPIRE, FORCE_EXPIRE = "delete", "hold", "release", "requeue", "expire", "force-expire"
OPERATIONS = (DELETE, HOLD, RELEASE, REQUEUE, EXPIRE, FORCE_EXPIRE)
"""What postsuper -d -h -H -r -e -f do with messages."""

QUEUES = ("incoming", "active", "deferred", "hold")


def socket_path(queue_directory: str) -> str:
    return os.path.join(queue_directory, "postwarden", "public", "queue")


# questions


class ListPage(Struct, frozen=True, array_like=True, tag=1):
    """The messages after `after` (None: from the first), answered by `Page`. For authorized_mailq_users."""

    after: Cursor | None = None
    limit: int = PAGE


class FlushAll(Struct, frozen=True, array_like=True, tag=2):
    """Try all deferred mail now; `Done`. For authorized_flush_users, as are the two below."""


class FlushSite(Struct, frozen=True, array_like=True, tag=3):
    """Try the deferred mail for this site now; `Done`, or `Refused` with UNSERVED or BAD."""

    site: str


class FlushMessage(Struct, frozen=True, array_like=True, tag=4):
    """Try this deferred message now; `Done`, also if there is none such, or `Refused` with BAD."""

    queue_id: str


class Act(Struct, frozen=True, array_like=True, tag=5):
    """Do `operation` (one of OPERATIONS) with messages; `Acted`. For root and mail_owner.

    `queue_ids`: these, at most PAGE of them; empty: all that are there at the first question of the connection with
    `after` None, some at a time, `after` is the last answer's. `queues`: only those that are in these; empty: any.
    """

    operation: str
    queue_ids: tuple[str, ...] = ()
    queues: tuple[str, ...] = ()
    after: Cursor | None = None


class Fetch(Struct, frozen=True, array_like=True, tag=6):
    """Envelope and content of a message; `Fetched` with two descriptors, or `Refused` with ABSENT. For root and
    mail_owner."""

    queue_id: str


class AskFigures(Struct, frozen=True, array_like=True, tag=7):
    """What the courier does now and what it waits for; `Figures`. For authorized_mailq_users."""


RecordPlace = tuple[str, int]
"""Where the next record of the store of decisions is; a courier that was asked says it, and takes it back."""


class AskHistory(Struct, frozen=True, array_like=True, tag=8):
    """What was decided about the message with this queue id or message id, or about the refusal with this reference;
    `Records`. For authorized_mailq_users. `after`: the last answer's; None: from the beginning."""

    name: str
    after: RecordPlace | None = None


class AskRefused(Struct, frozen=True, array_like=True, tag=9):
    """Who was refused; `Records`. For authorized_mailq_users. Empty: whoever it was. `since`: epoch seconds."""

    client: str = ""
    sender: str = ""
    recipient: str = ""
    since: float = 0.0
    after: RecordPlace | None = None


Question = ListPage | FlushAll | FlushSite | FlushMessage | Act | Fetch | AskFigures | AskHistory | AskRefused

# answers


class Page(Struct, frozen=True, array_like=True, tag=1):
    messages: tuple[Listed, ...]
    after: Cursor | None
    """Where the next page begins; None: this was the last."""


class Done(Struct, frozen=True, array_like=True, tag=2):
    """It was accepted."""


class Acted(Struct, frozen=True, array_like=True, tag=3):
    """Durable by now. Messages that were asked for by id and are not here do not exist, or not in those queues."""

    queue_ids: tuple[str, ...]
    """Of the messages that it was done with, in the order of doing."""
    after: Cursor | None = None
    """There may be more: ask again with this. None: that was all."""


class Fetched(Struct, frozen=True, array_like=True, tag=4):
    """Its descriptors: head (whole file), body (`body_size` bytes from `body_offset`), both open for reading."""

    listed: Listed
    body_offset: int
    body_size: int


class DestinationFigures(Struct, frozen=True, array_like=True):
    transport: str
    nexthop: str
    """With the mailbox before it where a transport takes one recipient at a time."""
    waiting: int
    """Deliveries that have not begun."""
    delivering: int
    window: int
    """Deliveries at a time that it may have now; 0 while it is suspended."""
    suspended_until: float = 0.0
    """Epoch seconds; 0: it is not suspended."""
    resting_until: float = 0.0
    """Epoch seconds: until its rate delay is over; 0: it has none to wait for."""
    reason: Status | None = None
    """Why it is suspended."""


class Figures(Struct, frozen=True, array_like=True, tag=5):
    now: float
    active: int
    """Messages in the courier's hands."""
    waiting: int
    """Deliveries that have not begun."""
    delivering: int
    next_run: float
    """Epoch seconds of the next queue run: what is due is looked for then."""
    destinations: tuple[DestinationFigures, ...]
    """Those that have something to do or are suspended."""


class Records(Struct, frozen=True, array_like=True, tag=7):
    """Of the store of decisions, as they are written there (`trace.records`)."""

    records: tuple[bytes, ...]
    after: RecordPlace | None
    """There is more: ask again with this. None: that was all."""


DENIED, UNSERVED, BAD, ABSENT = "denied", "unserved", "bad", "absent"


class Refused(Struct, frozen=True, array_like=True, tag=6):
    why: str
    """DENIED (not for this user), UNSERVED (a site that fast_flush_domains does not have), BAD (no site or queue id),
    ABSENT (there is no such message)."""
    text: str


Answer = Page | Done | Acted | Fetched | Figures | Records | Refused
