"""Program: stores messages, 20 at a time, and writes each answered queue id to standard output."""

import asyncio
import os
import random
import sys
from functools import partial

from postwarden.mail.events import Event
from postwarden.mail.reply import Reply
from postwarden.net.clock import LoopClock
from postwarden.spool import appender as appender_module
from postwarden.spool.appender import Appender
from postwarden.spool.params import SpoolParams
from postwarden.testing.spool import envelope

PAUSE = 0.01
HEAD = b"Subject: kill\r\n\r\n"


def body(queue_id: str, size: int) -> bytes:
    return (queue_id.encode() + b".") * (size // (len(queue_id) + 1))


def tell(event: Event) -> None:
    print(event, file=sys.stderr)


async def main(directory: str, instance: int) -> None:
    loop = asyncio.get_running_loop()
    appender_module.SEGMENT_SIZE = 400_000  # type: ignore[misc]
    params = SpoolParams(directory, 0, 1 << 20, False)
    appender = Appender(params, instance, LoopClock(loop), loop.call_soon_threadsafe, tell)
    choice = random.Random()

    def store() -> None:
        queue_id = appender.new_queue_id()
        content = body(queue_id, choice.choice((100, 5_000, 5_000, 5_000, 300_000 if choice.random() < 0.05 else 900)))
        draft = appender.draft()
        draft.write(content)
        draft.commit(envelope(queue_id, HEAD, content), HEAD, partial(answered, queue_id))

    def answered(queue_id: str, fault: Reply | None) -> None:
        if fault is None:
            os.write(1, f"{queue_id}\n".encode())
        loop.call_later(PAUSE, store)

    for _ in range(20):
        store()
    parent, orphaned = os.getppid(), asyncio.Event()

    def watch() -> None:
        if os.getppid() != parent:
            orphaned.set()
        loop.call_later(1, watch)

    watch()
    await orphaned.wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
