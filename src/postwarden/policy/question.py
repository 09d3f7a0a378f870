"""What one restriction list is asked, and how its answers are made."""

from collections.abc import Callable
from enum import Enum

from msgspec import Struct

from postwarden.mail.decision import Decision, Effect, Fact, Rule, Verdict
from postwarden.mail.reply import Reply
from postwarden.mail.session import SessionFacts


class Subject(Enum):
    """What a list judges; the value is Postfix's word for it in a reply."""

    CLIENT = "Client host"
    REVERSE_CLIENT = "Unverified Client host"
    HELO = "Helo command"
    SENDER = "Sender address"
    RECIPIENT = "Recipient address"
    DATA = "Data command"
    END_OF_DATA = "End-of-data"
    ETRN = "Etrn command"
    LOGIN = "SASL login name"


class Marks:
    """What restrictions leave behind that did not decide: it belongs to one evaluation and ends with it."""

    __slots__ = (
        "asked", "defer_if_permit", "defer_if_reject", "depth", "discards", "effects", "listed", "site", "stage",
        "warning",
    )  # fmt: skip

    def __init__(self, stage: str = "RCPT", site: str = "") -> None:
        self.stage = stage
        """The command, as policy servers know it."""
        self.site = site
        """What ETRN names."""
        self.discards = False
        """The message is to be thrown away: nothing else of it is judged."""
        self.defer_if_permit: Decision | None = None
        """A refusal that a fault may have kept from us: mail that would come in is put off with this."""
        self.defer_if_reject: Decision | None = None
        """A permit that a fault may have kept from us: mail that would be refused is put off with this."""
        self.listed = False
        """The recipient was looked up in the tables of its class."""
        self.effects: list[Effect] = []
        self.warning = False
        """warn_if_reject: refusals are told to the log, and to nobody else."""
        self.asked = 0
        """Questions to servers that count them."""
        self.depth = 0
        """Restriction lists within table entries."""

    def begin(self) -> None:
        """A list begins: a permit that the one before it may have missed was the end of that list alone."""
        self.defer_if_reject = None

    def put_off_permit(self, later: Decision) -> None:
        if self.warning:
            self.warned(later)
        elif self.defer_if_permit is None:
            self.defer_if_permit = later

    def put_off_reject(self, later: Decision) -> None:
        if self.defer_if_reject is None:
            self.defer_if_reject = later

    def warned(self, decision: Decision) -> None:
        """It would have been refused."""
        self.effects.append(Effect("reject_warning", "", str(decision.reply), decision.rule, decision.facts))

    def unanswered(self, rule: Rule, table: str, why: str, key: str) -> None:
        """Tell the operator of a table that can't be asked, as smtpd(8) does each time."""
        self.warn(rule, f"{table} is unavailable. {why}")
        self.warn(rule, f'{table} lookup error for "{key}"')

    def warn(self, rule: Rule, text: str) -> None:
        """Tell the operator."""
        self.effects.append(Effect("warning", "", text, rule))


class Question(Struct, frozen=True):
    """One evaluation: the session as it is, and the recipient in question where there is one."""

    facts: SessionFacts
    subject: Subject
    marks: Marks
    recipient: str | None = None
    site: str = ""
    """ETRN's argument."""

    @property
    def name(self) -> str:
        """What stands in the reply's angle brackets."""
        match self.subject:
            case Subject.CLIENT:
                return str(self.facts.client)
            case Subject.REVERSE_CLIENT:
                return self.facts.client.reverse_name
            case Subject.HELO:
                return self.facts.client.helo
            case Subject.SENDER:
                return self.facts.sender or ""
            case Subject.RECIPIENT:
                return self.recipient or ""
            case Subject.DATA:
                return "DATA"
            case Subject.END_OF_DATA:
                return "END-OF-MESSAGE"
            case Subject.LOGIN:
                return self.facts.client.login
        return self.site

    def about(self, subject: Subject) -> "Question":
        """The same session, judged for another subject: check_sender_access in a list for recipients."""
        if subject is self.subject:
            return self
        return Question(self.facts, subject, self.marks, self.recipient, self.site)


Restriction = Callable[[Question], Decision | None]
"""A compiled restriction: a verdict, or None for DUNNO. Pure but for the marks; may raise TableError and Pending."""


def permit(rule: Rule, *facts: Fact) -> Decision:
    return Decision(Verdict.PERMIT, rule, facts)


def refusal(rule: Rule, code: int, status: str, text: str, *facts: Fact) -> Decision:
    """A refusal with `code`; the class of `status` follows the code, so that a site that turns 554 into 450 does not
    have to repeat itself (RFC 3463 2)."""
    if 400 <= code < 600:
        reply = Reply(code, f"{code // 100}{status[1:]}", text)
    else:
        # An operator's figure that is no refusal (relay_domains_reject_code = 250) must not let anything in.
        reply = Reply(450, "4.7.1", "Service unavailable")
    return Decision(Verdict.DEFER if reply.temporary else Verdict.REJECT, rule, facts, reply)


def refused(question: Question, rule: Rule, code: int, status: str, why: str, *, fact: Fact | None = None) -> Decision:
    """`<name>: Sender address rejected: why`."""
    text = f"<{question.name}>: {question.subject.value} rejected: {why}"
    return refusal(rule, code, status, text) if fact is None else refusal(rule, code, status, text, fact)


class Misconfigured(Exception):
    """What is written can't be obeyed: nobody comes in by it, not even under warn_if_reject, and nobody is sent away
    for good."""

    def __init__(self, rule: Rule, *facts: Fact) -> None:
        super().__init__()
        self.decision = refusal(rule, 451, "4.3.5", "Server configuration error", *facts)


def refuses(decision: Decision | None) -> bool:
    return decision is not None and decision.verdict in (Verdict.REJECT, Verdict.DEFER)
