"""A message in the active queue, and its deliveries."""

from collections.abc import Callable
from typing import Protocol

from postwarden.ipc.records import Forward
from postwarden.mail.envelope import Recipient
from postwarden.mail.queue import Entry
from postwarden.mail.status import Status
from postwarden.schedule.scheduler import Destination


class Release(Protocol):
    def released(self, octets: int) -> None:
        """A body that came over a receiver's channel is no longer in memory."""


class Message:
    """One round of a message: all its open recipients get an outcome, then it is removed or deferred.

    What is sent is settled as it comes. Failures wait for the end of the round, so that their report and they are
    settled in one transaction; a courier killed before that only tries them again.
    """

    __slots__ = (
        "active", "away", "deferred", "deliveries", "entry", "expired", "failed", "flushed", "forwards", "gone",
        "jumps", "pending", "queued", "release", "sent", "sites", "started", "then", "untold", "warn", "weight",
    )  # fmt: skip

    def __init__(self, entry: Entry, active: float) -> None:
        self.entry = entry
        self.active = active
        """When it entered the active queue, seconds since the epoch."""
        self.release: Release | None = None
        """Until the content is dropped: gives back the receiver's credit for the body, once."""
        self.pending = 0
        """Deliveries without an outcome."""
        self.queued = 0
        """Deliveries that have not begun."""
        self.sent: list[tuple[int, Status]] = []
        self.failed: list[tuple[int, Status]] = []
        self.deferred: list[tuple[int, Status]] = []
        self.expired: list[tuple[int, Status]] = []
        """At the end of the round: deferred once more, and now given up for their age."""
        self.forwards: list[tuple[int, Forward]] = []
        """(index of a sent recipient, what it became), not settled yet."""
        self.untold: dict[int, Status] = {}
        """Of this round: settled, and the sender is to hear of it when the round ends."""
        self.away = 0.0
        """At the end of the round: put it away until then, whatever became of its recipients; 0: as they demand."""
        self.warn = False
        """At the end of the round: the sender is to be told that it is late."""
        self.sites: tuple[str, ...] = ()
        """At the end of the round: the domains of fast_flush_domains that it waits for."""
        self.deliveries: list[Delivery] = []
        """All of this round, to be found by operators."""
        self.then: tuple[Callable[[], None], ...] = ()
        """Called when it has left the courier's hands."""
        self.started = False
        """It is known what is to be delivered."""
        self.flushed = False
        """Somebody asked for this round."""
        self.gone = False
        """It is no longer in the courier's hands; what is still being delivered is of no interest."""
        self.jumps = 0
        """How often the calendar had been set when the round began."""
        self.weight = 0
        """Recipients it had then."""

    def drop_content(self) -> None:
        """Every delivery has begun: give the memory back. Who needs the content again has it read."""
        self.entry.head = self.entry.body = None
        release, self.release = self.release, None
        if release is not None:
            release.released(self.entry.body_size)


class Delivery:
    """Some recipients of one message that leave together."""

    __slots__ = (
        "deaths", "destination", "forwards", "indices", "message", "nexthop", "recipients", "transport",
    )  # fmt: skip

    def __init__(
        self, message: Message, route: tuple[str, str], indices: tuple[int, ...], recipients: tuple[Recipient, ...]
    ) -> None:
        self.message = message
        self.transport, self.nexthop = route
        self.indices = indices
        self.recipients = recipients
        self.destination: Destination[Delivery] | None = None
        self.deaths = 0
        """Workers that died with it in hand."""
        self.forwards: list[Forward] = []
