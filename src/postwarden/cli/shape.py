"""What is in the queue, counted: by destination, sender, reason or queue, each by age as qshape(1) does it.

One pass over the listing, in memory that does not grow with it.
"""

import heapq
import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from msgspec import Struct, field

from postwarden.cli.listing import Message
from postwarden.mail.address import domain_of, external
from postwarden.mail.events import printable
from postwarden.mail.queue import HOLD

AGES = tuple(5 * 2**n for n in range(9))
"""Minutes: the upper ends of all buckets but the last."""
BUCKETS = (*[str(minutes) for minutes in AGES], f"{AGES[-1]}+")
NOBODY = "MAILER-DAEMON"
UNTRIED = "not tried yet"
OTHERS = "(others)"
KEYS = 50_000
"""Groups of one count: a peer that writes its own words into each reply must not fill our memory."""
_LIMITS = tuple(minutes * 60 for minutes in AGES)
_SUSPENDED = re.compile(r"(?:delivery temporarily suspended: )+")
_ADDRESS = re.compile(r"<[^<>@\s]*@[^<>\s]*>")


class Group(Struct):
    """What has one key in common. `count` is of recipients where they make the key, else of messages."""

    key: str
    count: int = 0
    ages: list[int] = field(default_factory=lambda: [0] * len(BUCKETS))
    size: int = 0
    """Bytes of the messages that have it; one message may be in several groups."""
    oldest: float = 0.0
    """Its arrival, epoch seconds."""
    next: float = 0.0
    """The earliest next attempt, epoch seconds; 0: none waits for its time."""
    attempts: int = 0
    """Of the message with that next attempt."""
    reason: str = ""
    """Why that one waits."""


Keys = Callable[[Message], Mapping[str, int]]
"""The groups that a message is in, and how often it counts in each."""


def by_destination(message: Message) -> Mapping[str, int]:
    recipients = message.envelope.recipients
    if len(message.state.open) == 1:
        return {_domain(recipients[message.state.open[0]].address): 1}
    return Counter(_domain(recipients[index].address) for index in message.state.open)


def by_sender(message: Message) -> Mapping[str, int]:
    sender = message.envelope.sender
    return {_domain(sender) if sender else NOBODY: 1}


def by_reason(message: Message) -> Mapping[str, int]:
    return Counter(reason_of(message, index) for index in message.state.open)


def by_queue(message: Message) -> Mapping[str, int]:
    return {message.queue: 1}


def by_next(message: Message) -> Mapping[str, int]:
    """Destinations that wait for their time."""
    return by_destination(message) if message.queue == "deferred" else {}


KEYS_OF: dict[str, Keys] = {
    "destination": by_destination, "sender": by_sender, "reason": by_reason, "age": by_queue, "next": by_next,
}  # fmt: skip


def reason_of(message: Message, index: int) -> str:
    """Why recipient `index` waits, without what differs from one recipient to the next."""
    status = message.state.reasons.get(index)
    if status is None:
        return UNTRIED
    return _ADDRESS.sub("<...>", _SUSPENDED.sub("", printable(status.text), count=1))


class Count:
    """Groups of one kind."""

    def __init__(self, keys: Keys, now: float) -> None:
        self._keys = keys
        self._now = now
        self.groups: dict[str, Group] = {}
        self.total = Group("TOTAL")

    def add(self, message: Message) -> None:
        envelope = message.envelope
        bucket = bisect_right(_LIMITS, self._now - envelope.arrival)
        keys = self._keys(message)
        for key, count in keys.items():
            _count(self._group(key), message, count, bucket)
        _count(self.total, message, sum(keys.values()), bucket)

    def _group(self, key: str) -> Group:
        group = self.groups.get(key)
        if group is None:
            if len(self.groups) >= KEYS:
                key = OTHERS
            group = self.groups.setdefault(key, Group(key))
        return group

    def largest(self, limit: int) -> list[Group]:
        """0: all of them."""
        groups = self.groups.values()
        return heapq.nsmallest(limit or len(groups), groups, key=lambda group: (-group.count, group.key))

    def soonest(self, limit: int) -> list[Group]:
        """By the next attempt."""
        groups = self.groups.values()
        return heapq.nsmallest(limit or len(groups), groups, key=lambda group: (group.next, group.key))


def _count(group: Group, message: Message, count: int, bucket: int) -> None:
    envelope, state = message.envelope, message.state
    group.count += count
    group.ages[bucket] += count
    group.size += envelope.size
    if not group.oldest or envelope.arrival < group.oldest:
        group.oldest = envelope.arrival
    if message.queue == "deferred" and 0 < message.due < HOLD and (not group.next or message.due < group.next):
        group.next = message.due
        group.attempts = state.attempts
        group.reason = _reason(message, group.key)


def _reason(message: Message, domain: str) -> str:
    """Why a recipient there waits; where it is no destination, why any of them does."""
    reasons, recipients = message.state.reasons, message.envelope.recipients
    known = [index for index in message.state.open if index in reasons]
    there = [index for index in known if _domain(recipients[index].address) == domain]
    return printable(reasons[(there or known)[0]].text) if known else ""


class Summary(Struct):
    """The queue in numbers."""

    messages: int = 0
    recipients: int = 0
    size: int = 0
    queues: dict[str, int] = field(default_factory=dict)
    oldest: float = 0.0

    def add(self, message: Message) -> None:
        self.messages += 1
        self.recipients += len(message.state.open)
        self.size += message.envelope.size
        self.queues[message.queue] = self.queues.get(message.queue, 0) + 1
        if not self.oldest or message.envelope.arrival < self.oldest:
            self.oldest = message.envelope.arrival


class Oldest:
    """The messages that came first; `limit` 0: as many as there may be groups."""

    def __init__(self, limit: int) -> None:
        self._limit = limit or KEYS
        self._heap: list[tuple[float, int, Message]] = []
        self._number = 0

    def add(self, message: Message) -> None:
        self._number += 1
        item = (-message.envelope.arrival, -self._number, message)
        if len(self._heap) < self._limit:
            heapq.heappush(self._heap, item)
        elif item > self._heap[0]:
            heapq.heapreplace(self._heap, item)

    def messages(self) -> list[Message]:
        return [message for _, _, message in sorted(self._heap, key=lambda item: item[:2], reverse=True)]


def addresses(message: Message, indices: Iterable[int]) -> list[str]:
    return [printable(external(message.envelope.recipients[index].address)) for index in indices]


def _domain(address: str) -> str:
    return printable(domain_of(address)) or "(no domain)"
