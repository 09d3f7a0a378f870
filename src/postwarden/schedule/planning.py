"""Which recipients of a message leave together, by which transport, to where."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import cast

from msgspec import Struct
from msgspec.structs import replace

from postwarden.mail.decision import Missing
from postwarden.mail.envelope import Envelope, Recipient
from postwarden.mail.queue import Entry
from postwarden.mail.remade import Remade, Remaking
from postwarden.mail.status import Status
from postwarden.schedule.ports import Resolver
from postwarden.schedule.scheduler import TransportLimits

RESOLVER_FAILURE = Status("4.3.0", "address resolver failure")
UNAVAILABLE = Status("4.3.0", "mail transport unavailable")
DISCARDED = Status("2.0.0", "undeliverable postmaster notification discarded")
DEFERRED_TRANSPORT = Status("4.3.2", "deferred transport")


_Route = tuple[TransportLimits, str, Recipient]


class Group(Struct):
    """One delivery to be. `key` names its destination in the scheduler."""

    limits: TransportLimits
    nexthop: str
    key: str
    indices: tuple[int, ...]
    recipients: tuple[Recipient, ...]


class Plan(Struct):
    groups: list[Group]
    refused: list[tuple[int, Status]]
    """Recipients for which there is no delivery, and why."""
    remade: tuple[Remade, ...] = ()
    """Transports and next hops that a table chose."""


class Planner:
    """`limits` gives a transport's, None for one that master.cf does not have."""

    def __init__(
        self,
        resolver: Resolver,
        limits: Callable[[str], TransportLimits | None],
        *,
        faults: tuple[type[Exception], ...],
        delimiter: str = "",
        deferred_transports: Sequence[str] = (),
        filter_nexthop: str = "",
        end_of_line: Callable[[str], bool] = lambda address: False,
    ) -> None:
        """`end_of_line` tells the address to which nothing is delivered, lest postmasters' notices go round for ever;
        only mailboxes of this machine are asked for. `filter_nexthop`: where a content filter is that was named
        without a next hop; empty: at the recipient's domain."""
        self._resolve = resolver.resolve
        self._limits = limits
        self._faults = faults
        self._delimiter = delimiter
        self._deferred = frozenset(deferred_transports)
        self._filter_nexthop = filter_nexthop
        self._end_of_line = end_of_line
        self._remaking = Remaking()

    def plan(self, entry: Entry, *, flushed: bool = False) -> Plan:
        """`flushed`: somebody asked for this attempt, so transports that are put off (defer_transports) are used.
        Raises Pending where the resolver does."""
        recipients = entry.envelope.recipients
        taken = self._remaking.taken
        taken()  # of a time before, when a fact was missing
        if len(entry.open) == 1:
            index = entry.open[0]
            found = self._route(recipients[index], entry.envelope, flushed)
            if isinstance(found, Status):
                return Plan([], [(index, found)], taken())
            limits, nexthop, recipient = found
            key = self._key(limits, nexthop, recipient.address)
            return Plan([Group(limits, nexthop, key, (index,), (recipient,))], [], taken())
        plan = self._plan_many(entry, recipients, flushed)
        plan.remade = taken()
        return plan

    def _plan_many(self, entry: Entry, recipients: Sequence[Recipient], flushed: bool) -> Plan:
        plan = Plan([], [])
        verp = bool(entry.envelope.verp and entry.envelope.sender)
        routes: dict[tuple[str, str], tuple[TransportLimits, str, list[tuple[int, Recipient]]]] = {}
        missing, unknown = Missing(), cast(_Route | Status, UNAVAILABLE)
        for index in entry.open:
            found = missing.answer(partial(self._route, recipients[index], entry.envelope, flushed), unknown)
            if isinstance(found, Status):
                plan.refused.append((index, found))
                continue
            limits, nexthop, recipient = found
            key = self._key(limits, nexthop, recipient.address)
            routes.setdefault((limits.name, key), (limits, nexthop, []))[2].append((index, recipient))
        missing.check()
        for (_, key), (limits, nexthop, chosen) in routes.items():
            size = 1 if verp else limits.recipients or len(chosen)
            for at in range(0, len(chosen), size):
                indices, group = zip(*chosen[at : at + size], strict=True)
                plan.groups.append(Group(limits, nexthop, key, indices, group))
        return plan

    def _route(self, recipient: Recipient, envelope: Envelope, flushed: bool) -> _Route | Status:
        if envelope.filter:
            return self._filtered(recipient, envelope.filter, flushed)
        try:
            resolved = self._resolve(recipient.address, envelope.sender)
            if resolved.table:
                way = f"{resolved.transport}:{resolved.nexthop}"
                self._remaking.note(resolved.table, recipient.address, (way,), resolved.rule)
            limits = self._limits(resolved.transport)
            if limits is None:
                return UNAVAILABLE
            if limits.pool == "agent" and self._end_of_line(resolved.recipient):
                return DISCARDED
        except self._faults:
            return RESOLVER_FAILURE
        if resolved.transport in self._deferred and not flushed:
            return DEFERRED_TRANSPORT
        if resolved.recipient != recipient.address:
            recipient = replace(recipient, address=resolved.recipient)
        return limits, resolved.nexthop, recipient

    def _filtered(self, recipient: Recipient, content_filter: str, flushed: bool) -> _Route | Status:
        """The whole message goes to the filter, wherever its recipients are; it comes back as another one."""
        transport, _, nexthop = content_filter.partition(":")
        limits = self._limits(transport)
        if limits is None:
            return UNAVAILABLE
        if transport in self._deferred and not flushed:
            return DEFERRED_TRANSPORT
        return limits, nexthop or self._filter_nexthop or recipient.address.rpartition("@")[2], recipient

    def direct(self, transport: str, nexthop: str, index: int, recipient: Recipient) -> Group | Status:
        """One recipient by a transport that was chosen for it, wherever it is routed."""
        limits = self._limits(transport)
        if limits is None:
            return UNAVAILABLE
        key = self._key(limits, nexthop, recipient.address)
        return Group(limits, nexthop, key, (index,), (recipient,))

    def _key(self, limits: TransportLimits, nexthop: str, address: str) -> str:
        """A transport of one recipient a delivery has a destination for each mailbox, its extensions included."""
        if limits.recipients != 1:
            return nexthop.lower()
        local = address.rpartition("@")[0] or address
        for at, sign in enumerate(local):
            if at and sign in self._delimiter:
                local = local[:at]
                break
        return f"{local}@{nexthop}".lower()
