"""How a recorded message stands: the last word on each recipient, what an operator did, what became of its forwards."""

import time
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType

from msgspec import Struct

from postwarden.cli.explaining.local_replies import meaning_of
from postwarden.cli.explaining.paint import Paint
from postwarden.ipc.queue_records import DELETE, EXPIRE, FORCE_EXPIRE, HOLD, RELEASE, REQUEUE
from postwarden.mail.status import Action
from postwarden.trace.records import Attempted, Ended, Judged, Operated, Record, Stored
from postwarden.trace.search import History

DID: Mapping[str, str] = MappingProxyType({
    DELETE: "deleted by an operator (postsuper -d)",
    HOLD: "put on hold by an operator (postsuper -h)",
    RELEASE: "released from hold by an operator (postsuper -H)",
    REQUEUE: "requeued by an operator (postsuper -r), under a new queue id",
    EXPIRE: "expired by an operator (postsuper -e): what can't be delivered now is returned",
    FORCE_EXPIRE: "expired and released by an operator (postsuper -f): what can't be delivered now is returned",
})  # fmt: skip
"""What it says of an operation."""


class Standing(Struct):
    """Of one message."""

    last: dict[str, Attempted]
    """By recipient."""
    gone: Operated | None = None
    """Why nothing is tried any more, although not all is delivered."""
    held: float = 0.0
    """On hold since; 0: it is not."""
    by: str = ""
    """Who put it there."""


def standing(records: Iterable[Record]) -> Standing:
    """`records` of one message, in order of time."""
    found = Standing({})
    for record in records:
        match record:
            case Attempted():
                found.last[record.recipient] = record
                found.held = 0.0
            case Judged() if any(effect.partition(" ")[0] == "hold" for effect in record.effects):
                found.held, found.by = record.when, f"{record.because.name} {record.because.argument}".strip()
            case Operated():
                _operated(found, record)
            case Ended():
                found.held = 0.0
    return found


def _operated(found: Standing, record: Operated) -> None:
    if record.operation in (DELETE, REQUEUE):
        found.gone, found.held = record, 0.0
    elif record.operation == HOLD:
        found.held, found.by = record.when, "an operator (postsuper -h)"
    elif record.operation in (RELEASE, FORCE_EXPIRE):
        found.held = 0.0


def ends(history: History, paint: Paint) -> Iterator[str]:
    """The last word on each recipient, the reason first."""
    now = standing(history.records)
    if now.gone is not None:
        yield paint.bad(f"  {DID[now.gone.operation]} at {clock(now.gone.when)}")
    elif now.held:
        yield paint.bad(f"  on hold since {clock(now.held)}, by {now.by}")
        yield f"    what to do: `postsuper -H {history.queue_id}` lets it go; until then it is not tried"
    for recipient, attempt in now.last.items():
        yield from _end(recipient, attempt, now, paint)
    yield from _offspring(history, paint)


def _end(recipient: str, attempt: Attempted, now: Standing, paint: Paint) -> Iterator[str]:
    status = attempt.status
    waits = status.action is Action.DEFERRED
    word = status.action.value
    if waits and now.gone is not None:
        word = f"no longer tried; at {clock(attempt.when)} {word}"
    elif waits and now.held:
        word = f"on hold; at {clock(attempt.when)} {word}"
    text = f"  {recipient}: {word}: {status.text}"
    yield paint.good(text) if status.code[0] == "2" else paint.bad(text)
    if status.cause:
        yield f"    decided by {status.cause}{f' at {status.origin}' if status.origin else ''}"
    said = meaning_of(status)
    if status.code[0] != "2" and said is not None:
        yield f"    what it means: {said.means}"
        if not (waits and (now.gone is not None or now.held)):
            yield f"    what to do: {said.cure}"


def _offspring(history: History, paint: Paint) -> Iterator[str]:
    """What became of forwards and reports, and of those made of them."""
    by_id: dict[str, list[Record]] = {}
    for record in history.offspring:
        if not isinstance(record, Judged):
            by_id.setdefault(record.queue_id, []).append(record)
    for queue_id, records in by_id.items():
        stored = next((one for one in records if isinstance(one, Stored)), None)
        now = standing(records)
        for address, _ in () if stored is None else stored.recipients:
            if address not in now.last:
                yield f"  {queue_id}, made of it, for {address}: {_untried(now)}"
        for recipient, attempt in now.last.items():
            what = f"  {queue_id}, made of it, for "
            first, *more = _end(recipient, attempt, now, Paint(coloured=False))
            text = what + first.strip()
            yield paint.good(text) if attempt.status.code[0] == "2" else paint.bad(text)
            yield from more


def _untried(now: Standing) -> str:
    if now.gone is not None:
        return DID[now.gone.operation]
    return f"on hold since {clock(now.held)}" if now.held else "not tried yet"


def clock(when: float) -> str:
    """Local time, for people."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(when))
