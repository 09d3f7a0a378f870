"""What the courier and the spool say to each other about queued messages."""

from collections.abc import Iterable, Iterator

import msgspec
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
    expired: bool = False
    """An operator wants it returned: it is as if its lifetime were over."""
    body_crc: int = 0
    """CRC-32 of the file of the body; 0: not known."""
    untold: dict[int, Status] = {}
    """Recipients that are closed, of which the sender is to hear when the round ends."""
    told: bool = False
    """He has heard of aliases, and of the outcomes of the first round (`Envelope.trace`)."""


class NewMessage(Struct, frozen=True):
    """A message made by the courier: a report, a forward. Its body is `body`, or that of the message `body_of`."""

    envelope: Envelope
    head: bytes
    body: bytes = b""
    body_of: Key | None = None
    due: float = 0.0
    """0: the courier takes it up at once. Else it is put away until then, or on `HOLD`."""
    attempts: int = 0
    reasons: dict[int, Status] = {}
    """As in `Entry`: what is known of the message's life in another queue."""
    warned: bool = False
    untold: dict[int, Status] = {}
    """As in `Entry`: of recipients that were closed there."""

    @property
    def open(self) -> tuple[int, ...]:
        """As in `Entry`."""
        everyone = range(len(self.envelope.recipients))
        return tuple([n for n in everyone if n not in self.untold]) if self.untold else tuple(everyone)


class Change(Struct, frozen=True):
    """One transaction about one message: all of it is durable, or none.

    `finals` close recipients. `deferred` notes why others are still open. `due` > 0 puts the message away until then
    (it leaves the courier's memory and comes back with `Ledger.due`; `HOLD`: when it is released); 0 keeps it in the
    courier's hands. `spawned` are stored with it. `warned`: the sender has now been told that it is late. `sites`: the
    domains under which what is put away can be asked for (fast flush); they replace those of the last time. `expired`:
    an operator wants it returned. Putting away counts as an attempt only with `deferred`. `untold` are finals of which
    the sender is yet to hear; `told`: he has now heard of all of them. `held`: it stays in the courier's hands, and
    is on hold should the courier die.
    """

    key: Key
    finals: tuple[tuple[int, Status], ...] = ()
    deferred: tuple[tuple[int, Status], ...] = ()
    due: float = 0.0
    spawned: tuple[NewMessage, ...] = ()
    warned: bool = False
    sites: tuple[str, ...] = ()
    expired: bool = False
    untold: tuple[tuple[int, Status], ...] = ()
    told: bool = False
    held: bool = False


class Content(Struct, frozen=True):
    """Head and body of a message. `body` is None when the body has a file of its own: then `fd` is open for reading
    (the caller closes it) and the body is its `size` bytes from `offset`."""

    head: bytes
    body: bytes | None
    fd: int = -1
    offset: int = 0
    size: int = 0
    crc: int = 0
    """CRC-32 of what `fd` gives; 0: not known."""


class State(Struct, frozen=True, array_like=True):
    """What changes in a message while it waits."""

    open: tuple[int, ...]
    """As in `Entry`, like all of it."""
    attempts: int = 0
    reasons: dict[int, Status] = {}
    warned: bool = False
    expired: bool = False
    untold: dict[int, Status] = {}
    told: bool = False


Cursor = tuple[int, int, int, int]
"""How far a listing has come. For `Ledger.page` only; it may be sent to another process and back."""


class Listed(Struct, frozen=True, array_like=True):
    """A message that is stored, as a listing shows it. Envelope and state stay encoded until somebody asks, which is
    another process than the courier: a million of them must cost it little."""

    key: Key
    queue_id: str
    due: float
    """As in `Entry`: 0: was never put away; HOLD."""
    held: bool
    """It is in the courier's hands now."""
    raw_envelope: bytes
    raw_state: bytes
    """Empty: damaged, so that all recipients count as open."""

    def envelope(self) -> Envelope:
        """Decoded anew each time. Raises msgspec.MsgspecError."""
        return _envelope(self.raw_envelope)

    def state(self) -> State:
        """Decoded anew each time. Raises msgspec.MsgspecError."""
        if not self.raw_state:
            return State(tuple(range(len(self.envelope().recipients))))
        return _state(self.raw_state)

    def queue(self, state: State) -> str:
        """In which of Postfix's queues it would be."""
        if self.due >= HOLD:
            return "hold"
        if self.held:
            return "active"
        return "deferred" if self.due and state.attempts else "incoming"


_envelope = msgspec.msgpack.Decoder(Envelope).decode
_state = msgspec.msgpack.Decoder(State).decode


def once(listing: Iterable[Listed]) -> Iterator[Listed]:
    """A listing without those that were met a second time since they moved meanwhile. Remembers the queue ids that are
    in segments: mail of the last minute."""
    seen: set[str] = set()
    for listed in listing:
        if listed.key[0]:
            seen.add(listed.queue_id)
        elif listed.queue_id in seen:
            continue
        yield listed


class SpoolError(Exception):
    """The spool was asked for what can't be: a record that names another receiver's segment, a key nobody holds."""


class Damaged(Exception):
    """The bytes of a message can't be read back as they were written. The text names the message and the place."""
