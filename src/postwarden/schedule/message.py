"""A message in the active queue, and its deliveries."""

from collections.abc import Callable
from typing import Protocol

from msgspec import Struct

from postwarden.ipc.records import Forward
from postwarden.mail.envelope import Recipient
from postwarden.mail.queue import Entry
from postwarden.mail.status import Status
from postwarden.schedule.scheduler import Destination


class Release(Protocol):
    def released(self, octets: int) -> None:
        """A body that came over a receiver's channel is no longer in memory."""


class Message(Struct, eq=False):
    """One round of a message: all its open recipients get an outcome, then it is removed or deferred.

    What is sent is settled as it comes. Failures wait for the end of the round, so that their report and they are
    settled in one transaction; a courier killed before that only tries them again.
    """

    entry: Entry
    active: float
    """When it entered the active queue, seconds since the epoch."""
    release: Release | None = None
    """Until the content is dropped: gives back the receiver's credit for the body, once."""
    pending: int = 0
    """Deliveries without an outcome."""
    queued: int = 0
    """Deliveries that have not begun."""
    sent: list[tuple[int, Status]] = []
    failed: list[tuple[int, Status]] = []
    deferred: list[tuple[int, Status]] = []
    expired: list[tuple[int, Status]] = []
    """At the end of the round: deferred once more, and now given up for their age."""
    forwards: list[tuple[int, Forward]] = []
    """(index of a sent recipient, what it became), not settled yet."""
    untold: dict[int, Status] = {}
    """Of this round: settled, and the sender is to hear of it when the round ends."""
    away: float = 0.0
    """At the end of the round: put it away until then, whatever became of its recipients; 0: as they demand."""
    warn: bool = False
    """At the end of the round: the sender is to be told that it is late."""
    sites: tuple[str, ...] = ()
    """At the end of the round: the domains of fast_flush_domains that it waits for."""
    deliveries: "list[Delivery]" = []
    """All of this round, to be found by operators."""
    then: tuple[Callable[[], None], ...] = ()
    """Called when it has left the courier's hands."""
    started: bool = False
    """It is known what is to be delivered."""
    flushed: bool = False
    """Somebody asked for this round."""
    gone: bool = False
    """It is no longer in the courier's hands; what is still being delivered is of no interest."""
    jumps: int = 0
    """How often the calendar had been set when the round began."""
    weight: int = 0
    """Recipients it had then."""
    probe: Callable[[], None] | None = None
    """It is no mail but asks whether an address is good, is nowhere but in memory, and this hears of its end."""

    def drop_content(self) -> None:
        """Every delivery has begun: give the memory back. Who needs the content again has it read."""
        if self.probe is not None:
            return
        self.entry.head = self.entry.body = None
        release, self.release = self.release, None
        if release is not None:
            release.released(self.entry.body_size)


class Delivery(Struct, eq=False):
    """Some recipients of one message that leave together."""

    message: Message
    transport: str
    nexthop: str
    indices: tuple[int, ...]
    recipients: tuple[Recipient, ...]
    destination: "Destination[Delivery] | None" = None
    deaths: int = 0
    """Workers that died with it in hand."""
    forwards: list[Forward] = []
    passes: int = 0
    """How often its recipient was handed on within the round."""
