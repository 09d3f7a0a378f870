"""Receivers, as the courier sees them: what they are owed in credit, and whether they are slowed down."""

from collections.abc import Callable

from postwarden.ipc.records import Credit, SlowDown, ToReceiver

_CREDIT_MESSAGES = 64
_CREDIT_OCTETS = 4 << 20


class Sender:
    """One receiver's channel. Credit goes back a quarter of the window at a time, to save records."""

    __slots__ = ("_messages", "_octets", "instance", "send")

    def __init__(self, instance: int, send: Callable[[ToReceiver], None]) -> None:
        self.instance = instance
        self.send = send
        self._messages = 0
        self._octets = 0

    def released(self, octets: int) -> None:
        self._messages += 1
        self._octets += octets
        if self._messages >= _CREDIT_MESSAGES or self._octets >= _CREDIT_OCTETS:
            self.send(Credit(self._messages, self._octets))
            self._messages = self._octets = 0


class Inflow:
    """in_flow_delay: receivers wait before each transaction while the active queue is full, until a quarter of it is
    free and nothing waits on disk."""

    def __init__(self, limit: int, delay: float) -> None:
        self._limit = limit
        self._delay = delay
        self._slow = False
        self._senders: list[Sender] = []

    def configure(self, limit: int, delay: float) -> None:
        self._limit, self._delay = limit, delay
        if self._slow and not delay:
            self._tell(False)

    def join(self, sender: Sender) -> None:
        self._senders.append(sender)
        if self._slow:
            sender.send(SlowDown(self._delay))

    def leave(self, sender: Sender) -> None:
        if sender in self._senders:
            self._senders.remove(sender)

    def watch(self, active: int, waiting: bool) -> None:
        """Call when the number of active messages has changed."""
        if not self._slow:
            if active >= self._limit and self._delay:
                self._tell(True)
        elif active < self._limit * 3 // 4 and not waiting:
            self._tell(False)

    def _tell(self, slow: bool) -> None:
        self._slow = slow
        for sender in self._senders:
            sender.send(SlowDown(self._delay if slow else 0.0))
