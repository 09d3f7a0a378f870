"""What a receiver tells the courier, and what it is told: credit and slowing down."""

import asyncio
import socket
from collections.abc import Callable

from postwarden.ipc.channel import Channel
from postwarden.ipc.records import Credit, FromReceiver, SegmentSealed, SlowDown, Stored
from postwarden.mail.envelope import Envelope, Recipient
from postwarden.roles.receiver import Told


def stored(number: int, body: bytes | None = b"body\r\n") -> Stored:
    envelope = Envelope("ABC", 1.5, "a@b", (Recipient("c@d"),), 6)
    return Stored(1, number, 3, envelope, b"Subject: x\r\n\r\n", body)


class Courier:
    def __init__(self) -> None:
        ours, self.theirs = socket.socketpair()
        self.heard: list[FromReceiver] = []
        self.channel: Channel[FromReceiver] = Channel(
            ours, FromReceiver, lambda r, _: self.heard.append(r), lambda _: None
        )

    async def until(self, what: Callable[[], object]) -> None:
        async with asyncio.timeout(20):
            while not what():  # noqa: ASYNC110 - nothing tells us
                await asyncio.sleep(0.001)

    def whole(self) -> list[bool]:
        return [r.body is not None for r in self.heard if isinstance(r, Stored)]


def test_past_the_credit_only_envelopes_go_until_more_is_given() -> None:
    async def run() -> list[bool]:
        courier, slow = Courier(), list[float]()
        told = Told(courier.theirs, slow.append)
        for n in range(257):
            told.stored(stored(n))
        await courier.until(lambda: len(courier.heard) == 257)
        courier.channel.send(Credit(1, 1000))
        courier.channel.send(SlowDown(0.5))
        await courier.until(lambda: slow)
        told.stored(stored(257))
        told.stored(stored(258))
        told.sealed(SegmentSealed(1))
        await courier.until(lambda: len(courier.heard) == 260)
        assert slow == [0.5] and courier.heard[-1] == SegmentSealed(1)
        assert [r.offset for r in courier.heard if isinstance(r, Stored)] == list(range(259))
        courier.channel.close()
        await courier.until(lambda: not told.open)
        assert slow == [0.5, 0.0], "the next courier does not know that this one lagged"
        return courier.whole()

    assert asyncio.run(run()) == [True] * 256 + [False] + [True] + [False]


def test_credit_is_of_octets_too() -> None:
    async def run() -> list[bool]:
        courier = Courier()
        told = Told(courier.theirs, lambda seconds: None)
        for n, size in enumerate((10 << 20, 6 << 20, 1)):
            told.stored(stored(n, bytes(size)))
        await courier.until(lambda: len(courier.heard) == 3)
        courier.channel.close()
        await courier.until(lambda: not told.open)
        return courier.whole()

    assert asyncio.run(run()) == [True, True, False]


def test_a_courier_that_reads_nothing_does_not_fill_the_memory() -> None:
    async def run() -> None:
        ours, theirs = socket.socketpair()
        told = Told(theirs, lambda seconds: None)
        for n in range(400):
            told.stored(stored(n, bytes(100_000)))
        most = told.waiting
        for n in range(100_000):
            told.stored(stored(n, None))
        assert told.waiting < most + (64 << 20)
        ours.close()
        async with asyncio.timeout(20):
            while told.open:  # noqa: ASYNC110 - nothing tells us
                await asyncio.sleep(0.001)

    asyncio.run(run())
