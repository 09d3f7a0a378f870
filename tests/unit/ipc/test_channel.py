import asyncio
import os
import socket
from collections.abc import Callable

import msgspec
import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st

from postwarden.ipc.channel import HELLO, MAX_FRAME, BlockingChannel, Channel, ChannelError, Decoder, frame
from postwarden.ipc.records import Credit, Link, Outcome, SlowDown, Stored, ToReceiver
from postwarden.mail.envelope import Envelope, Recipient


def stored(body: bytes) -> Stored:
    envelope = Envelope("ABC", 1.5, "a@b", (Recipient("c@d"),), len(body))
    return Stored(1, 2, 3, envelope, b"Subject: x\r\n\r\n", body)


@given(st.lists(st.integers(0, 1000), max_size=20), st.integers(1, 40))
def test_records_survive_any_cut(numbers: list[int], step: int) -> None:
    data = HELLO + b"".join(frame(Credit(n, n)) for n in numbers)
    decoder: Decoder[ToReceiver] = Decoder(ToReceiver)
    got = [r for at in range(0, len(data), step) for r, _ in decoder.feed(data[at : at + step])]
    assert got == [Credit(n, n) for n in numbers]


@given(st.binary(max_size=200))
def test_nonsense_is_a_channel_error_and_nothing_else(data: bytes) -> None:
    decoder: Decoder[Stored] = Decoder(Stored)
    try:
        decoder.feed(HELLO + data)
    except ChannelError:
        pass
    finally:
        decoder.close()


def test_text_that_is_no_utf8_is_a_channel_error() -> None:
    decoder: Decoder[Stored] = Decoder(Stored)
    with pytest.raises(ChannelError):
        decoder.feed(HELLO + frame(stored(b"x")).replace(b"a@b", b"\xff\xfe\x80"))


def test_another_version_is_refused() -> None:
    with pytest.raises(ChannelError, match="version"):
        Decoder(ToReceiver).feed(b"PWff....")


def test_a_frame_that_is_too_long_is_refused_before_it_is_read() -> None:
    with pytest.raises(ChannelError, match="frame"):
        Decoder(ToReceiver).feed(HELLO + (MAX_FRAME + 1).to_bytes(4) + b"\0")


def test_a_descriptor_that_did_not_come_is_refused() -> None:
    with pytest.raises(ChannelError, match="descriptor"):
        Decoder(ToReceiver).feed(HELLO + frame(Credit(1, 1), 1))


@pytest.mark.parametrize(
    "payload", [HELLO + frame(Credit(1, 1)), HELLO + frame(Credit(1, 1)) + frame(Credit(2, 2))[:7]]
)
def test_descriptors_that_no_record_names_end_the_channel(payload: bytes) -> None:
    decoder: Decoder[ToReceiver] = Decoder(ToReceiver)
    reader, writer = os.pipe()
    with pytest.raises(ChannelError, match="descriptors"):
        decoder.feed(HELLO + frame(Credit(0, 0), 1) + payload.removeprefix(HELLO), [writer, reader])
    decoder.close()
    for fd in (reader, writer):
        with pytest.raises(OSError):
            os.fstat(fd)


def test_a_descriptor_may_come_before_the_rest_of_its_frame() -> None:
    decoder: Decoder[ToReceiver] = Decoder(ToReceiver)
    data = HELLO + frame(Credit(1, 1), 1)
    assert decoder.feed(data[:6], [7]) == []
    assert decoder.feed(data[6:10]) == []
    assert decoder.feed(data[10:]) == [(Credit(1, 1), [7])]


def test_a_role_cannot_decode_what_is_not_meant_for_it() -> None:
    with pytest.raises(ChannelError, match="record"):
        Decoder(Outcome).feed(HELLO + frame(stored(b"x")))


async def pair(kind: object, act: Callable[[Channel[ToReceiver], Channel[ToReceiver]], None]) -> list[object]:
    """Two ends; `act(a, b)`; what b hears until it is closed."""
    left, right = socket.socketpair()
    heard: list[object] = []
    over = asyncio.get_running_loop().create_future()
    a: Channel[ToReceiver] = Channel(left, kind, lambda record, fds: None, lambda error: None)
    b: Channel[ToReceiver] = Channel(
        right, kind, lambda record, fds: heard.extend([record, *fds]), lambda error: over.set_result(None)
    )
    act(a, b)
    await asyncio.wait_for(over, 10)
    return heard


def test_large_records_and_descriptors_keep_their_order() -> None:
    body = os.urandom(3 << 20)
    reader, writer = os.pipe()

    def act(a: Channel[ToReceiver], b: Channel[ToReceiver]) -> None:
        loop = asyncio.get_running_loop()
        a.send(stored(body))
        a.send(Link("courier", 0, 0), [reader])
        a.send(stored(b"small"))
        b._on_record = collect
        loop.call_later(0, wait_until_sent, a)

    def wait_until_sent(a: Channel[ToReceiver]) -> None:
        if a.waiting:
            asyncio.get_running_loop().call_later(0.001, wait_until_sent, a)
        else:
            a.close()

    records: list[object] = []

    def collect(record: object, fds: list[int]) -> None:
        records.append(record)
        for fd in fds:
            os.write(writer, b"through the pipe")
            assert os.read(fd, 100) == b"through the pipe"
            os.close(fd)

    asyncio.run(pair(Stored | LinkTwin, act))
    os.close(writer)
    assert [type(r).__name__ for r in records] == ["Stored", "LinkTwin", "Stored"]
    assert isinstance(records[0], Stored) and records[0].body == body


