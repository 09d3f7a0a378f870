import asyncio
import errno
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
import uvloop

from postwarden.mail.host import Host
from postwarden.net.dial import SocketDial, SourceError, set_window
from postwarden.testing.stream import Recorder

LOOPS = [asyncio.new_event_loop, uvloop.new_event_loop]


class Caller(Recorder):
    def __init__(self) -> None:
        super().__init__()
        self.event = asyncio.Event()
        self.error: OSError | None = None

    def opened(self, stream: object) -> None:
        super().opened(stream)  # type: ignore[arg-type]
        self.event.set()

    def failed(self, error: OSError) -> None:
        self.error = error
        self.event.set()

    def closed(self, reason: Exception | None) -> None:
        super().closed(reason)
        self.event.set()


def dial(new_loop: Callable[[], asyncio.AbstractEventLoop], host: Host, **options: object) -> Caller:
    async def call() -> Caller:
        caller = Caller()
        values = {"timeout": 5.0, **options}
        SocketDial(asyncio.get_running_loop()).connect(host, caller, caller.failed, **values)  # type: ignore[arg-type]
        assert not caller.event.is_set()
        await asyncio.wait_for(caller.event.wait(), 5)
        if caller.stream is not None:
            caller.event.clear()
            caller.stream.close()
            await asyncio.wait_for(caller.event.wait(), 5)
        return caller

    with asyncio.Runner(loop_factory=new_loop) as runner:
        return runner.run(call())


@pytest.fixture
def listener() -> socket.socket:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield sock  # type: ignore[misc]


@pytest.mark.parametrize("new_loop", LOOPS)
def test_connected(new_loop: Callable[[], asyncio.AbstractEventLoop], listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    caller = dial(new_loop, Host("localhost", "127.0.0.1", port), source="127.0.0.77")
    assert caller.stream is not None
    assert caller.stream.peer == ("127.0.0.1", port)
    assert caller.stream.local[0] == "127.0.0.77"


@pytest.mark.parametrize("new_loop", LOOPS)
def test_refused(new_loop: Callable[[], asyncio.AbstractEventLoop], listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    listener.close()
    error = dial(new_loop, Host("localhost", "127.0.0.1", port)).error
    assert error is not None and error.errno == errno.ECONNREFUSED


@pytest.mark.parametrize("new_loop", LOOPS)
def test_no_answer(new_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        waiting = []
        for _ in range(3):
            sock = socket.socket()
            sock.setblocking(False)
            sock.connect_ex(full.getsockname())
            waiting.append(sock)
        caller = dial(new_loop, Host("localhost", "127.0.0.1", full.getsockname()[1]), timeout=0.05)
        assert isinstance(caller.error, TimeoutError) and caller.error.errno == errno.ETIMEDOUT
        for sock in waiting:
            sock.close()


@pytest.mark.parametrize("new_loop", LOOPS)
def test_a_source_that_is_not_ours(new_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    error = dial(new_loop, Host("localhost", "127.0.0.1", 9), source="192.0.2.123").error
    assert isinstance(error, SourceError) and error.errno == errno.EADDRNOTAVAIL


@pytest.mark.parametrize("new_loop", LOOPS)
def test_a_unix_socket(new_loop: Callable[[], asyncio.AbstractEventLoop], tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(path)
        sock.listen()
        assert dial(new_loop, Host("mx.example.com", "", 0, path=path)).stream is not None
    missing = dial(new_loop, Host("mx.example.com", "", 0, path=f"{path}.not")).error
    assert missing is not None and missing.errno == errno.ENOENT


def test_the_kernels_buffers_are_as_large_as_the_operator_wants(listener: socket.socket) -> None:
    with socket.socket() as sock:
        set_window(sock, 8192)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) == 2 * 8192  # socket(7)
    port = listener.getsockname()[1]

    async def call() -> None:
        caller = Caller()
        host = Host("localhost", "127.0.0.1", port)
        SocketDial(asyncio.get_running_loop(), 8192).connect(host, caller, caller.failed, timeout=60)
        await asyncio.wait_for(caller.event.wait(), 60)
        assert caller.stream is not None
        sock = caller.stream._transport.get_extra_info("socket")  # type: ignore[attr-defined]
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) == 2 * 8192
        caller.event.clear()
        caller.stream.close()
        await asyncio.wait_for(caller.event.wait(), 60)

    asyncio.run(call())
