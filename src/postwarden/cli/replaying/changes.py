"""What a candidate configuration changes for those whose sessions were recorded."""

from collections.abc import Iterable, Iterator

from msgspec import Struct

from postwarden.cli.replaying.candidate import EARLY, Candidate, Missing, Said
from postwarden.config.settings import Settings
from postwarden.mail.decision import Origin, Rule
from postwarden.trace.records import Judged, Record

_REFUSING = frozenset(("reject", "defer"))
_FOR_A_MESSAGE = frozenset(("filter", "redirect", "prepend", "bcc", "hold", "discard"))
"""Effects that somebody feels; the others are lines of the log."""
_DISCARDED = "the message is discarded"
"""`receive`: recipients of such a message are not judged any more."""
_LATE = ("smtpd_data_restrictions", "smtpd_end_of_data_restrictions")


class Changed(Struct, frozen=True):
    """Somebody who would be treated differently."""

    record: Judged
    then: str
    """`554 5.7.1`, `let in`, `let in, hold`."""
    now: str
    reply: str
    """Whole, as it would be now."""
    rule: Rule
    """The one that decides now."""


class Unjudged(Struct, frozen=True):
    record: Judged
    missing: Missing


class Comparison:
    """`run` fills it."""

    def __init__(self, candidate: Candidate) -> None:
        self._candidate = candidate
        self.judged = 0
        self.first = self.last = 0.0
        self.sessions: set[str] = set()
        self.services: set[str] = set()
        self.changed: list[Changed] = []
        self.unjudged: list[Unjudged] = []
        self._mailed: dict[str, tuple[str | None, frozenset[str]]] = {}
        """Of a session: what was said of its sender, which holds for the recipients too."""

    async def run(self, records: Iterable[Record]) -> None:
        """Raises ConfigError for a list within a table that can't be compiled."""
        for record in records:
            if not isinstance(record, Judged) or not record.policy:
                continue
            if record.stage == "RCPT" or record.verdict in _REFUSING:
                self._count(record)
                self._compare(record, await self._candidate.answer(record))
            elif record.stage == "MAIL":
                self._mailed[record.session] = record.facts.sender, _felt(record.effects)
        # Each receiver has files of its own.
        self.changed.sort(key=lambda one: one.record.when)
        self.unjudged.sort(key=lambda one: one.record.when)

    def _count(self, record: Judged) -> None:
        self.judged += 1
        self.sessions.add(record.session)
        self.services.add(record.service)
        self.first = min(self.first or record.when, record.when)
        self.last = max(self.last, record.when)

    def _compare(self, record: Judged, said: Said | Missing) -> None:
        if isinstance(said, Missing):
            self.unjudged.append(Unjudged(record, said))
            return
        then, now = self._then(record), _felt(effect for effect, _ in said.effects)
        if record.because.name == _DISCARDED:
            now &= then
        passed = "let go on" if record.stage in EARLY else "let in"
        before, after = _treatment(record.reply, then, passed), _treatment(said.reply, now, passed)
        if before != after:
            new = [rule for effect, rule in said.effects if effect in now - then]
            rule = new[0] if new and not said.reply else said.rule
            self.changed.append(Changed(record, before, after, said.reply, rule))

    def _then(self, record: Judged) -> frozenset[str]:
        if record.because.name == _DISCARDED:
            return frozenset(("discard",))
        sender, mailed = self._mailed.get(record.session, (None, frozenset()))
        effects = _felt(record.effects)
        return effects | mailed if mailed and sender == record.facts.sender else effects

    def late(self, running: Settings) -> Iterator[tuple[str, Origin]]:
        """Lists that are asked after RCPT and are others than in the running configuration: parameter and where the
        candidate has it. Of who passed those nothing was recorded."""
        candidate = self._candidate.settings
        found: dict[tuple[str, Origin], None] = {}
        for service in sorted(self.services):
            if running.find_service(service) and candidate.find_service(service):
                for name in _LATE:
                    if running.text(name, service) != candidate.text(name, service):
                        found[name, candidate.origin(name, service)] = None
        yield from found


def _felt(effects: Iterable[str]) -> frozenset[str]:
    return frozenset(effect for effect in effects if effect.partition(" ")[0] in _FOR_A_MESSAGE)


def _treatment(reply: str, effects: frozenset[str], passed: str) -> str:
    """The words of a refusal are the operator's, and who is refused is refused by its codes."""
    if not reply:
        return ", ".join((passed, *sorted(effects)))
    code, _, rest = reply.partition(" ")
    status = rest.partition(" ")[0]
    return f"{code} {status}" if status[:2] == f"{code[:1]}." else code
