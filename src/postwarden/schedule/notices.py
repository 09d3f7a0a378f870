"""Mail to the postmaster about servers that misbehave: carriers say what was said, and store nothing themselves."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial

from msgspec import structs

from postwarden.ipc.records import Troubled
from postwarden.mail.decision import Pending
from postwarden.mail.envelope import Envelope
from postwarden.mail.events import Warn, printable
from postwarden.mail.queue import NewMessage
from postwarden.mail.status import Status
from postwarden.mail.transcript import Ration, postmaster_notice
from postwarden.schedule.params import CourierParams
from postwarden.schedule.parts import Parts

_AT_ONCE = 1.0
"""A due time long past: what is stored so is taken up as soon as somebody looks."""
_ROUNDS = 200
_LONGEST = 160_000
"""Characters of a transcript: 64 replies of 2,048 and some. A carrier is not believed to keep to it."""


class Notices:
    def __init__(self, look: Callable[[], None]) -> None:
        """`look` takes up what was stored."""
        self._look = look
        self._ration = Ration()

    def troubled(self, parts: Parts, params: CourierParams, record: Troubled) -> None:
        """Store a message about it. What can't be stored is logged, and lost: it is no mail of anybody's."""
        if not self._may_tell(parts):
            return
        now, queue_id = parts.clock.now(), parts.ledger.new_queue_id()
        server = printable(record.server[:300])
        envelope, head, body = postmaster_notice(
            queue_id=queue_id,
            now=now,
            hostname=params.myhostname,
            mail_name=params.mail_name,
            sender=f"{params.double_bounce_sender}@{params.myorigin}",
            recipient=params.error_notice_recipient,
            subject=f"{params.mail_name} {record.protocol} client: errors from {server}",
            text=[
                f"Unexpected response from {server}.",
                "",
                "Transcript of session follows.",
                "",
                *_bounded(record.transcript),
            ],
        )
        self._prepare(parts, envelope, head, body, 0)

    def _prepare(self, parts: Parts, envelope: Envelope, head: bytes, body: bytes, rounds: int) -> None:
        try:
            prepared = parts.clerk(envelope, head)
        except Pending as pending:
            if rounds < _ROUNDS:
                parts.fetch(pending.fetch, partial(self._prepare, parts, envelope, head, body, rounds + 1))
            return
        if isinstance(prepared, Status):
            parts.log.emit("smtp", Warn(f"postmaster notify: {prepared.text}"))
            return
        envelope, head = prepared
        if envelope.recipients:
            envelope = structs.replace(envelope, size=len(head) + len(body))
            parts.ledger.import_([NewMessage(envelope, head, body, due=_AT_ONCE)], self._look)

    def _may_tell(self, parts: Parts) -> bool:
        refused = self._ration.refuse(parts.clock.monotonic())
        if refused:
            parts.log.emit("smtp", Warn(f"postmaster notify: {refused}"))
        return refused is None


def _bounded(lines: Iterable[str]) -> Iterator[str]:
    size = 0
    for line in lines:
        size += len(line)
        if size > _LONGEST:
            yield " ..."
            return
        yield printable(line)
