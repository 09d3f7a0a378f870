import asyncio
import socket

from postwarden.ipc.channel import Channel
from postwarden.ipc.records import AddressAsked, AddressKnown, FromReceiver, SegmentSealed, Stored
from postwarden.mail.envelope import Envelope, Recipient
from postwarden.roles import receiver
from postwarden.roles.receiver import Told

HEAD = b"x" * 100_000


def test_a_courier_that_reads_nothing_costs_bounded_memory_and_hears_later_what_is_sealed() -> None:
    ours, theirs = socket.socketpair()
    heard: list[FromReceiver] = []

    async def play() -> None:
        told = Told(ours, lambda _: None)
        for n in range(2000):
            envelope = Envelope(f"ID{n}", 1.0, "", (Recipient("a@b"),), len(HEAD))
            told.stored(Stored(1, n, 1, envelope, HEAD, None))
        assert told.waiting < receiver._BEHIND + 2 * len(HEAD)
        told.sealed(SegmentSealed(1))
        over = asyncio.get_running_loop().create_future()

        def hear(record: FromReceiver, fds: list[int]) -> None:
            heard.append(record)
            if isinstance(record, SegmentSealed):
                over.set_result(None)

        channel: Channel[FromReceiver] = Channel(theirs, FromReceiver, hear, lambda _: None)
        await asyncio.wait_for(over, 20)
        channel.close()
        await asyncio.sleep(0.01)
        assert not told.open

    asyncio.run(play())
    assert 100 < len(heard) < 300


def test_what_is_known_of_an_address_is_told_on() -> None:
    ours, theirs = socket.socketpair()
    heard: list[AddressKnown] = []

    async def play() -> None:
        told = Told(ours, lambda _: None)
        over = asyncio.get_running_loop().create_future()

        def known(answer: AddressKnown) -> None:
            heard.append(answer)
            over.set_result(None)

        told.known = known

        def answer(record: FromReceiver, fds: list[int]) -> None:
            assert isinstance(record, AddressAsked)
            channel.send(AddressKnown(record.number, "bounce", f"no {record.address}"))

        channel: Channel[FromReceiver] = Channel(theirs, FromReceiver, answer, lambda _: None)
        assert told.asked(AddressAsked(7, "joe@example.com"))
        await asyncio.wait_for(over, 20)
        lost = asyncio.get_running_loop().create_future()
        told._gone = lambda: lost.set_result(None)
        channel.close()
        await asyncio.wait_for(lost, 20)
        assert not told.asked(AddressAsked(8, "joe@example.com"))

    asyncio.run(play())
    assert heard == [AddressKnown(7, "bounce", "no joe@example.com")]
