"""A peer that never reads."""

import asyncio
import socket
from collections.abc import Callable

import pytest
import uvloop

from postwarden.net.stream import SocketStream, Stream
from postwarden.testing.stream import Recorder


class Talker(Recorder):
    """Says more than any buffer of the kernel takes, and closes."""

    def opened(self, stream: Stream) -> None:
        super().opened(stream)
        stream.write(bytes(16 << 20))
        stream.close()


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_it_does_not_keep_the_connection(new_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def run() -> bool:
        loop, talker = asyncio.get_running_loop(), Talker()

        def accept() -> SocketStream:
            stream = SocketStream(talker, loop)
            stream.linger = 0.05
            return stream

        server = await loop.create_server(accept, "127.0.0.1", 0)
        with socket.create_connection(server.sockets[0].getsockname()):
            for _ in range(3000):
                if talker.is_closed:
                    break
                await asyncio.sleep(0.02)
        server.close()
        return talker.is_closed

    with asyncio.Runner(loop_factory=new_loop) as runner:
        assert runner.run(run())
