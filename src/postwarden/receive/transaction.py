"""A mail transaction (RFC 5321 3.3): made by an accepted MAIL, gone when the session's state says that there is none.

It is never reset. What must not outlive a transaction is an attribute here, and so can't be forgotten.
"""

from collections.abc import Iterable

from msgspec import structs

from postwarden.mail.decision import Effect
from postwarden.mail.envelope import Recipient
from postwarden.mail.reply import Reply
from postwarden.mail.session import SessionFacts
from postwarden.receive.attributes import Forwarded
from postwarden.receive.content import Intake
from postwarden.receive.ports import Draft
from postwarden.wire.smtp_events import Mail


class Transaction:
    __slots__ = (
        "_base", "_paid", "arrival", "copies", "discard", "draft", "filter", "forwarded", "hold", "intake", "kept",
        "mail", "overshoot", "prepended", "queue_id", "recipients", "redirect", "spoiled",
    )  # fmt: skip

    def __init__(self, mail: Mail, facts: SessionFacts, arrival: float, forwarded: Forwarded | None = None) -> None:
        self.mail = mail
        self.arrival = arrival
        self.forwarded = forwarded
        self.recipients: list[Recipient] = []
        self.queue_id = ""
        self.draft: Draft | None = None
        self.intake: Intake | None = None
        self.spoiled: Reply | None = None
        """What the content that is coming in will be answered with, whatever it holds."""
        self.kept = 0
        """Bytes of its head that count against the service's budget."""
        self.discard = False
        """Policy wants it taken and thrown away."""
        self.hold = False
        """Policy wants it taken and put on hold."""
        self.filter = ""
        """`transport:nexthop` of FILTER; empty: none."""
        self.redirect = ""
        """Who gets it instead of its recipients; empty: they do."""
        self.copies: tuple[str, ...] = ()
        """Who gets it besides."""
        self.prepended: tuple[str, ...] = ()
        """Headers that go to the top."""
        self.overshoot = 0
        """Recipients over the limit."""
        self._paid = 0
        self._base = structs.replace(facts, sender=mail.sender, size=mail.size)

    def facts(self, size: int = -1) -> SessionFacts:
        """As of now. `size`: of the content, once it is known."""
        if not self.recipients and size < 0 and not self.queue_id:
            return self._base
        return structs.replace(
            self._base,
            recipients=len(self.recipients),
            recipient=self.only_recipient,
            queue_id=self.queue_id,
            size=self._base.size if size < 0 else size,
        )

    def obey(self, effects: Iterable[Effect]) -> None:
        """Note what policy wants done with it. As in Postfix that holds for all recipients, even if the one for whom
        it was said is refused."""
        for effect in effects:
            match effect.action:
                case "hold":
                    self.hold = True
                case "discard":
                    self.discard = True
                case "filter":
                    self.filter = effect.argument
                case "redirect":
                    self.redirect = effect.argument
                case "bcc" if effect.argument not in self.copies:
                    self.copies = (*self.copies, effect.argument)
                case "prepend":
                    self.prepended = (*self.prepended, effect.argument)

    def unpaid(self) -> int:
        """Bytes of content since the last call."""
        size = 0 if self.intake is None else self.intake.size
        new, self._paid = size - self._paid, size
        return new

    @property
    def only_recipient(self) -> str | None:
        """For a log line that has room for one."""
        return self.recipients[0].address if len(self.recipients) == 1 else None

    def drop(self) -> None:
        """It came to nothing, or all was handed over."""
        if self.draft is not None:
            self.draft.on_drained = None
            self.draft.abandon()
            self.draft = None
