"""What happened to a message, or to a client that was refused: out of the store of decisions."""

from collections.abc import Callable, Iterable, Iterator
from heapq import heappush, heappushpop
from tempfile import TemporaryFile
from typing import Any

import msgspec
from msgspec import Struct

from postwarden.cli.explaining import tables
from postwarden.cli.explaining.advice import cure, cure_without_policy
from postwarden.cli.explaining.fate import DID, clock, ends
from postwarden.cli.explaining.paint import Paint
from postwarden.cli.explaining.steps import StepText
from postwarden.cli.explaining.still import Still
from postwarden.config.settings import Settings
from postwarden.mail.decision import Rule
from postwarden.mail.verified import SUBJECT
from postwarden.trace.records import Attempted, Ended, Judged, Mapped, Operated, Record, Stored
from postwarden.trace.search import History

_SHOWN = 5
"""Recipients of a message that was refused as a whole."""
MOST = 1000
"""Refused sessions that are shown to people."""


def newest(refused: Iterable[Judged], most: int = MOST) -> tuple[list[Judged], int]:
    """The last `most`, in order of time, and how many were left out."""
    kept: list[tuple[float, int, Judged]] = []
    count = 0
    for one in refused:
        entry = (one.when, count, one)
        count += 1
        if len(kept) < most:
            heappush(kept, entry)
        else:
            heappushpop(kept, entry)
    return [one for _, _, one in sorted(kept)], count - len(kept)


def in_order(refused: Iterable[Judged], line: Callable[[Judged], str]) -> Iterator[str]:
    """The line of each, in order of time. They may be more than memory has room for: a file has them meanwhile."""
    places: list[tuple[float, int]] = []
    with TemporaryFile("w+", encoding="utf-8", errors="surrogateescape", newline="\n") as file:
        for one in refused:
            places.append((one.when, file.tell()))
            file.write(line(one) + "\n")
        for _, place in sorted(places):
            file.seek(place)
            yield file.readline().removesuffix("\n")


# For people


class RecordText:
    def __init__(self, settings: Settings, paint: Paint, tree: Callable[[str], Iterator[str]]) -> None:
        """`tree` draws what an address becomes, as the configuration is now."""
        self._settings = settings
        self._paint = paint
        self._tree = tree
        self._still = Still()

    def history(self, history: History) -> Iterator[str]:
        stored = history.stored
        if stored is not None:
            yield self._paint.strong(f"{history.queue_id}: message {stored.message_id or '<>'}, {stored.size} bytes")
            yield f"  from <{stored.sender}>{f', handed in by {stored.client}' if stored.client else ''}"
        else:
            yield self._paint.strong(f"{history.queue_id}: it came before decisions were recorded")
        yield from ends(history, self._paint)
        yield ""
        steps = StepText(self._settings, "" if stored is None else stored.sender)
        known = any(isinstance(record, Mapped) and record.place == "envelope_recipient" for record in history.records)
        for record in history.records:
            if isinstance(record, Mapped):
                yield from steps.lines(clock(record.when), record)
            else:
                yield from self._line(record, history.queue_id, drawn=not known)

    def values(self, history: History) -> dict[str, Any]:
        """For -j."""
        stored = history.stored
        steps = StepText(self._settings, "" if stored is None else stored.sender)
        found = values(history.records)
        for record, value in zip(history.records, found, strict=True):
            if isinstance(record, Mapped):
                value["now"] = steps.value(record)
        return {"queue_id": history.queue_id, "records": found, "made": values(history.offspring)}

    def _line(self, record: Record, queue_id: str, *, drawn: bool) -> Iterator[str]:
        """`drawn`: nothing tells what made a recipient of the one before."""
        when = clock(record.when)
        match record:
            case Judged():
                yield f"  {when} {record.stage} {record.recipient}: {record.verdict} {record.reply}".rstrip()
                yield f"      by {self._rule(record)}"
                for fact in record.known:
                    yield f"      {fact.subject} {fact.key}: {fact.answer}"
                for effect in record.effects:
                    yield f"      and: {effect}"
            case Stored():
                if record.queue_id != queue_id:
                    to = ", ".join(address for address, _ in record.recipients)
                    yield f"  {when} {record.queue_id} was made of it, for {to}"
                    return
                yield f"  {when} stored"
                for address, before in record.recipients:
                    yield f"      for {address}{f', which was {before}' if before else ''}"
                for before in dict.fromkeys(before for _, before in record.recipients if before and drawn):
                    yield "      as the configuration is now:"
                    for line in self._tree(before):
                        yield f"        {line}"
            case Attempted():
                way = f" by {record.transport}:{record.nexthop}" if record.transport else ""
                yield f"  {when} {record.recipient}: {record.status.action.value}{way}, {record.status.code}:"
                yield f"      {record.status.text}"
            case Operated():
                yield f"  {when} {DID.get(record.operation, record.operation)}"
            case Ended():
                yield f"  {when} done: removed from the queue"

    def refusal(self, judged: Judged) -> Iterator[str]:
        client = judged.facts.client
        recipients = (judged.recipient,) if judged.recipient else judged.recipients
        more = f" and {len(recipients) - _SHOWN} more" if len(recipients) > _SHOWN else ""
        to = f" to {', '.join(f'<{one}>' for one in recipients[:_SHOWN])}{more}" if recipients else ""
        sender = "" if judged.facts.sender is None else f" from <{judged.facts.sender}>"
        yield f"{clock(judged.when)} {client}{sender}{to}"
        yield f"  {self._paint.bad(judged.reply)}"
        yield f"  by {self._rule(judged)}"
        for fact in judged.known:
            yield f"  {fact.subject} {fact.key}: {fact.answer}"
        if changed := self._still.changed(judged):
            yield f"  as the configuration is now: {changed}; `explain --client` plays the session again"
        yield f"  to change it: {self._cure(judged)}"

    def refusal_values(self, judged: Judged) -> dict[str, Any]:
        """For -j."""
        found: dict[str, Any] = _plain(judged)
        return {**found, "time": clock(judged.when), "cure": self._cure(judged), "now": self._still.changed(judged)}

    def _cure(self, judged: Judged) -> str:
        because = judged.because
        rule = Rule(because.name, because.argument, because.origin)
        if not judged.policy:
            return cure_without_policy(rule)
        if (broken := tables.fault(judged.reply, judged.known)) is not None:
            return tables.cure(broken, tables.named(self._settings, rule, judged.service))
        networks, domain = str(self._settings.origin("mynetworks")), judged.recipient.rpartition("@")[2]
        verified = next((fact.answer for fact in judged.known if fact.subject == SUBJECT), "")
        return cure(rule, judged.facts.client.address, networks, domain, verified)

    def _rule(self, judged: Judged) -> str:
        because = judged.because
        if not judged.policy and " " in because.name:
            return f"{because.name} in {judged.stage}"
        if tables.is_table(because.name):
            return f"{because.name}, which could not answer, of {judged.service}"
        where = f" at {because.origin}" if because.file else ", a default"
        return f"{because.name} {because.argument}".strip() + f" of {judged.service}{where}"


# For programs


def values(records: list[Any]) -> list[Any]:
    """As plain values."""
    return [_plain(record) for record in records]


def _plain(record: Any) -> Any:
    if isinstance(record, Struct):
        found = {name: _plain(getattr(record, name)) for name in record.__struct_fields__}
        return {"kind": type(record).__name__.lower(), **found} if isinstance(record, Record) else found
    if isinstance(record, list | tuple):
        return [_plain(one) for one in record]
    return msgspec.to_builtins(record)
