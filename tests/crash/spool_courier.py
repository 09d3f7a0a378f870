"""Program: takes up what is in the spool and settles it, at most 50 at a time. It writes `deliver ID` when a message
leaves, `settled ID` when that is durable, `idle` when nothing is left. One in eight is first put away for no time.
"""

import time
from functools import partial

from tests.crash.played import OPEN, PlayedCourier, play, say, whole

from postwarden.mail.queue import Change, Entry
from postwarden.mail.status import Status

SENT = Status("2.0.0", "delivered")
LATER = Status("4.4.1", "connection refused")


class Courier(PlayedCourier):
    def take(self, entry: Entry) -> None:
        self.open += 1
        queue_id = entry.envelope.queue_id
        if int(queue_id[:5], 16) % 8 == 0 and not entry.attempts:
            self.ledger.settle(Change(entry.key, (), ((0, LATER),), time.time()), self.put_away)
            return
        say(f"{'deliver' if whole(self.ledger, entry, queue_id) else 'broken'} {queue_id}")
        self.ledger.settle(Change(entry.key, ((0, SENT),)), partial(self.settled, queue_id))

    def put_away(self, _: tuple[Entry, ...]) -> None:
        self.open -= 1

    def settled(self, queue_id: str, _: tuple[Entry, ...]) -> None:
        say(f"settled {queue_id}")
        self.open -= 1
        if self.open < OPEN // 2:
            self.fill()


if __name__ == "__main__":
    play(Courier)
