"""The courier's side of the spool."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from postwarden.ipc.records import Stored
from postwarden.mail.events import Event
from postwarden.spool.params import SpoolParams
from postwarden.spool.values import Change, Content, Entry, Key

if TYPE_CHECKING:
    from postwarden.net.clock import Clock


class Ledger:
    """What the courier knows of the queue. All calls and callbacks on the loop; none blocks longer than a page read."""

    def __init__(
        self,
        params: SpoolParams,
        clock: "Clock",
        post: Callable[..., object],
        on_event: Callable[[Event], None],
    ) -> None:
        """`post` is `loop.call_soon_threadsafe`. Nothing is opened before `recover`."""

    def recover(self) -> Iterator[Entry]:
        """Open the queue, then yield what lives in it, oldest first, read page by page as the iterator is driven.

        It is `due` in a loop: who is full stops early and calls `due` when there is room."""
        raise NotImplementedError

    def take(self, stored: Stored, instance: int = -1) -> Entry | None:
        """A receiver's message, now held by the courier. None: known already, or older ones of that segment come first
        and it will follow through `due`. `instance` is the receiver's, from its Link: a record that names
        another's segment raises SpoolError."""
        raise NotImplementedError

    def set_aside(self, stored: Stored, instance: int = -1) -> None:
        """The courier is full: the message waits on disk and comes with `due`. Costs no memory."""
        raise NotImplementedError

    def due(self, now: float, limit: int = 500) -> tuple[Entry, ...]:
        """Up to `limit` messages that nobody holds and whose time has come: set aside, found on disk, deferred until
        now. They are held from now on. Empty: nothing (more) is due."""
        raise NotImplementedError

    def next_due(self) -> float | None:
        """When the next put-away message is due; 0 if something waits already; None if nothing does."""
        raise NotImplementedError

    def flush(self) -> None:
        """Make `due` hand out all deferred messages once, whatever their time."""
        raise NotImplementedError

    def content(self, key: Key) -> Content:
        """Head and body of a held message. Raises Damaged."""
        raise NotImplementedError

    def settle(self, change: Change, done: Callable[[tuple[Entry, ...]], None]) -> None:
        """Make `change` durable with the next commit group, then call `done` with the entries of the spawned messages,
        which the courier then holds. The entry's fields change at once. A fault of the disk is reported, and tried
        again until it works or the process ends; `done` is never called for what is not durable."""
        raise NotImplementedError

    @property
    def failing(self) -> bool:
        """queue.db can't be written now: begin no deliveries, since each could be repeated after a crash."""
        raise NotImplementedError

    def new_queue_id(self) -> str:
        raise NotImplementedError

    def linked(self, instance: int) -> None:
        """A channel to this receiver stands: what it stored before (while no courier listened) comes with `due`."""
        raise NotImplementedError

    def sealed(self, segment: int) -> None:
        """A receiver's SegmentSealed."""
        raise NotImplementedError

    def orphan(self, instance: int) -> None:
        """A receiver ended: what it stored and never told comes with `due`."""
        raise NotImplementedError

    def sweep(self, now: float) -> None:
        """Call about every 5 s: moves what is alive a minute after sealing into queue.db, unlinks settled segments."""
        raise NotImplementedError

    def close(self) -> None:
        """Wait until all that was settled is durable, then close. Blocks."""
