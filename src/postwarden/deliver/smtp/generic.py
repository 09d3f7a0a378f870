"""smtp_generic_maps: envelope and header as they leave this machine. The log and the queue keep what was there."""

from collections.abc import Callable
from functools import partial
from typing import Protocol

from msgspec.structs import replace

from postwarden.deliver.smtp import reasons
from postwarden.deliver.smtp.policies import Fetch
from postwarden.ipc.records import Job
from postwarden.mail.decision import Missing, Pending
from postwarden.mail.envelope import Recipient
from postwarden.mail.remade import Remade
from postwarden.mail.status import Status
from postwarden.tables.table import TableError


class Generic(Protocol):
    """What the tables say. Raises TableError and Pending."""

    def address(self, address: str) -> str: ...

    def head(self, head: bytes) -> bytes: ...

    def taken(self) -> tuple[Remade, ...]:
        """What was replaced since this was called last."""


class GenericMaps:
    """`protocols.Outward`. Where the tables can't say, nothing is sent: an inner address must not get out."""

    def __init__(self, generic: Generic, warn: Callable[[str], None], fetch: Fetch | None = None) -> None:
        """`fetch` awaits what a slow table was asked; None: none of the tables is slow."""
        self._generic = generic
        self._warn = warn
        self._fetch = fetch

    def find(self, job: Job, done: Callable[[Job | Status, tuple[Remade, ...]], None]) -> None:
        self._generic.taken()  # of a time before, when a fact was missing
        try:
            outward = self._outward(job)
        except Pending as pending:
            if self._fetch is None:
                done(reasons.lookup_failed(), ())
            else:
                self._fetch(pending.fetch, partial(self.find, job, done))
            return
        except TableError as error:
            self._warn(f"{job.queue_id}: {error}")
            done(reasons.lookup_failed(), ())
            return
        done(outward, self._generic.taken())

    def _outward(self, job: Job) -> Job:
        missing = Missing()
        sender = missing.answer(partial(self._generic.address, job.sender), job.sender)
        recipients = tuple(missing.answer(partial(self._recipient, one), one) for one in job.recipients)
        head = missing.answer(partial(self._generic.head, job.head), job.head)
        missing.check()
        return replace(job, sender=sender, recipients=recipients, head=head)

    def _recipient(self, recipient: Recipient) -> Recipient:
        address = self._generic.address(recipient.address)
        if address == recipient.address:
            return recipient
        # RFC 3461 4.2: reports name the address that the sender wrote.
        return replace(recipient, address=address, original=recipient.original or recipient.address)
