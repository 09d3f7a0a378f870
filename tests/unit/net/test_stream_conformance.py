"""What a `net.stream.Stream` promises, asked of the real one over sockets and of the one in memory."""

import asyncio
import socket
import ssl
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Protocol

import pytest
import uvloop

from postwarden.mail.session import TlsFacts
from postwarden.net.stream import SocketStream, Stream
from postwarden.testing.certificate import write_certificate
from postwarden.testing.clock import VirtualClock
from postwarden.testing.stream import Recorder, connect


class Strict(Recorder):
    """Fails the test when a call breaks the promises of `Handler`."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []

    def _call(self, name: str) -> None:
        assert "closed" not in self.calls, f"{name} after closed"
        assert self.calls or name == "opened", f"{name} before opened"
        self.calls.append(name)

    def opened(self, stream: Stream) -> None:
        self._call("opened")
        super().opened(stream)

    def received(self, data: bytes) -> None:
        self._call("received")
        super().received(data)

    def ended(self) -> None:
        self._call("ended")
        super().ended()

    def secured(self, tls: TlsFacts) -> None:
        self._call("secured")
        super().secured(tls)

    def closed(self, reason: Exception | None) -> None:
        self._call("closed")
        super().closed(reason)


class World(Protocol):
    near: Recorder
    far: Recorder
    client: ssl.SSLContext
    server: ssl.SSLContext

    def until(self, what: Callable[[], object]) -> None: ...


class Contexts:
    def __init__(self, path: Path) -> None:
        write_certificate(path / "mx.pem", "mx.example.com")
        self.client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.client.check_hostname = False
        self.client.verify_mode = ssl.CERT_NONE
        self.server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.server.load_cert_chain(path / "mx.pem")


class Memory(Contexts):
    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.clock = VirtualClock()
        self.near, self.far = Strict(), Strict()
        connect(self.near, self.far, self.clock)
        self.until(lambda: self.far.stream)

    def until(self, what: Callable[[], object]) -> None:
        self.clock.run()
        assert what()

    def close(self) -> None:
        return


class Sockets(Contexts):
    def __init__(self, new_loop: Callable[[], asyncio.AbstractEventLoop], path: Path) -> None:
        super().__init__(path)
        self.loop = new_loop()
        self.complaints: list[object] = []
        self.loop.set_exception_handler(lambda loop, context: self.complaints.append(context))
        self.near, self.far = Strict(), Strict()
        one, two = socket.socketpair()
        for sock, recorder in ((one, self.near), (two, self.far)):
            made = self.loop.create_connection(lambda recorder=recorder: SocketStream(recorder, self.loop), sock=sock)
            self.loop.run_until_complete(made)

    def until(self, what: Callable[[], object]) -> None:
        async def wait() -> None:
            for _ in range(5000):
                if what():
                    return
                await asyncio.sleep(0.001)
            raise AssertionError("it did not happen")

        self.loop.run_until_complete(wait())

    def close(self) -> None:
        for recorder in (self.near, self.far):
            if recorder.stream is not None and not recorder.is_closed:
                recorder.stream.abort()
        self.loop.run_until_complete(asyncio.sleep(0.01))
        self.loop.close()
        assert not self.complaints


WORLDS = [Memory, partial(Sockets, asyncio.new_event_loop), partial(Sockets, uvloop.new_event_loop)]


@pytest.fixture(params=WORLDS, ids=["memory", "asyncio", "uvloop"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    made = request.param(tmp_path)
    yield made
    made.close()


def test_bytes_arrive_in_order_both_ways(world: World) -> None:
    for n in range(100):
        world.near.stream.write(b"%d " % n)
        world.far.stream.write(b"%d," % n)
    world.until(lambda: world.far.data.endswith(b" 99 ") and world.near.data.endswith(b",99,"))
    assert world.far.data == b"".join(b"%d " % n for n in range(100))


def test_close_sends_what_was_written_and_the_other_side_hears_the_end(world: World) -> None:
    world.near.stream.write(b"x" * 300_000)
    world.near.stream.close()
    world.near.stream.write(b"too late")
    world.until(lambda: world.far.has_ended)
    assert world.far.data == b"x" * 300_000
    world.until(lambda: world.near.is_closed)
    assert world.near.reason is None and not world.far.is_closed
    world.far.stream.close()
    world.until(lambda: world.far.is_closed)


def test_a_paused_side_takes_nothing_until_it_resumes(world: World) -> None:
    world.far.stream.pause()
    world.near.stream.write(b"x" * 5_000_000)
    world.until(lambda: world.near.is_congested)
    assert len(world.far.data) < 1_000_000
    world.far.stream.resume()
    world.until(lambda: len(world.far.data) == 5_000_000 and not world.near.is_congested)


def test_pause_and_resume_twice_do_no_harm(world: World) -> None:
    for _ in range(2):
        world.far.stream.pause()
    for _ in range(2):
        world.far.stream.resume()
    world.near.stream.write(b"x")
    world.until(lambda: world.far.data == b"x")


def test_abort_is_heard(world: World) -> None:
    world.near.stream.abort()
    world.until(lambda: world.near.is_closed and (world.far.has_ended or world.far.is_closed))


def test_what_is_said_after_the_end_does_no_harm(world: World) -> None:
    world.near.stream.close()
    world.until(lambda: world.near.is_closed)
    world.near.stream.write(b"x")
    world.near.stream.pause()
    world.near.stream.resume()
    world.near.stream.close()
    world.near.stream.abort()


def test_start_tls(world: World) -> None:
    world.near.stream.start_tls(world.client, server_side=False, server_name="mx.example.com")
    world.far.stream.start_tls(world.server, server_side=True)
    world.until(lambda: world.near.secured_with and world.far.secured_with)
    assert world.far.secured_with.protocol == "TLSv1.3" and world.far.secured_with.bits == 256
    world.near.stream.write(b"secret")
    world.until(lambda: world.far.data == b"secret")
    world.near.stream.close()
    world.until(lambda: world.near.is_closed and world.far.is_closed)


def test_plain_text_breaks_a_handshake(world: World) -> None:
    world.far.stream.start_tls(world.server, server_side=True)
    world.near.stream.write(b"EHLO x\r\n" * 10)
    world.until(lambda: world.far.is_closed)
    assert isinstance(world.far.reason, (ssl.SSLError, OSError))
    assert world.far.data == b"" and world.far.secured_with is None


def test_a_peer_that_goes_during_the_handshake(world: World) -> None:
    world.far.stream.start_tls(world.server, server_side=True)
    world.near.stream.close()
    world.until(lambda: world.far.is_closed)
    assert world.far.secured_with is None


def test_a_handshake_waits_for_a_slow_peer(world: World) -> None:
    world.near.stream.start_tls(world.client, server_side=False, server_name="mx.example.com")
    world.far.stream.pause()
    assert world.near.secured_with is None
    world.far.stream.start_tls(world.server, server_side=True)
    world.until(lambda: world.near.secured_with and world.far.secured_with)


def test_an_end_under_tls_is_the_end_of_the_stream(world: World) -> None:
    world.near.stream.start_tls(world.client, server_side=False, server_name="mx.example.com")
    world.far.stream.start_tls(world.server, server_side=True)
    world.until(lambda: world.near.secured_with and world.far.secured_with)
    world.near.stream.write(b"bye")
    world.near.stream.close()
    world.until(lambda: world.far.is_closed)
    assert world.far.data == b"bye" and world.far.has_ended


def test_close_waits_for_a_slow_reader(world: World) -> None:
    world.far.stream.pause()
    world.near.stream.write(b"x" * 5_000_000)
    world.near.stream.close()
    world.until(lambda: True)
    world.far.stream.resume()
    world.until(lambda: world.far.has_ended)
    assert len(world.far.data) == 5_000_000


def test_it_is_closed_once_whatever_is_said(world: World) -> None:
    for call in ("close", "pause", "resume", "close", "abort", "abort"):
        getattr(world.near.stream, call)()
    world.until(lambda: world.near.is_closed)
    assert world.near.calls.count("closed") == 1
