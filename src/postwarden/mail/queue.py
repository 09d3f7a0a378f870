"""What the courier and the spool say to each other about queued messages."""

from msgspec import Struct

from postwarden.mail.envelope import Envelope
from postwarden.mail.status import Status

HOLD = 1e15
"""A due time, later than any: the message waits until somebody releases it."""

Key = tuple[int, int]
"""Where a message lives: (segment, offset) or (0, row of queue.db). It changes when a message moves, so take it from
the entry each time, never keep it."""


class Entry(Struct, eq=False):
    """A message that the courier holds. The ledger made it and alone changes it."""

    key: Key
    envelope: Envelope
    open: tuple[int, ...]
    """Indices into `envelope.recipients` without a final outcome."""
    head_size: int
    body_size: int
    attempts: int = 0
    """How often it was put away until later."""
    due: float = 0.0
    """Epoch seconds of the next attempt when it was last put away; 0: never was."""
    reasons: dict[int, Status] = {}
    """Why a recipient that is still open was deferred last."""
    head: bytes | None = None
    body: bytes | None = None
    """Kept from the receiver's channel; set to None to give the memory back, `Ledger.content` reads it again."""
    body_file: str = ""
    content: int = 0
    """Row of the body in queue.db; 0 while the message lives in a segment."""
    warned: bool = False
    """The sender has been told that it is late."""


class NewMessage(Struct, frozen=True):
    """A message made by the courier: a report, a forward. Its body is `body`, or that of the message `body_of`."""

    envelope: Envelope
    head: bytes
    body: bytes = b""
    body_of: Key | None = None
    due: float = 0.0
    """0: the courier takes it up at once. Else it is put away until then, or on `HOLD`."""


class Change(Struct, frozen=True):
    """One transaction about one message: all of it is durable, or none.

    `finals` close recipients. `deferred` notes why others are still open. `due` > 0 puts the message away until then
    (it leaves the courier's memory and comes back with `Ledger.due`; `HOLD`: when it is released); 0 keeps it in the
    courier's hands. `spawned` are stored with it. `warned`: the sender has now been told that it is late. `sites`: the
    domains under which what is put away can be asked for (fast flush).
    """

    key: Key
    finals: tuple[tuple[int, Status], ...] = ()
    deferred: tuple[tuple[int, Status], ...] = ()
    due: float = 0.0
    spawned: tuple[NewMessage, ...] = ()
    warned: bool = False
    sites: tuple[str, ...] = ()


class Content(Struct, frozen=True):
    """Head and body of a message. `body` is None when the body has a file of its own: then `fd` is open for reading
    (the caller closes it) and the body is its `size` bytes from `offset`."""

    head: bytes
    body: bytes | None
    fd: int = -1
    offset: int = 0
    size: int = 0


class SpoolError(Exception):
    """The spool was asked for what can't be: a record that names another receiver's segment, a key nobody holds."""


class Damaged(Exception):
    """The bytes of a message can't be read back as they were written. The text names the message and the place."""
