"""Messages that the courier makes: reports to senders, and what a recipient was forwarded to."""

from collections.abc import Callable, Sequence

from msgspec import Struct
from msgspec.structs import replace

from postwarden.ipc.records import Forward
from postwarden.mail.envelope import Envelope
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

    def spawn(self, entry: Entry, forwards: Forwards, failed: Failed, content: Content) -> list[Spawned]:
        made = [
            Spawned(self._forward(entry, index, forward, content), forwarded=index) for index, forward in forwards
        ]
        if self.reports(entry.envelope, failed):
            report = self._reporter.failure(entry.envelope, failed, content, self._new_queue_id())
            envelope, head = self._clerk(report.envelope, report.head)
            made.append(Spawned(replace(report, envelope=envelope, head=head), "sender non-delivery notification"))
        return made

    def _forward(self, entry: Entry, index: int, forward: Forward, content: Content) -> NewMessage:
        """The same message for other recipients. Delivered-To is what ends a forwarding loop (local(8))."""
        queue_id, now = self._new_queue_id(), self._now()
        old = entry.envelope
        delivered = f"Delivered-To: {old.recipients[index].address}\r\n".encode()
        head = self._trace(queue_id, now) + delivered + content.head
        envelope = replace(
            old,
            queue_id=queue_id,
            arrival=now,
            sender=forward.sender,
            recipients=forward.recipients,
            size=len(head) + entry.body_size,
        )
        envelope, head = self._clerk(envelope, head)
        return NewMessage(envelope, head, body_of=entry.key)
