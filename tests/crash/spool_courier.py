"""Program: takes up what is in the spool and settles it, at most 50 at a time. It writes `deliver ID` when a message
leaves, `settled ID` when that is durable, `idle` when nothing is left. One in eight is first put away for no time.
"""

import asyncio
import os
import sys
import time
from functools import partial

from postwarden.mail.events import Event
from postwarden.mail.queue import Change, Damaged, Entry
from postwarden.mail.status import Status
from postwarden.net.clock import LoopClock
from postwarden.spool import ledger as ledger_module
from postwarden.spool.ledger import Ledger
from postwarden.spool.params import SpoolParams

SENT = Status("2.0.0", "delivered")
LATER = Status("4.4.1", "connection refused")
OPEN = 50


def tell(event: Event) -> None:
    print(event, file=sys.stderr)


def say(text: str) -> None:
    os.write(1, f"{text}\n".encode())


def whole(ledger: Ledger, entry: Entry) -> bool:
    """The body is made of the queue id."""
    try:
        content = ledger.content(entry.key)
    except Damaged:
        return False
    body = content.body
    if body is None:
        with os.fdopen(content.fd, "rb") as file:
            body = file.read()
    part = entry.envelope.queue_id.encode() + b"."
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

    def fill(self) -> None:
        for entry in self.ledger.due(time.time(), OPEN - self.open) if self.open < OPEN else ():
            self.open += 1
            if int(entry.envelope.queue_id[:5], 16) % 8 == 0 and not entry.attempts:
                self.ledger.settle(Change(entry.key, (), ((0, LATER),), time.time()), self.put_away)
                continue
            queue_id = entry.envelope.queue_id
            say(f"{'deliver' if whole(self.ledger, entry) else 'broken'} {queue_id}")
            self.ledger.settle(Change(entry.key, ((0, SENT),)), partial(self.settled, queue_id))

    def put_away(self, _: tuple[Entry, ...]) -> None:
        self.open -= 1

    def settled(self, queue_id: str, _: tuple[Entry, ...]) -> None:
        say(f"settled {queue_id}")
        self.open -= 1
        if self.open < OPEN // 2:
            self.fill()


async def main(directory: str, once: bool) -> None:
    ledger_module.MOVE_AFTER = 0.1  # type: ignore[misc]
    program = Program(directory, once)
    program.ledger.recover()
    program.turn()
    await program.ended
    program.ledger.close()
    say("idle")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], "once" in sys.argv))
