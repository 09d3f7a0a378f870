"""A courier that is played by a program, on the real ledger: what those programs share."""

import asyncio
import os
import sys
import time
from abc import ABC, abstractmethod

from postwarden.mail.events import Event
from postwarden.mail.queue import Damaged, Entry
from postwarden.net.clock import LoopClock
from postwarden.spool import ledger as ledger_module
from postwarden.spool.ledger import Ledger
from postwarden.spool.params import SpoolParams

OPEN = 50


def tell(event: Event) -> None:
    print(event, file=sys.stderr)


def say(text: str) -> None:
    os.write(1, f"{text}\n".encode())


def whole(ledger: Ledger, entry: Entry, name: str) -> bool:
    """The body is made of `name`, the queue id of the message that it came with."""
    try:
        content = ledger.content(entry.key)
    except Damaged:
        return False
    body = content.body
    if body is None:
        with os.fdopen(content.fd, "rb") as file:
            body = file.read()
    part = name.encode() + b"."
    return body == part * (len(body) // len(part)) and len(body) == entry.body_size


class PlayedCourier(ABC):
    """Has at most OPEN messages in its hands; with `once` it ends when nothing has come for a while, else when the
    test that started it is gone."""

    def __init__(self, directory: str, *, once: bool) -> None:
        self.loop = asyncio.get_running_loop()
        params = SpoolParams(directory, 0, 1 << 20, False)
        self.ledger = Ledger(params, LoopClock(self.loop), self.loop.call_soon_threadsafe, tell, grown=1 << 20)
        self.open = 0
        self.once = once
        self._ended = self.loop.create_future()
        self._quiet = 0
        self._parent = os.getppid()

    @abstractmethod
    def take(self, entry: Entry) -> None:
        """Do with a message what is to be done, and count it in `open` meanwhile."""

    def begin(self) -> None:  # noqa: B027
        """Before the first turn; usually there is nothing to do."""

    def fill(self) -> None:
        for entry in self.ledger.due(time.time(), OPEN - self.open) if self.open < OPEN else ():
            self.take(entry)

    def _turn(self) -> None:
        for instance in (1, 2):
            self.ledger.linked(instance)
        self.ledger.sweep(time.time())
        self.fill()
        self._quiet = self._quiet + 1 if not self.open else 0
        if (self.once and self._quiet > 30) or os.getppid() != self._parent:
            self._ended.set_result(None)
        else:
            self.loop.call_later(0.01, self._turn)

    async def run(self) -> None:
        ledger_module.MOVE_AFTER = 0.1  # type: ignore[misc]
        self.ledger.recover()
        self.begin()
        self._turn()
        await self._ended
        self.ledger.close()
        say("idle")


def play(courier: type[PlayedCourier]) -> None:
    """The program: DIRECTORY [once]."""

    async def main() -> None:
        await courier(sys.argv[1], once="once" in sys.argv).run()

    asyncio.run(main())