class LinkTwin(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """`Link` as seen by a vocabulary that also has `Stored`."""

    role: str
    instance: int
    generation: int


def test_send_after_close_takes_the_descriptors_along() -> None:
    reader, writer = os.pipe()
    os.close(writer)

    def act(a: Channel[ToReceiver], b: Channel[ToReceiver]) -> None:
        a.close()
        a.send(Credit(1, 1), [reader])

    asyncio.run(pair(ToReceiver, act))
    with pytest.raises(OSError):
        os.fstat(reader)


def test_blocking_end_talks_to_the_loop_end() -> None:
    left, right = socket.socketpair()

    async def run() -> list[object]:
        heard: list[object] = []
        got = asyncio.Event()

        def on_record(record: ToReceiver, fds: list[int]) -> None:
            heard.append(record)
            got.set()

        channel: Channel[ToReceiver] = Channel(left, ToReceiver, on_record, lambda error: None)
        blocking: BlockingChannel[ToReceiver] = BlockingChannel(right, ToReceiver)
        blocking.send(SlowDown(0.5))
        channel.send(Credit(7, 8))
        await asyncio.wait_for(got.wait(), 10)
        await asyncio.sleep(0)
        heard += [r for r, _ in blocking.receive() or []]
        channel.close()
        assert blocking.receive() is None
        right.close()
        return heard

    assert asyncio.run(run()) == [SlowDown(0.5), Credit(7, 8)]


def test_what_the_other_end_said_before_it_went_is_heard_though_nothing_can_be_sent_to_it() -> None:
    left, right = socket.socketpair()
    right.sendall(HELLO + frame(Credit(1, 2)))
    right.close()
    reader, writer = os.pipe()
    os.close(writer)
    heard: list[object] = []

    async def run() -> None:
        over = asyncio.get_running_loop().create_future()
        channel: Channel[ToReceiver] = Channel(
            left, ToReceiver, lambda record, fds: heard.append(record), lambda error: over.set_result(error)
        )
        channel.send(Credit(1, 1), [reader])
        channel._flush()
        channel.send(Credit(1, 1))
        assert channel.waiting == 0
        await asyncio.wait_for(over, 10)

    asyncio.run(run())
    assert heard == [Credit(1, 2)]
    with pytest.raises(OSError):
        os.fstat(reader)


def test_a_bug_with_one_record_does_not_cost_the_next() -> None:
    heard: list[object] = []
    bugs: list[object] = []

    def act(a: Channel[ToReceiver], b: Channel[ToReceiver]) -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: bugs.append(context["exception"]))

        def hear(record: object, fds: list[int]) -> None:
            heard.append(record)
            if len(heard) == 1:
                raise ZeroDivisionError
            a.close()

        b._on_record = hear
        a.send(Credit(1, 1))
        a.send(Credit(2, 2))

    asyncio.run(pair(ToReceiver, act))
    assert heard == [Credit(1, 1), Credit(2, 2)]
    assert [type(bug) for bug in bugs] == [ZeroDivisionError]


def test_nothing_is_heard_after_close() -> None:
    heard: list[object] = []

    def act(a: Channel[ToReceiver], b: Channel[ToReceiver]) -> None:
        def hear(record: object, fds: list[int]) -> None:
            heard.append(record)
            b.close()

        b._on_record = hear
        a.send(Credit(1, 1))
        a.send(Credit(2, 2))

    asyncio.run(pair(ToReceiver, act))
    assert heard == [Credit(1, 1)]


@given(st.binary(min_size=1, max_size=50), st.integers(1, 30))
def test_nothing_keeps_the_buffer_that_is_read_into(body: bytes, step: int) -> None:
    data = HELLO + frame(stored(body)) + frame(stored(body * 2))
    decoder: Decoder[Stored] = Decoder(Stored)
    buffer = bytearray(step)
    got = []
    for at in range(0, len(data), step):
        piece = data[at : at + step]
        buffer[: len(piece)] = piece
        got += [record.body for record, _ in decoder.feed(memoryview(buffer)[: len(piece)])]
        buffer[:] = bytes(step)
    assert got == [body, body * 2]


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_the_end_of_one_who_has_not_read_all_is_heard(new_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """The socket then has an error, and libuv watches it no more."""

    async def main() -> Exception | None:
        ours, theirs = socket.socketpair()
        over = asyncio.get_running_loop().create_future()
        channel: Channel[ToReceiver] = Channel(ours, ToReceiver, lambda record, fds: None, over.set_result)
        channel.send(stored(b"never read"))
        while channel.waiting:  # noqa: ASYNC110 - nothing tells us
            await asyncio.sleep(0)
        theirs.close()
        error: Exception | None = await asyncio.wait_for(over, 60)
        return error

    with asyncio.Runner(loop_factory=new_loop) as runner:
        assert isinstance(runner.run(main()), ConnectionResetError)
