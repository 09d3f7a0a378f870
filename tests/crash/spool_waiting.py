"""Program: a courier that is never done at once. By its queue id a message is put off twice and its sender told (N…),
or returned (R…), or put on hold, or forwarded (T…), or sent. What it makes has a name that no other life of it makes
again. It writes `deliver ID` when a message leaves and `hold ID` when one is durably on hold; with `once` it lets go of
what is on hold, says `released` before, and `idle` when nothing is left.
"""

import secrets
import time
from functools import partial

from tests.crash.played import OPEN, PlayedCourier, play, say, whole

from postwarden.mail.envelope import Envelope, Recipient
from postwarden.mail.queue import HOLD, Change, Entry, NewMessage
from postwarden.mail.status import Status

SENT = Status("2.0.0", "delivered")
LATER = Status("4.4.1", "connection refused")
NEVER = Status("5.1.1", "no such user")
RELEASED = 1.0
LATE, RETURNED, HELD, FORWARDED = range(4)


def fate(queue_id: str) -> int:
    return int(queue_id[:5], 16) % 8 if queue_id[0] not in "NRT" else -1


def made(kind: str, entry: Entry) -> NewMessage:
    """A report, or a forward."""
    queue_id = f"{kind}{entry.envelope.queue_id}.{secrets.token_hex(4)}"
    head, body = b"Subject: made\r\n\r\n", (queue_id.encode() + b".") * 20
    envelope = Envelope(queue_id, time.time(), "", (Recipient("sender@example.org"),), len(head) + len(body))
    if kind == "T":
        return NewMessage(envelope, head, body_of=entry.key)
    return NewMessage(envelope, head, body)


def written_in(queue_id: str) -> str:
    """What its body is made of: a forward has its parent's."""
    return queue_id[1:].partition(".")[0] if queue_id[0] == "T" else queue_id


class Courier(PlayedCourier):
    def begin(self) -> None:
        """By pages, as postsuper does."""
        if not self.once:
            return
        say("released")
        cursor = None
        while True:
            page, cursor = self.ledger.page(cursor)
            for entry in self.ledger.pick([listed.key for listed in page if listed.due >= HOLD]):
                self.open += 1
                self.ledger.settle(Change(entry.key, due=RELEASED), self.put_away)
            if cursor is None:
                return

    def take(self, entry: Entry) -> None:
        self.open += 1
        queue_id = entry.envelope.queue_id
        sort = fate(queue_id)
        if sort == LATE and entry.attempts < 2:
            notices = () if entry.warned else (made("N", entry),)
            change = Change(entry.key, (), ((0, LATER),), time.time(), notices, warned=True, sites=("x.example",))
            self.ledger.settle(change, self.put_away)
        elif sort == HELD and entry.due != RELEASED and not self.once:
            self.ledger.settle(Change(entry.key, due=HOLD), partial(self.held, queue_id))
        elif sort == RETURNED:
            self.ledger.settle(Change(entry.key, ((0, NEVER),), spawned=(made("R", entry),)), self.put_away)
        elif sort == FORWARDED:
            self.ledger.settle(Change(entry.key, ((0, SENT),), spawned=(made("T", entry),)), self.put_away)
        else:
            say(f"{'deliver' if whole(self.ledger, entry, written_in(queue_id)) else 'broken'} {queue_id}")
            self.ledger.settle(Change(entry.key, ((0, SENT),)), self.put_away)

    def held(self, queue_id: str, _: tuple[Entry, ...]) -> None:
        say(f"hold {queue_id}")
        self.open -= 1

    def put_away(self, spawned: tuple[Entry, ...]) -> None:
        self.open -= 1
        for entry in spawned:
            self.take(entry)
        if self.open < OPEN // 2:
            self.fill()


if __name__ == "__main__":
    play(Courier)
