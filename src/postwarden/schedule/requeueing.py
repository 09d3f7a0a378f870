"""A message that enters the queue once more, as if it came in now (postsuper -r): content is prepared again, under a
new queue id. What was delivered stays so, and whoever is still to hear of it will."""

from msgspec.structs import replace

from postwarden.mail.envelope import Envelope
from postwarden.mail.queue import HOLD, Entry, NewMessage


def anew(entry: Entry, queue_id: str, now: float, content_filter: str) -> Envelope:
    """To be prepared: only with the recipients that are open. `now`: seconds since the epoch. `content_filter`: that of
    pickup, which such mail passes through."""
    old = entry.envelope
    return replace(
        old,
        queue_id=queue_id,
        created=now,
        hold=False,
        filter=content_filter,
        recipients=tuple([old.recipients[index] for index in entry.open]),
        expanded=() if entry.told else old.expanded,
        trace="" if entry.told else old.trace,
    )


def requeued(entry: Entry, envelope: Envelope, head: bytes, due: float) -> NewMessage:
    """What was prepared, ready to be stored in the place of `entry`: `due` then, unless content put it on hold."""
    old, count = entry.envelope, len(envelope.recipients)
    closed = sorted(entry.untold)
    envelope = replace(
        envelope,
        size=len(head) + entry.body_size,
        recipients=(*envelope.recipients, *[old.recipients[index] for index in closed]),
    )
    untold = {count + n: entry.untold[index] for n, index in enumerate(closed)}
    return NewMessage(envelope, head, body_of=entry.key, due=HOLD if envelope.hold else due, untold=untold)
