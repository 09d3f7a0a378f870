"""One recipient of a job, from its first look-up to its outcome."""

from collections.abc import Callable
from typing import Protocol

from msgspec.structs import replace

from postwarden.deliver.local.letter import Letter
from postwarden.ipc.records import Forward, Job
from postwarden.mail.envelope import Notify, Recipient
from postwarden.mail.events import Delivered, Event
from postwarden.mail.remade import Remaking
from postwarden.mail.status import Part, Status


class Place(Protocol):
    @property
    def address(self) -> str: ...
    @property
    def sender(self) -> str: ...
    @property
    def released(self) -> bool:
        """A list with an owner stands between: what the sender asked to be told of ends there (RFC 3461 5.2.7.3)."""


_ALWAYS = frozenset(("include", "forward file", "forward done"))
"""Remembered beyond duplicate_filter_limit: a user's lists that name each other twice would double with each level."""


class Delivery:
    """Collects what became of all that one recipient expands to.

    The job's recipient has one status. Where some of an expansion was delivered and another address of it failed, that
    address is handed back to the courier: it is then tried, and reported, as a recipient of its own, and what was
    delivered is not delivered again.
    """

    def __init__(
        self,
        job: Job,
        index: int,
        letter: Letter,
        now: Callable[[], float],
        handed: float,
        *,
        soft_bounce: bool = False,
        remembered: int = 0,
        status_filter: Callable[[Status], Status] | None = None,
        remaking: Remaking | None = None,
    ) -> None:
        """`remembered`: duplicate_filter_limit; 0: no limit. `remaking` hears of each expansion."""
        self.remaking = remaking or Remaking()
        self.job = job
        self.index = index
        self.recipient: Recipient = job.recipients[index]
        self.letter = letter
        self._now = now
        self._handed = handed
        self._soft_bounce = soft_bounce
        self._filter = status_filter
        self._remembered = remembered
        self._seen: set[tuple[str, str, str]] = set()
        self._notes: list[tuple[Place, Status, float]] = []
        self._forwards: list[Place] = []
        self._given: list[tuple[Place, str, str]] = []
        """(who, transport, next hop)"""
        self._expanded: Status | None = None

    def expand(self, *, released: bool) -> None:
        """The recipient is an alias, or has a .forward file: whoever wants to hear of success hears that, and no more.
        `released`: a list with an owner counts as the place of delivery (RFC 3461 5.2.7.3)."""
        if self._expanded is None and self.recipient.notify & Notify.SUCCESS:
            report = "" if released else "expanded"
            self._expanded = Status("2.0.0", "alias expanded", self.job.transport, report=report)

    def first(self, what: str, who: str, where: str) -> bool:
        """False when this was delivered to, or expanded, before."""
        key = (what, who, where.lower())
        if key in self._seen:
            return False
        if what in _ALWAYS or not self._remembered or len(self._seen) < self._remembered:
            self._seen.add(key)
        return True

    def has_seen(self, what: str, who: str, where: str) -> bool:
        """What `first` has noted."""
        return (what, who, where.lower()) in self._seen

    def note(self, place: Place, status: Status) -> None:
        if self._filter is not None:
            status = self._filter(status)
        if self._soft_bounce and not self.job.probe:
            status = status.softened()
        if self.job.trace == "verify":
            status = status.foretold()
        self._notes.append((place, replace(status, relay=self.job.transport), self._now()))

    def forward(self, place: Place) -> None:
        if not self.first("forward", place.sender, place.address):
            return
        if self.job.trace == "verify":
            self.note(place, Status("2.0.0", f"forwards to {place.address}"))
        else:
            self._forwards.append(place)

    def give(self, place: Place, transport: str, nexthop: str) -> None:
        """Somebody else delivers to this recipient (mailbox_transport, fallback_transport)."""
        if not self.first("transport", transport, place.address):
            return
        if self.job.trace == "verify" and place.address != self.recipient.address:
            self.note(place, Status("2.0.0", f"delivers by {transport}"))
        else:
            self._given.append((place, transport, nexthop))

    def finish(self) -> tuple[Status, list[Forward], list[Event]]:
        """The recipient's status, its forwards if it is final, and what is to be logged."""
        if self._only_given():
            _, transport, nexthop = self._given[0]
            whole = Forward(self.job.job_id, self.index, "", (), transport, nexthop)
            return Status("2.0.0", f"given to {transport}", self.job.transport), [whole], []
        failed = [note for note in self._notes if note[1].code[0] != "2" and not note[1].verified]
        if failed and (self._forwards or self._given or len(failed) < len(self._notes)):
            own = self.recipient.address.lower()
            back = [note for note in failed if note[0].address.lower() != own]
            self._forwards += [note[0] for note in back]
            self._notes = [note for note in self._notes if note not in back]
        status = self._status()
        if self.job.trace:
            status = replace(status, parts=tuple([self._part(*note) for note in self._notes]))
        forwards = self._records() if status.code[0] != "4" else []
        return status, forwards, [self._event(*note) for note in self._notes]

    def _status(self) -> Status:
        for kind in "45" if self._expanded else "452":
            for _, status, _ in self._notes:
                if status.code[0] == kind:
                    return status
        return self._expanded or Status(
            "2.0.0", "forwarded" if self._forwards or self._given else "alias expanded", self.job.transport
        )

    def _only_given(self) -> bool:
        """The recipient was not expanded: the same message goes on by another transport."""
        if len(self._given) != 1 or self._notes or self._forwards or self._expanded:
            return False
        place = self._given[0][0]
        return (place.address, place.sender) == (self.recipient.address, self.job.sender)

    def _records(self) -> list[Forward]:
        groups: dict[tuple[str, str, str], list[Recipient]] = {}
        given = self.recipient
        notify = given.notify
        if notify & Notify.SUCCESS:
            notify = int(notify & ~Notify.SUCCESS or Notify.NEVER)
        for place, transport, nexthop in (*[(place, "", "") for place in self._forwards], *self._given):
            recipient = Recipient(place.address, notify=notify)
            if not place.released:
                recipient = Recipient(place.address, given.original or given.address, given.orcpt, notify)
            groups.setdefault((place.sender, transport, nexthop), []).append(recipient)
        job_id, index = self.job.job_id, self.index
        by = self.job.transport
        return [
            Forward(job_id, index, sender, tuple(to), transport, nexthop, by)
            for (sender, transport, nexthop), to in groups.items()
        ]

    def _part(self, place: Place, status: Status, done: float) -> Part:
        return Part(place.address, self._original(place), status.code, status.text)

    def _original(self, place: Place) -> str:
        """What the recipient was called before he was this, for whom it concerns."""
        original = self.recipient.original or self.recipient.address
        return "" if place.released or original.lower() == place.address.lower() else original

    def _event(self, place: Place, status: Status, done: float) -> Delivered:
        address = place.address
        job = self.job
        delays = (
            max(job.active - job.arrival, 0.0),
            max(self._handed - job.active, 0.0),
            0.0,
            max(done - self._handed, 0.0),
        )
        return Delivered(job.queue_id, address, self._original(place), status, delays)
