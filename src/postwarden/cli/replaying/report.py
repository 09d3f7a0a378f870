"""What a replay found, for people and for programs."""

import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

from msgspec.structs import replace

from postwarden.cli.explaining.paint import Paint
from postwarden.cli.replaying.candidate import Missing
from postwarden.cli.replaying.changes import Changed, Comparison, Unjudged
from postwarden.config.settings import Settings
from postwarden.explain.places import INDEXED, Places
from postwarden.mail.decision import BUILT_IN, UNDECIDED, Rule
from postwarden.mail.events import printable
from postwarden.tables.table import Found
from postwarden.trace.records import Because, Judged

T = TypeVar("T")
_EXAMPLES = 3
_WHY = {
    "policy server": "the answer of a policy server",
    "table": "the answer of a table that would ask somebody",
    "address verification": "whether the address takes mail",
}


class Report:
    def __init__(self, found: Comparison, running: Settings, candidate: Settings, paint: Paint) -> None:
        self._found = found
        self._running = running
        self._candidate = candidate
        self._paint = paint
        aliases = (*candidate.items("alias_maps"), *candidate.items("alias_database"))
        self._places = Places(candidate.config_directory, frozenset(name.removeprefix("proxy:") for name in aliases))

    def lines(self) -> Iterator[str]:
        found = self._found
        directory = self._candidate.config_directory
        yield (
            f"{found.judged} decisions in {len(found.sessions)} sessions, {_clock(found.first)} to "
            f"{_clock(found.last)}, judged again by {directory}"
        )
        changed, unjudged = len(found.changed), len(found.unjudged)
        judged = f"of {found.judged - unjudged} that can be judged " if unjudged else ""
        text = f"{judged}{changed or 'nobody'} would be treated differently"
        yield (self._paint.bad if changed else self._paint.good)(text) + (f"; {unjudged} can't be" if unjudged else "")
        for group in _grouped(found.changed, lambda one: (str(self._placed(one.rule).origin), one.rule.name)):
            yield ""
            yield from self._changed(group)
        late = list(found.late(self._running))
        if found.unjudged or late:
            yield ""
            yield self._paint.strong("can't be judged:")
        for rest in _grouped(found.unjudged, lambda one: _place(one.missing)):
            yield from self._unjudged(rest)
        for name, origin in late:
            yield f"  {name} ({origin}) has changed: nothing is recorded of who got past RCPT and was let pass there"

    def _changed(self, group: Sequence[Changed]) -> Iterator[str]:
        rule = self._placed(group[0].rule)
        yield self._paint.strong(printable(f"{_rule(rule, {one.rule.argument for one in group})}: {len(group)}"))
        for same in _grouped(group, lambda one: (one.then, one.now, str(one.record.because.origin))):
            first = same[0]
            because = first.record.because
            yield printable(f"  {len(same)} × {first.then} ({_by(because)}) -> {first.now}")
            if first.reply:
                yield printable(f"      {first.reply}")
            yield from _examples([one.record for one in same])

    def _placed(self, rule: Rule) -> Rule:
        """An entry of an indexed table stands in its source: `rule` has `type:name key` as its argument."""
        table, _, key = rule.argument.partition(" ")
        if not key or table.removeprefix("proxy:").partition(":")[0] not in INDEXED:
            return rule
        origin = self._places.of(Found("", key, table))
        return replace(rule, origin=origin) if origin.line else rule

    def _unjudged(self, group: Sequence[Unjudged]) -> Iterator[str]:
        missing = group[0].missing
        yield f"  {len(group)} × {self._why(missing)}"
        if missing.rule is not None:
            keys = dict.fromkeys(f"{one.missing.kind} {one.missing.key}" for one in group)
            yield from (printable(f"      never recorded: {key}") for key in list(keys)[:_EXAMPLES])
        yield from _examples([one.record for one in group])

    def _why(self, missing: Missing) -> str:
        if missing.kind == "service":
            return printable(f"{self._candidate.config_directory}/master.cf has no smtpd service {missing.key}")
        if missing.rule is not None:
            rule = missing.rule
            why = _WHY.get(missing.kind, "the answer of DNS")
            return printable(f"{rule.name} {rule.argument}".rstrip() + f" ({rule.origin}) needs {why}")
        return printable(f"never recorded: {missing.kind} {missing.key}")

    def values(self) -> Iterator[str]:
        """One JSON object a line: `summary`, then each `changed`, `unjudged` and `changed list`."""
        found = self._found
        counts = {"decisions": found.judged, "sessions": len(found.sessions), "changed": len(found.changed),
                  "unjudged": len(found.unjudged), "candidate": self._candidate.config_directory}  # fmt: skip
        yield json.dumps({"kind": "summary", **counts})
        for one in found.changed:
            yield json.dumps({
                "kind": "changed", **_who(one.record), "then": one.then, "now": one.now, "reply": one.reply,
                "by": _named(self._placed(one.rule)), "before": _named(one.record.because),
            })  # fmt: skip
        for other in found.unjudged:
            missing = other.missing
            fact = {"fact": missing.kind, "key": missing.key, "by": _named(missing.rule) if missing.rule else None}
            yield json.dumps({"kind": "unjudged", **_who(other.record), **fact})
        for name, origin in found.late(self._running):
            yield json.dumps({"kind": "changed list", "parameter": name, "origin": str(origin)})


def _grouped(all_: Iterable[T], key: Callable[[T], tuple[str, ...]]) -> list[list[T]]:
    """The largest group first."""
    groups: dict[tuple[str, ...], list[T]] = {}
    for one in all_:
        groups.setdefault(key(one), []).append(one)
    return sorted(groups.values(), key=len, reverse=True)


def _who(record: Judged) -> dict[str, Any]:
    facts = record.facts
    return {
        "when": record.when, "session": record.session, "service": record.service, "stage": record.stage,
        "client": facts.client.address, "name": facts.client.name, "helo": facts.client.helo, "sender": facts.sender,
        "recipient": record.recipient,
    }  # fmt: skip


def _named(rule: Rule | Because) -> dict[str, str]:
    return {"restriction": rule.name, "argument": rule.argument, "origin": str(rule.origin)}


def _place(missing: Missing) -> tuple[str, ...]:
    if missing.rule is None:
        # Of a table the key differs each time.
        return missing.kind, missing.key.partition(" ")[0] if missing.kind == "table" else missing.key
    return str(missing.rule.origin), missing.rule.name, missing.rule.argument


def _by(because: Because) -> str:
    if because.name == UNDECIDED:
        return UNDECIDED
    by = f"by {because.name} {because.argument}".rstrip()
    return f"{by}, a default" if because.origin == BUILT_IN else f"{by} at {because.origin}"


def _rule(rule: Rule, arguments: set[str]) -> str:
    if rule.name == UNDECIDED:
        return UNDECIDED
    if rule.origin == BUILT_IN and not rule.argument:
        return f"default: {rule.name}"
    argument = rule.argument if len(arguments) == 1 else rule.argument.partition(" ")[0]
    return f"{rule.origin}: {rule.name} {argument}".rstrip()


def _examples(records: Sequence[Judged]) -> Iterator[str]:
    for record in records[:_EXAMPLES]:
        facts = record.facts
        sender = "" if facts.sender is None else f" from <{facts.sender}>"
        to = f" to <{record.recipient}>" if record.recipient else ""
        yield printable(f"      {_clock(record.when)} {facts.client}{sender}{to}")
    if len(records) > _EXAMPLES:
        yield f"      and {len(records) - _EXAMPLES} more"


def _clock(when: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(when))
