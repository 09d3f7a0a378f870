import asyncio
import socket

from postwarden.ipc.channel import Channel
from postwarden.ipc.records import Credit, FromReceiver, SlowDown, Stored
from postwarden.mail.envelope import Envelope
from postwarden.roles.receiver import _MESSAGES, _OCTETS, Told


def stored(body: bytes | None, body_file: str = "") -> Stored:
    return Stored(1, 0, 10, Envelope("Q", 0.0, "", (), 10), b"A: b\r\n\r\n", body, body_file)


async def tell(records: list[Stored], answers: list[Credit | SlowDown]) -> tuple[list[Stored], list[float]]:
    """What the courier hears of `records` when it says `answers` first."""
    ours, theirs = socket.socketpair()
    slow: list[float] = []
    heard: list[Stored] = []
    over = asyncio.Event()

    def on_record(record: FromReceiver, fds: list[int]) -> None:
        assert isinstance(record, Stored)
        heard.append(record)
        if len(heard) == len(records):
            over.set()

    told = Told(ours, slow.append)
    courier: Channel[FromReceiver] = Channel(theirs, FromReceiver, on_record, lambda error: None)
    for answer in answers:
        courier.send(answer)
    for _ in range(20):
        await asyncio.sleep(0)
    for record in records:
        told.stored(record)
    await asyncio.wait_for(over.wait(), 10)
    courier.close()
    return heard, slow


def test_past_the_credit_of_messages_only_envelopes_go() -> None:
    heard, _ = asyncio.run(tell([stored(b"x") for _ in range(_MESSAGES + 2)], []))
    assert [record.body for record in heard] == [b"x"] * _MESSAGES + [None] * 2
    assert heard[-1].head == b"A: b\r\n\r\n"


def test_past_the_credit_of_octets_only_envelopes_go() -> None:
    half = b"x" * (_OCTETS // 2)
    heard, _ = asyncio.run(tell([stored(half), stored(half), stored(b"y")], []))
    assert [record.body is None for record in heard] == [False, False, True]


def test_credit_comes_back_and_slowness_is_heard() -> None:
    heard, slow = asyncio.run(tell([stored(b"x") for _ in range(_MESSAGES + 2)], [Credit(1, 1), SlowDown(0.5)]))
    assert [record.body for record in heard] == [b"x"] * (_MESSAGES + 1) + [None]
    assert slow[0] == 0.5


def test_a_body_with_a_file_of_its_own_takes_no_credit() -> None:
    records = [stored(None, "name") for _ in range(_MESSAGES)] + [stored(b"x")]
    heard, _ = asyncio.run(tell(records, []))
    assert heard[-1].body == b"x"
