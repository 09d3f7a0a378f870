"""What the courier and the spool say to each other about queued messages."""

from msgspec import Struct

from postwarden.mail.envelope import Envelope
from postwarden.mail.status import Status

Key = tuple[int, int]
"""Where a message lives: (segment, offset), or (0, row) in queue.db. A key stays good when its message moves."""


class Entry(Struct, frozen=True):
    """A message that is not wholly settled."""

    key: Key
    envelope: Envelope
    open: tuple[int, ...]
    """Indices of the recipients without a final outcome."""
    head_size: int = 0
    body_size: int = 0
    attempts: int = 0
    due: float = 0.0
    """Not to be tried before, seconds since the epoch; 0: now."""
    reasons: tuple[tuple[int, Status], ...] = ()
    """The last outcome of each open recipient that was tried."""


class Content(Struct, frozen=True):
    """Head and body of a message. A large body is None, and `fd` is a new descriptor of its own file for reading: the
    caller's to close. A descriptor never shows another message."""

    head: bytes
    body: bytes | None
    fd: int = -1
    offset: int = 0
    size: int = 0


class NewMessage(Struct, frozen=True):
    """A message made inside: a report, or one recipient of a running job that became others (forward)."""

    envelope: Envelope
    head: bytes
    body: bytes | None
    body_of: Key | None = None
    """The message whose body this one shares, when `body` is None."""


class Change(Struct, frozen=True):
    """One transaction: outcomes of recipients, by index, and the messages that they cause."""

    key: Key
    finals: tuple[tuple[int, Status], ...] = ()
    deferred: tuple[tuple[int, Status], ...] = ()
    due: float = 0.0
    """When the deferred recipients are to be tried again, seconds since the epoch."""
    spawned: tuple[NewMessage, ...] = ()
