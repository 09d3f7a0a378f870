"""The configuration that is on trial: its judges, and what they say to what was recorded."""

from collections.abc import Callable, Iterator

from msgspec import Struct
from msgspec.structs import replace

from postwarden.addressing.resolve import open_resolver
from postwarden.cli.replaying.unasked import Then, Unasked, Unrecorded, watch
from postwarden.config.settings import Settings
from postwarden.mail.decision import Decision, Fact, Rule, Verdict, settle
from postwarden.mail.reply import Reply
from postwarden.mail.session import SessionFacts
from postwarden.policy.judge import Judge
from postwarden.policy.overrides import without_checks
from postwarden.tables.opening import Tables
from postwarden.trace.records import Facts, Judged

_REFUSING = (Verdict.REJECT, Verdict.DEFER)
_DENIED = Reply(554, "5.7.1", "Access denied")
EARLY = ("CONNECT", "HELO", "EHLO", "MAIL")
"""Stages after which more would have come."""
_JUDGED = (*EARLY, "RCPT", "VRFY", "DATA", "END-OF-MESSAGE")
_REMEMBERED = 100_000
_Step = Callable[[], Decision]


class Said(Struct, frozen=True):
    """What the candidate does with one command."""

    reply: str
    """`554 5.7.1 text`; empty: the client is let go on."""
    rule: Rule
    effects: tuple[tuple[str, Rule], ...] = ()
    """As a record has them, and what wants each."""


class Missing(Struct, frozen=True):
    """Why it can't be judged."""

    kind: str
    """Of the fact that was never recorded."""
    key: str
    rule: Rule | None = None
    """Who would have to know it."""


_Question = tuple[str, str, Facts, str, tuple[Fact, ...]]


class Candidate:
    def __init__(self, settings: Settings) -> None:
        """Raises ConfigError."""
        self.settings = settings
        self._then = Then()
        self._tables = Tables.of(settings, wrapper=Unasked())
        self._resolver = open_resolver(settings, self._tables)
        self._judges = {
            one.key: self._judge(one.key)
            for one in settings.services
            if one.type in ("inet", "pass") and one.command == "smtpd"
        }
        self._known: dict[_Question, Said | Missing] = {}

    def _judge(self, key: str) -> Judge:
        settings = without_checks(self.settings, key)
        return Judge(settings, key, self._tables, self._resolver, self._then.outside(), watch=watch)

    async def answer(self, record: Judged) -> Said | Missing:
        """Equal questions are judged once. Raises ConfigError."""
        judge = self._judges.get(record.service)
        if judge is None:
            return Missing("service", record.service)
        if record.stage == "ETRN":
            return Missing("name", "that ETRN asked for")
        if record.stage not in _JUDGED:
            return Missing("stage", record.stage)
        facts = replace(record.facts, client=replace(record.facts.client, port=0), queue_id="")
        question = (record.service, record.stage, facts, record.recipient, record.asked)
        known = self._known.get(question)
        if known is None:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            known = self._known[question] = await self._answer(judge, record)
        return known

    async def _answer(self, judge: Judge, record: Judged) -> Said | Missing:
        self._then.facts, self._then.when = record.asked, record.when
        effects: list[tuple[str, Rule]] = []
        facts = record.facts.session()
        try:
            for step in self._steps(judge, record, facts):
                facts.findings.known.clear()
                decision = await settle(step)
                effects += ((f"{e.action} {e.argument}".strip(), e.rule) for e in decision.effects)
                if decision.verdict in _REFUSING:
                    return Said(str(decision.reply or _DENIED), decision.rule)
        except Unrecorded as missing:
            return Missing(missing.kind, missing.key, missing.rule)
        if record.stage in EARLY and self.settings.value("smtpd_delay_reject", record.service):
            return Missing("recipient", f"the session ended at {record.stage}")
        return Said("", decision.rule, tuple(effects))

    def _steps(self, judge: Judge, record: Judged, facts: SessionFacts) -> Iterator[_Step]:
        """The commands of the session until then, each with what was known when it came."""
        stage, recipient = record.stage, record.recipient
        encrypted = bool(self.settings.value("smtpd_tls_wrappermode", record.service))
        client = replace(facts.client, helo="", login="", protocol="SMTP")
        new = replace(facts, client=client, tls=facts.tls if encrypted else None, sender=None, recipients=0, size=0,
                      queue_id="", recipient=None)  # fmt: skip
        yield lambda: judge.connect(new)
        if stage == "CONNECT":
            return
        greeted = replace(new, client=replace(facts.client, login=""), tls=facts.tls)
        if facts.client.helo:
            yield lambda: judge.helo(greeted)
        if stage in ("HELO", "EHLO"):
            return
        if stage == "VRFY":
            yield lambda: judge.verify(facts, recipient)
            return
        sender = facts.sender or ""
        mailing = replace(greeted, client=facts.client, size=facts.size)
        yield lambda: judge.mail(mailing, sender)
        if stage == "RCPT":
            yield lambda: judge.recipient(facts, recipient)
        elif stage == "DATA":
            yield lambda: judge.data(facts)
        elif stage == "END-OF-MESSAGE":
            yield lambda: judge.end_of_data(facts)
