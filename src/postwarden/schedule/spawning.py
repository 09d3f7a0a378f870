"""Messages that the courier makes: reports to senders, and what a recipient was forwarded to."""

from collections.abc import Callable, Sequence

from msgspec import Struct
from msgspec.structs import replace

from postwarden.ipc.records import Forward
from postwarden.mail.address import external
from postwarden.mail.envelope import Envelope
from postwarden.mail.events import printable
from postwarden.mail.queue import Content, Entry, NewMessage
from postwarden.mail.status import Status
from postwarden.schedule.ports import Clerk, Reporter

Forwards = Sequence[tuple[int, Forward]]
"""(index of the recipient in the envelope, what it became)."""
Failed = Sequence[tuple[int, Status]]


class Spawned(Struct, frozen=True):
    message: NewMessage
    notice: str = ""
    """What the log says of it, before its queue id."""
    forwarded: int = -1
    """For a forward: index of the recipient that it stands for."""


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
    ) -> None:
        self._reporter = reporter
        self._clerk = clerk
        self._new_queue_id = new_queue_id
        self._now = now
        self._trace = trace

    def reports(self, envelope: Envelope, failed: Failed) -> bool:
        """Whether somebody is to be told of these failures."""
        return bool(failed) and self._reporter.wanted(envelope, failed)

    def report(self, entry: Entry, failed: Failed, content: Content) -> Spawned | Status:
        """A Status: why it has to wait. Raises Pending; nothing has happened then."""
        report = self._reporter.failure(entry.envelope, failed, content, self._new_queue_id())
        prepared = self._clerk(report.envelope, report.head)
        if isinstance(prepared, Status):
            if prepared.code[:1] == "4":
                return prepared
        else:
            report = replace(report, envelope=prepared[0], head=prepared[1])
        return Spawned(report, "sender non-delivery notification")

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
        )
        prepared = self._clerk(envelope, head)
        if isinstance(prepared, Status):
            return prepared
        envelope, head = prepared
        envelope = replace(envelope, size=len(head) + entry.body_size)
        return Spawned(NewMessage(envelope, head, body_of=entry.key), forwarded=index)
