"""Program: a courier that is never done at once. By its queue id a message is put off twice and its sender told (N…),
or returned (R…), or put on hold, or forwarded (T…), or sent. What it makes has a name that no other life of it makes
again. It writes `deliver ID` when a message leaves and `hold ID` when one is durably on hold; with `once` it lets go of
what is on hold, says `released` before, and `idle` when nothing is left.
"""

import asyncio
import os
import secrets
import sys
import time
from functools import partial

from postwarden.mail.envelope import Envelope, Recipient
from postwarden.mail.events import Event
from postwarden.mail.queue import HOLD, Change, Damaged, Entry, NewMessage
from postwarden.mail.status import Status
from postwarden.net.clock import LoopClock
from postwarden.spool import ledger as ledger_module
from postwarden.spool.ledger import Ledger
from postwarden.spool.params import SpoolParams

SENT = Status("2.0.0", "delivered")
LATER = Status("4.4.1", "connection refused")
NEVER = Status("5.1.1", "no such user")
OPEN = 50
RELEASED = 1.0
LATE, RETURNED, HELD, FORWARDED = range(4)


def tell(event: Event) -> None:
    print(event, file=sys.stderr)


def say(text: str) -> None:
    os.write(1, f"{text}\n".encode())


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


def whole(ledger: Ledger, entry: Entry) -> bool:
    """The body is made of the queue id; that of a forward of its parent's."""
    try:
        content = ledger.content(entry.key)
    except Damaged:
        return False
    body = content.body
    if body is None:
        with os.fdopen(content.fd, "rb") as file:
            body = file.read()
    queue_id = entry.envelope.queue_id
    name = queue_id[1:].partition(".")[0] if queue_id[0] == "T" else queue_id
    part = name.encode() + b"."
    return body == part * (len(body) // len(part)) and len(body) == entry.body_size


class Program:
    def __init__(self, directory: str, once: bool) -> None:
        self.loop = asyncio.get_running_loop()
        params = SpoolParams(directory, 0, 1 << 20, False)
        self.ledger = Ledger(params, LoopClock(self.loop), self.loop.call_soon_threadsafe, tell, grown=1 << 20)
        self.open = 0
        self.once = once
        self.ended = self.loop.create_future()
        self.quiet = 0
        self.parent = os.getppid()

    def turn(self) -> None:
        for instance in (1, 2):
            self.ledger.linked(instance)
        self.ledger.sweep(time.time())
        self.fill()
        self.quiet = self.quiet + 1 if not self.open else 0
        if (self.once and self.quiet > 30) or os.getppid() != self.parent:
            self.ended.set_result(None)
        else:
            self.loop.call_later(0.01, self.turn)

    def release(self) -> None:
        """By pages, as postsuper does."""
        say("released")
        cursor = None
        while True:
            page, cursor = self.ledger.page(cursor)
            for entry in self.ledger.pick([listed.key for listed in page if listed.due >= HOLD]):
                self.open += 1
                self.ledger.settle(Change(entry.key, due=RELEASED), self.put_away)
            if cursor is None:
                return

    def fill(self) -> None:
        for entry in self.ledger.due(time.time(), OPEN - self.open) if self.open < OPEN else ():
            self.take(entry)

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
            say(f"{'deliver' if whole(self.ledger, entry) else 'broken'} {queue_id}")
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


async def main(directory: str, once: bool) -> None:
    ledger_module.MOVE_AFTER = 0.1  # type: ignore[misc]
    program = Program(directory, once)
    program.ledger.recover()
    if once:
        program.release()
    program.turn()
    await program.ended
    program.ledger.close()
    say("idle")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], "once" in sys.argv))
