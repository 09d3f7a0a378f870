"""The receiver's end of the channel to the courier."""

import asyncio
import socket

from postwarden.ipc.channel import Channel
from postwarden.ipc.records import FromReceiver, SlowDown
from postwarden.roles.receiver import Told


def test_a_courier_that_lags_slows_transactions_down_until_it_says_otherwise_or_dies() -> None:
    async def run() -> list[float]:
        here, there = socket.socketpair()
        heard: list[float] = []
        told = Told(here, heard.append)
        courier: Channel[FromReceiver] = Channel(there, FromReceiver, lambda record, fds: None, lambda error: None)
        courier.send(SlowDown(1.5))
        courier.send(SlowDown(0.0))
        courier.send(SlowDown(2.5))
        for _ in range(100):
            if len(heard) == 3:
                break
            await asyncio.sleep(0.01)
        courier.close()
        for _ in range(100):
            if not told.open:
                break
            await asyncio.sleep(0.01)
        return heard

    assert asyncio.run(run()) == [1.5, 0.0, 2.5, 0.0]
