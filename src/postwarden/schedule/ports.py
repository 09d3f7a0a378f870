"""What the courier needs of others: declared here, handed over by `roles.courier`."""

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Protocol

from postwarden.ipc.records import Job, Stored
from postwarden.mail.decision import Rule
from postwarden.mail.envelope import Envelope, Recipient
from postwarden.mail.queue import Change, Content, Cursor, Entry, Key, Listed, NewMessage
from postwarden.mail.remade import Remade
from postwarden.mail.round import Remark, Report, Round
from postwarden.mail.status import Status


class Ledger(Protocol):
    """The courier's side of the spool, as `spool.ledger.Ledger` documents it."""

    def recover(self) -> Iterator[Entry]: ...

    def take(self, stored: Stored, instance: int = -1) -> Entry | None: ...

    def set_aside(self, stored: Stored, instance: int = -1) -> None: ...

    def due(self, now: float, limit: int = 500) -> tuple[Entry, ...]: ...

    def last_due(self) -> float | None: ...

    def flush(self) -> None: ...

    def flush_site(self, site: str) -> None: ...

    def find(self, queue_ids: Collection[str]) -> list[Entry]: ...

    def pick(self, keys: Collection[Key]) -> list[Entry]: ...

    def put_back(self, entry: Entry) -> None: ...

    def peek(self, queue_id: str) -> tuple[Listed, Content] | None:
        """Raises Damaged, OSError."""

    def page(self, after: Cursor | None, limit: int = 500) -> tuple[list[Listed], Cursor | None]: ...

    def content(self, key: Key) -> Content:
        """Raises Damaged; OSError where a descriptor can't be had."""

    def settle(self, change: Change, done: Callable[[tuple[Entry, ...]], None]) -> None: ...

    def import_(self, messages: Sequence[NewMessage], done: Callable[[], None]) -> None: ...

    @property
    def failing(self) -> bool: ...

    def new_queue_id(self) -> str: ...

    def linked(self, instance: int) -> None: ...

    def sealed(self, segment: int) -> None: ...

    def orphan(self, instance: int) -> None: ...

    def sweep(self, now: float) -> None: ...


class Resolution(Protocol):
    @property
    def transport(self) -> str: ...
    @property
    def nexthop(self) -> str: ...
    @property
    def recipient(self) -> str: ...
    @property
    def table(self) -> str:
        """The parameter whose table chose the transport; empty: none did."""

    @property
    def rule(self) -> Rule:
        """Of a table: its entry."""


class Resolver(Protocol):
    def resolve(self, recipient: str, sender: str | None = None) -> Resolution:
        """`sender`: whose mail it is; None: whosever. Raises TableError (try again later) and Pending (see
        `mail.decision`)."""


class Reporter(Protocol):
    """Decides who is told what of a round, and composes the reports."""

    def traces(self, envelope: Envelope, index: int, status: Status, *, warned: bool, told: bool) -> bool:
        """Whether the sender wants to hear of this outcome even if it is a success. `warned`: he has heard of a delay;
        `told`: of the first round."""

    def reports(self, envelope: Envelope, what: Round) -> Sequence[Report | Remark]:
        """Those that must be made, and copies for postmasters."""

    def compose(self, report: Report, envelope: Envelope, content: Content, queue_id: str) -> NewMessage:
        """The report, as a message with that queue id. `content` is closed by the caller."""


class Worker(Protocol):
    """A process that delivers: a carrier or the agent."""

    def send(self, job: Job, fds: Sequence[int]) -> None:
        """Takes over the descriptors."""

    def congested(self) -> bool:
        """More bytes wait for it than it is worth to add to."""


class Clerk(Protocol):
    """content.prepare, for the mail that the courier makes itself."""

    def __call__(self, envelope: Envelope, head: bytes) -> tuple[Envelope, bytes] | Status:
        """As it is to be stored, or why it can't be. Raises Pending."""


class Recorder(Protocol):
    """Keeps what became of messages, for whoever asks later. Never raises, never waits."""

    def attempted(self, queue_id: str, recipient: Recipient, status: Status, way: tuple[str, str] = ...) -> None:
        """`way`: transport and next hop."""

    def stored(self, envelope: Envelope, *, parent: str = ..., remade: tuple[Remade, ...] = ...) -> None:
        """A report or forward of the message with that queue id."""

    def remade(self, queue_id: str, steps: tuple[Remade, ...]) -> None:
        """What became of the message's addresses."""

    def operated(self, queue_id: str, operation: str) -> None:
        """An operator had that done, one of `ipc.queue_records.OPERATIONS`."""

    def ended(self, queue_id: str) -> None: ...


Inside = Callable[[str, str, Recipient, str], Status]
"""A transport that needs nobody: (transport name, next hop, recipient, sender) -> outcome. error and discard."""

Site = Callable[[str], bool]
"""Whether a list of domains has this one. Raises Pending."""
