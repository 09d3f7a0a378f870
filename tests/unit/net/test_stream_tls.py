"""The moments of a handshake that only a hand-made client can produce."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvloop

from postwarden.net.stream import SocketStream, Stream
from postwarden.testing.certificate import write_certificate
from postwarden.testing.stream import Recorder

LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


class Counting(Recorder):
    def __init__(self) -> None:
        super().__init__()
        self.ends = 0

    def closed(self, reason: Exception | None) -> None:
        self.ends += 1
        super().closed(reason)

    def received(self, data: bytes) -> None:
        assert not self.ends
        super().received(data)


class Client:
    """TLS by hand over a blocking socket: says when each flight leaves."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=20)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._in, self._out)

    def last_flight(self) -> bytes:
        """Shake hands up to our last flight, which is returned and not sent."""
        with contextlib.suppress(ssl.SSLWantReadError):
            self.tls.do_handshake()
        self.socket.sendall(self._out.read())
        while True:
            data = self.socket.recv(65536)
            assert data, "the server hung up"
            self._in.write(data)
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                continue
            return self._out.read()

    def encrypted(self, data: bytes) -> bytes:
        self.tls.write(data)
        return self._out.read()


@pytest.fixture(params=LOOPS)
def runner(request: pytest.FixtureRequest) -> Iterator[asyncio.Runner]:
    with asyncio.Runner(loop_factory=LOOPS[request.param]) as runner:
        yield runner


@pytest.fixture
def server_tls(tmp_path: Path) -> ssl.SSLContext:
    write_certificate(tmp_path / "pem", "far.example")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "pem")
    return context


class Door:
    """A gate that writes down who passes."""

    def __init__(self, *, open_: bool = True) -> None:
        self._open = open_
        self.said: list[str] = []
        self.over: list[tuple[Exception | None, bool]] = []

    def begins(self, peer: str) -> bool:
        self.said.append(peer)
        return self._open

    def ends(self, peer: str, error: Exception | None, *, secured: bool) -> None:
        self.said.append(peer)
        self.over.append((error, secured))


def play(
    runner: asyncio.Runner,
    context: ssl.SSLContext,
    ear: Counting,
    act: Callable[[int], None],
    gate: Door | None = None,
) -> list[Any]:
    """Serve one connection to `act(port)` on a thread until it is over; what the loop complained of."""
    complaints: list[Any] = []

    async def serve() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda loop, context: complaints.append(context))
        server = await loop.create_server(lambda: SocketStream(ear, loop, context, gate), "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        await asyncio.to_thread(act, port)
        for turn in range(10_000):
            if ear.ends or (ear.stream is None and turn > 50):
                break
            await asyncio.sleep(0.001)
        server.close()

    runner.run(serve())
    return complaints


@pytest.mark.parametrize("hard", [False, True], ids=["fin", "reset"])
@pytest.mark.parametrize("said", [b"", b"EHLO x\r\n"], ids=["silent", "said"])
def test_a_connection_that_vanishes_with_the_end_of_the_handshake(
    runner: asyncio.Runner, server_tls: ssl.SSLContext, hard: bool, said: bytes
) -> None:
    def act(port: int) -> None:
        client = Client(port)
        data = client.last_flight()
        if said:
            data += client.encrypted(said)
        if hard:
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.socket.sendall(data)
        client.socket.close()

    for _ in range(5):
        ear = Counting()
        assert play(runner, server_tls, ear, act) == []
        # Whether the handshake or the end was first is a matter of luck; that each opened end is closed once is not.
        assert ear.ends == (1 if ear.stream is not None else 0)


def test_a_stranger_to_implicit_tls_never_opens(runner: asyncio.Runner, server_tls: ssl.SSLContext) -> None:
    def act(port: int) -> None:
        with socket.create_connection(("127.0.0.1", port), timeout=20) as sock:
            sock.sendall(b"EHLO in.the.clear\r\n")
            while True:
                try:
                    if not sock.recv(1024):
                        return
                except ConnectionError:
                    return

    ear = Counting()
    assert play(runner, server_tls, ear, act) == []
    assert ear.stream is None and ear.ends == 0


def speak(port: int) -> None:
    client = Client(port)
    client.socket.sendall(client.last_flight() + client.encrypted(b"EHLO x\r\n"))
    client.socket.close()


def in_the_clear(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as sock, contextlib.suppress(ConnectionError):
        sock.sendall(b"EHLO in.the.clear\r\n")
        while sock.recv(1024):
            pass


def silent(port: int) -> None:
    socket.create_connection(("127.0.0.1", port), timeout=20).close()


@pytest.mark.parametrize(
    ("act", "how"),
    [
        (speak, (type(None), True)),
        (in_the_clear, (ssl.SSLError, False)),
        (silent, (ConnectionResetError, False)),
    ],
    ids=["speaks", "in the clear", "silent"],
)
def test_each_handshake_is_told_once(
    runner: asyncio.Runner,
    server_tls: ssl.SSLContext,
    act: Callable[[int], None],
    how: tuple[type[Exception], bool],
) -> None:
    gate = Door()
    assert play(runner, server_tls, Counting(), act, gate) == []
    assert gate.said == ["127.0.0.1"] * 2
    ((error, secured),) = gate.over
    assert isinstance(error, how[0]) and secured is how[1]


def test_who_is_not_let_in_is_closed_and_not_heard(runner: asyncio.Runner, server_tls: ssl.SSLContext) -> None:
    gate, ear = Door(open_=False), Counting()
    assert play(runner, server_tls, ear, in_the_clear, gate) == []
    assert ear.stream is None and ear.ends == 0 and gate.said == ["127.0.0.1"]


def test_a_client_that_speaks_before_it_is_accepted_is_heard(
    runner: asyncio.Runner, server_tls: ssl.SSLContext
) -> None:
    def act(port: int) -> None:
        client = Client(port)
        client.socket.sendall(client.last_flight() + client.encrypted(b"EHLO early\r\n"))
        client.socket.close()

    for _ in range(5):
        ear = Counting()
        assert play(runner, server_tls, ear, act) == []
        assert ear.data == b"EHLO early\r\n" and ear.ends == 1


def test_much_that_tls_owes_leaves_without_a_reply(runner: asyncio.Runner, server_tls: ssl.SSLContext) -> None:
    """Tickets here; answers to a client that asks for new keys ten thousand times are the same."""
    server_tls.num_tickets = 40
    sizes: list[int] = []

    def act(port: int) -> None:
        client = Client(port)
        client.socket.sendall(client.last_flight())
        sizes.append(len(client.socket.recv(65536)))
        client.socket.close()

    assert play(runner, server_tls, Counting(), act) == []
    assert sizes[0] > 4096


def test_a_client_that_has_no_protocol_left_hears_why(runner: asyncio.Runner) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2
    reasons: list[Exception | None] = []

    class Ear(Counting):
        def opened(self, stream: Stream) -> None:
            stream.start_tls(context, server_side=False)

        def closed(self, reason: Exception | None) -> None:
            super().closed(reason)
            reasons.append(reason)

    async def dial() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda loop, context: pytest.fail(str(context)))
        server = await loop.create_server(asyncio.Protocol, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        await loop.create_connection(lambda: SocketStream(Ear(), loop), "127.0.0.1", port)
        for _ in range(1000):
            if reasons:
                break
            await asyncio.sleep(0.001)
        server.close()

    runner.run(dial())
    assert [type(reason) for reason in reasons] == [ssl.SSLError]
