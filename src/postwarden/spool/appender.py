"""The receiver's side of the spool."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from postwarden.ipc.records import SegmentSealed, Stored
from postwarden.mail.envelope import Envelope
from postwarden.mail.events import Event
from postwarden.mail.reply import Reply
from postwarden.spool.params import SpoolParams

if TYPE_CHECKING:
    from postwarden.net.clock import Clock


class Draft:
    """A message that is being received: its body, as it comes."""

    on_drained: Callable[[], None] | None = None
    """Called once each time `congested` ends."""

    @property
    def congested(self) -> bool:
        """More bytes wait for the disk than they should: write no more until `on_drained`."""
        raise NotImplementedError

    def write(self, data: bytes) -> None:
        """Body bytes (CRLF line ends, no dot-stuffing, without the head)."""
        raise NotImplementedError

    def commit(self, envelope: Envelope, head: bytes, done: Callable[[Reply | None], None]) -> None:
        """Make it durable, then call `done(None)`, or `done(fault)` if it can't be; always later, from the loop.
        Until then nothing may be answered. The draft is used up."""
        raise NotImplementedError

    def abandon(self) -> None:
        """The message is not wanted. Without effect after commit or abandon."""
        raise NotImplementedError


class Appender:
    """One receiver's spool."""

    on_stored: Callable[[Stored], None] | None = None
    """Called on the loop for each durable message, just before its `done`."""
    on_sealed: Callable[[SegmentSealed], None] | None = None

    def __init__(
        self,
        params: SpoolParams,
        instance: int,
        clock: "Clock",
        post: Callable[..., object],
        on_event: Callable[[Event], None],
    ) -> None:
        """`post` is `loop.call_soon_threadsafe`; makes the receiver's directory (before the sandbox closes)."""

    def new_queue_id(self) -> str:
        raise NotImplementedError

    def room(self, size: int) -> Reply | None:
        """None if a message of `size` bytes (0: not known) may come in; else 452 4.3.1."""
        raise NotImplementedError

    def draft(self) -> Draft:
        raise NotImplementedError

    def close(self) -> None:
        """Finish what was committed, seal the segment, end the threads. Blocks; `done`s are posted."""
        raise NotImplementedError
