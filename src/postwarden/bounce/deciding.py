"""Who is told what of a round: RFC 3461 5.2, notify_classes. Pure: facts in, decision out."""

from collections.abc import Iterator, Sequence

from msgspec.structs import replace

from postwarden.bounce.params import BounceParams
from postwarden.mail.envelope import Envelope, Notify
from postwarden.mail.round import Kind, Outcomes, Remark, Report, Round
from postwarden.mail.status import Status
from postwarden.mail.verp import verp_sender

_WHOLE = 100
"""Reports of one round (VERP) that bring the whole message back. A mailing of 50 KB that expires for 20,000 recipients
at once would want a gigabyte of memory, and of queue.db."""
_DISCARDED = Remark("undeliverable postmaster notification discarded", warning=True)


class Decider:
    """`double_bounce_recipient` is 2bounce_notice_recipient."""

    def __init__(self, params: BounceParams, double_bounce_recipient: str) -> None:
        self._params = params
        self._classes = frozenset(word.lower() for word in params.notify_classes)
        self._double = f"{params.double_bounce_sender}@{params.myorigin}"
        self._double_recipient = double_bounce_recipient

    def traces(self, envelope: Envelope, index: int, status: Status, *, warned: bool, told: bool) -> bool:
        """Whether the sender wants to hear of this outcome even if it is a success. `warned`: he has heard of a delay;
        `told`: of the first round, the only one that `sendmail -v` asks for."""
        if envelope.trace == "verify" or (envelope.trace and not told):
            return True
        notify = envelope.recipients[index].notify
        if status.code[:1] != "2":
            return False
        if notify & Notify.SUCCESS and status.report != "passed":
            return True
        return warned and self._params.confirm_delay_cleared and (not notify or bool(notify & Notify.DELAY))

    def reports(self, envelope: Envelope, what: Round) -> list[Report | Remark]:
        """Those that must be made first, then those for postmasters."""
        found: list[Report | Remark] = []
        for kind, outcomes in ((Kind.FAILURE, what.failed), (Kind.EXPIRY, what.expired)):
            if outcomes and envelope.trace != "verify":
                found += self._failure(envelope, kind, outcomes)
        if what.late:
            found += self._delay(envelope, what.late)
        traced = what.traced
        if what.first and envelope.expanded:
            past = len(envelope.recipients)
            traced = (*traced, *[(past + n, EXPANDED) for n in range(len(envelope.expanded))])
        if traced:
            found += self._success(envelope, traced)
        return found

    def _is_double_bounce(self, address: str) -> bool:
        return address.lower() == self._double.lower()

    def _failure(self, envelope: Envelope, kind: Kind, outcomes: Outcomes) -> Iterator[Report | Remark]:
        params, log = self._params, "postmaster non-delivery notification"
        if self._is_double_bounce(envelope.sender):
            yield _DISCARDED
        elif not envelope.sender:
            # RFC 5321 4.5.5: a report about a report would make a loop.
            if self._classes & {"bounce", "2bounce"}:
                yield self._copy(Report(kind, self._double_recipient, outcomes, log, whole=True))
        else:
            told = wanted(envelope, outcomes, Notify.FAILURE)
            addressed = list(self._addressed(envelope, told))
            log_sender, whole = "sender non-delivery notification", envelope.ret != "HDRS" and len(addressed) <= _WHOLE
            for recipient, some in addressed:
                yield Report(kind, recipient, some, log_sender, whole=whole)
            if "bounce" in self._classes:
                yield self._copy(Report(kind, params.bounce_notice_recipient, outcomes, log))

    def _addressed(self, envelope: Envelope, told: Outcomes) -> Iterator[tuple[str, Outcomes]]:
        """Where reports go: to the sender; with VERP, one for each recipient to the address that tells which it was."""
        if not told:
            return
        if not envelope.verp or self._params.disable_verp_bounces:
            yield envelope.sender, told
            return
        for index, status in told:
            yield verp_sender(envelope.sender, envelope.recipients[index], envelope.verp), ((index, status),)

    def _delay(self, envelope: Envelope, outcomes: Outcomes) -> Iterator[Report | Remark]:
        if not envelope.sender or self._is_double_bounce(envelope.sender):
            return
        if told := wanted(envelope, outcomes, Notify.DELAY):
            yield Report(Kind.DELAY, envelope.sender, told, "sender delay notification")
        if "delay" in self._classes:
            recipient, log = self._params.delay_notice_recipient, "postmaster delay notification"
            yield self._copy(Report(Kind.DELAY, recipient, outcomes, log))

    def _success(self, envelope: Envelope, outcomes: Outcomes) -> Iterator[Report | Remark]:
        kind, log = Kind.VERIFY if envelope.trace else Kind.SUCCESS, "sender delivery status notification"
        if self._is_double_bounce(envelope.sender):
            yield Remark("not sending trace/success notification for double-bounce message")
        elif envelope.sender:
            yield Report(kind, envelope.sender, outcomes, log)
        elif "2bounce" in self._classes:
            yield Report(kind, self._double_recipient, outcomes, log, sender=self._double)
        else:
            yield Remark("not sending trace/success notification for single-bounce message")

    def _copy(self, report: Report) -> Report:
        """For postmasters. Its sender is known as the end of the line."""
        return replace(report, postmaster=True, sender=self._double)


EXPANDED = Status("2.0.0", "alias expanded", report="expanded")


def wanted(envelope: Envelope, outcomes: Outcomes, what: Notify) -> Sequence[tuple[int, Status]]:
    """RFC 3461 5.2.5: those whose sender wants to hear of this, by what he said or by default."""
    notify = [envelope.recipients[index].notify for index, _ in outcomes]
    return tuple([both for both, bits in zip(outcomes, notify, strict=True) if not bits or bits & what])
