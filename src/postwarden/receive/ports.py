"""What the SMTP server needs of others. `pipeline.py` hands it over."""

from collections.abc import Callable
from typing import Protocol

from postwarden.mail.decision import Decision
from postwarden.mail.envelope import Envelope
from postwarden.mail.remade import Remade
from postwarden.mail.reply import Reply
from postwarden.mail.session import SessionFacts
from postwarden.mail.status import Status
from postwarden.net.peername import PeerName


class Judge(Protocol):
    """May it come in? Each method may raise `mail.decision.Pending` and is then called again with the same arguments.
    A decision that is neither permit nor dunno has a reply; reply code 421 or 521 ends the connection."""

    def connect(self, facts: SessionFacts) -> Decision: ...

    def helo(self, facts: SessionFacts) -> Decision:
        """`facts.client.helo` is the new name."""

    def mail(self, facts: SessionFacts, sender: str) -> Decision: ...

    def recipient(self, facts: SessionFacts, recipient: str) -> Decision: ...

    def data(self, facts: SessionFacts) -> Decision:
        """Before the 354, or before the first chunk."""

    def end_of_data(self, facts: SessionFacts) -> Decision:
        """The content is here; `facts.size` is its size."""

    def etrn(self, facts: SessionFacts, domain: str, /) -> Decision: ...

    def verify(self, facts: SessionFacts, address: str) -> Decision:
        """VRFY."""


class Prepared(Protocol):
    @property
    def envelope(self) -> Envelope: ...

    @property
    def head(self) -> bytes: ...

    @property
    def remade(self) -> tuple[Remade, ...]:
        """What became of addresses, step by step."""


class Prepare(Protocol):
    def __call__(self, envelope: Envelope, head: bytes, profile: str) -> Prepared | Reply:
        """The message as it is to be stored, or the reply that refuses it. May raise Pending, and is called again."""


class Clerk(Protocol):
    def __call__(self, envelope: Envelope, head: bytes, /) -> tuple[Envelope, bytes] | Status:
        """`Prepare` for what we say ourselves; Status: why it can't be said. May raise Pending."""


class Draft(Protocol):
    """A message that is being received."""

    on_drained: Callable[[], None] | None
    """Called each time `congested` ends."""

    @property
    def congested(self) -> bool: ...

    def write(self, data: bytes) -> None:
        """Body bytes: CRLF line ends, without dot-stuffing and without the head."""

    def commit(self, envelope: Envelope, head: bytes, done: Callable[[Reply | None], None]) -> None:
        """Make it durable, then call `done(None)`, or `done(fault)`; never inside this call. Uses the draft up."""

    def abandon(self) -> None:
        """The message is not wanted. Without effect after commit."""


class Store(Protocol):
    def new_queue_id(self) -> str: ...

    def room(self, size: int) -> Reply | None:
        """None if a message of `size` bytes (0: not known) may come in."""

    def draft(self) -> Draft: ...


class Recorder(Protocol):
    """Keeps what was decided, for whoever asks later. Never raises, never waits."""

    def session(self) -> str:
        """A name that no other session has."""

    def reference(self) -> str:
        """What the client may name who asks about a refusal."""

    def judged(
        self,
        session: tuple[str, str],
        stage: str,
        facts: SessionFacts,
        decision: Decision,
        reply: Reply | None,
        *,
        recipient: str = ...,
        recipients: tuple[str, ...] = ...,
        policy: bool = ...,
    ) -> None:
        """`session`: its name, and that of the service. `recipients`: of a message that is refused as a whole.
        `policy`: a restriction said it."""

    def stored(self, envelope: Envelope, *, session: str = ..., remade: tuple[Remade, ...] = ...) -> None:
        """A message is durable. `remade`: what content made of its addresses."""


class PeerNames(Protocol):
    def verify(self, address: str, done: Callable[[PeerName], None]) -> None:
        """Call `done` once; inside this call when the name is known."""
