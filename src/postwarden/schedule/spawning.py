"""Messages that the courier makes: reports to senders and postmasters, and what a recipient was forwarded to."""

from collections.abc import Callable, Sequence

from msgspec import Struct
from msgspec.structs import replace

from postwarden.ipc.records import Forward
from postwarden.mail.address import external
from postwarden.mail.envelope import Envelope, Notify
from postwarden.mail.events import printable
from postwarden.mail.queue import Content, Entry, NewMessage
from postwarden.mail.remade import Remade
from postwarden.mail.round import Kind, Outcomes, Remark, Report, Round
from postwarden.mail.status import Part, Status
from postwarden.schedule.ports import Clerk, Reporter

_SUCCESS = Notify.SUCCESS.value
"""As a plain number: `&` with a flag makes an object of each result, 3 µs for every message."""
_SUCCESSES = (Kind.SUCCESS, Kind.VERIFY)


class Spawned(Struct, frozen=True):
    message: NewMessage
    notice: str = ""
    """What the log says of it, before its queue id."""
    forwarded: int = -1
    """For a forward: index of the recipient that it stands for."""
    by: str = ""
    """The transport that made it a forward."""
    remade: tuple[Remade, ...] = ()
    """What content made of its addresses."""


class Told(Struct):
    """What came of the reports of a round."""

    spawned: list[Spawned]
    remarks: list[Remark]
    untold: set[Kind]
    """Reports of these kinds have to wait, since content can't take them now."""


def recorded(envelope: Envelope, traced: Outcomes, made: Sequence[tuple[int, "Spawned | Status"]]) -> Outcomes:
    """For `sendmail -v`: `traced` with the queue ids of what recipients were forwarded as."""
    if envelope.trace != "record" or not made:
        return traced
    names: dict[int, list[Part]] = {}
    for index, result in made:
        if isinstance(result, Spawned):
            recipient, text = envelope.recipients[index], f"forwarded as {result.message.envelope.queue_id}"
            names.setdefault(index, []).append(Part(recipient.address, recipient.original, "2.0.0", text, "relayed"))
    return tuple([(n, replace(status, parts=(*status.parts, *names.get(n, ())))) for n, status in traced])


class Spawner:
    """`trace` gives the header lines that a forwarded message gets: (queue id, seconds since the epoch) -> bytes."""

    def __init__(
        self,
        reporter: Reporter,
        clerk: Clerk,
        *,
        new_queue_id: Callable[[], str],
        now: Callable[[], float],
        trace: Callable[[str, float], bytes],
        remade: Callable[[], tuple[Remade, ...]] = tuple,
    ) -> None:
        """`remade`: what `clerk` made of the addresses of the message that it prepared last."""
        self._remade = remade
        self._reporter = reporter
        self._clerk = clerk
        self._new_queue_id = new_queue_id
        self._now = now
        self._trace = trace

    def traced(self, entry: Entry, outcomes: Outcomes) -> Outcomes:
        """Those that the sender wants to hear of whatever they are. Nobody asks for that, as a rule."""
        envelope = entry.envelope
        if not (envelope.trace or entry.warned):
            recipients = envelope.recipients
            for index, _ in outcomes:
                if recipients[index].notify & _SUCCESS:
                    break
            else:
                return ()
        traces, warned, told = self._reporter.traces, entry.warned, entry.told
        return tuple([both for both in outcomes if traces(envelope, *both, warned=warned, told=told)])

    def reports(self, envelope: Envelope, what: Round) -> Sequence[Report | Remark]:
        """What is to be told to whom."""
        return self._reporter.reports(envelope, what)

    def report(self, entry: Entry, wanted: Sequence[Report | Remark], content: Content) -> Told:
        """Raises Pending; nothing has happened then."""
        told = Told([], [], set())
        for one in wanted:
            if isinstance(one, Remark):
                told.remarks.append(one)
                continue
            made = self._made(entry, one, content)
            if isinstance(made, Spawned):
                told.spawned.append(made)
            elif one.postmaster and not one.whole:
                told.remarks.append(Remark(f"{one.log} not sent: {made.text}", warning=True))
            else:
                told.untold.add(one.kind)
        return told

    def _made(self, entry: Entry, report: Report, content: Content) -> Spawned | Status:
        """A Status: why it has to wait. A report of success can't: what it tells of is over."""
        made = self._reporter.compose(report, entry.envelope, content, self._new_queue_id())
        prepared = self._clerk(made.envelope, made.head)
        if not isinstance(prepared, Status):
            made = replace(made, envelope=prepared[0], head=prepared[1])
        elif prepared.code[:1] == "4" and report.kind not in _SUCCESSES:
            return prepared
        return Spawned(made, report.log, remade=self._remade())

    def forward(self, entry: Entry, index: int, forward: Forward, content: Content) -> Spawned | Status:
        """The same message for other recipients. Delivered-To is what ends a forwarding loop (local(8)). A Status: why
        content refuses it. Raises Pending; nothing has happened then."""
        queue_id, now = self._new_queue_id(), self._now()
        old = entry.envelope
        delivered = f"Delivered-To: {printable(external(old.recipients[index].address))}\r\n".encode()
        head = self._trace(queue_id, now) + delivered + content.head
        envelope = replace(
            old,
            queue_id=queue_id,
            arrival=now,
            sender=forward.sender,
            recipients=forward.recipients,
            size=len(head) + entry.body_size,
            trace="",
            expanded=(),
            created=0.0,
            hold=False,
            filter=f"{forward.transport}:{forward.nexthop}" if forward.transport else "",
        )
        prepared = self._clerk(envelope, head)
        if isinstance(prepared, Status):
            return prepared
        envelope, head = prepared
        envelope = replace(envelope, size=len(head) + entry.body_size)
        new = NewMessage(envelope, head, body_of=entry.key)
        return Spawned(new, forwarded=index, by=forward.by, remade=self._remade())
