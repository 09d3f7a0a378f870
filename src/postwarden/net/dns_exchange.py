"""One question, put to name servers one after the other until one answers: time-outs, EDNS, truncation.

What is sent over a network leaves from a socket of its own with a port that the kernel picks at random, and carries a
random identifier: a forger off the path has to guess both (RFC 5452 9.2). A reply counts only if it repeats the
question.
"""

import asyncio
import contextlib
import secrets
import socket
from collections.abc import Callable
from typing import Protocol, cast

from postwarden.net.clock import Clock, Timer
from postwarden.net.resolv_conf import ResolverConfig, Server
from postwarden.wire.dns import MAX_MESSAGE, DnsError, Message, Rcode, decode, encode_query

Received = Callable[[bytes | None], None]


class Sent(Protocol):
    def close(self) -> None:
        """No more is wanted; nothing is called after this."""


class Network(Protocol):
    """How packets travel. `received(None)`: this server can't be reached. It is never called from inside the call."""

    def datagram(self, server: Server, packet: bytes, received: Received) -> Sent:
        """Send it; each datagram that comes back from the server is handed to `received`."""

    def stream(self, server: Server, packet: bytes, received: Received) -> Sent:
        """The same over TCP, where one message comes back."""

    def close(self) -> None:
        """Give back what is kept between questions."""


class Exchange:
    """Calls `done` once, with the first useful reply; else with the last refusal, or None when no server answered."""

    def __init__(
        self,
        question: tuple[str, int],
        config: ResolverConfig,
        network: Network,
        clock: Clock,
        done: Callable[[Message | None], None],
    ) -> None:
        """DnsError: the name can't be asked for."""
        self._name, self._kind = question
        self._config = config
        self._network = network
        self._clock = clock
        self._done = done
        self._tries = list(config.servers) * config.attempts
        self._refusal: Message | None = None
        self._sent: Sent | None = None
        self._timer: Timer | None = None
        self._edns, self._tcp = True, config.tcp
        self._ident = 0
        self.silent = 0
        """How many of the servers, from the first on, were passed over because they did not answer."""
        self._next()

    def cancel(self) -> None:
        self._stop()
        self._tries.clear()

    def _next(self) -> None:
        if not self._tries:
            self._finish(self._refusal)
            return
        self._edns, self._tcp = True, self._config.tcp
        self._ask()

    def _ask(self) -> None:
        self._stop()
        self._ident = secrets.randbits(16)
        packet = encode_query(self._ident, self._name, self._kind, edns=self._edns)
        send = self._network.stream if self._tcp else self._network.datagram
        self._timer = self._clock.call_later(self._config.timeout, self._unreachable)
        self._sent = send(self._tries[0], packet, self._received)

    def _give_up(self) -> None:
        self._stop()
        self._tries.pop(0)
        self._next()

    def _unreachable(self) -> None:
        self.silent += 1
        self._give_up()

    def _received(self, data: bytes | None) -> None:
        if data is None:
            self._unreachable()
            return
        message = self._accept(data)
        if message is None:
            if self._tcp:
                self._give_up()
            return
        if message.truncated and not self._tcp:
            self._tcp = True
            self._ask()
        elif message.rcode in (Rcode.FORMERR, Rcode.NOTIMP) and self._edns and not message.edns:
            self._edns = False  # RFC 6891 7: a server from before EDNS
            self._ask()
        elif message.rcode in (Rcode.NOERROR, Rcode.NXDOMAIN):
            self._finish(message)
        else:
            self._refusal = message
            self._give_up()

    def _accept(self, data: bytes) -> Message | None:
        """The reply, if it is one to our question. FORMERR may come without the question."""
        try:
            message = decode(data)
        except DnsError:
            return None
        if not message.response or message.ident != self._ident:
            return None
        if message.kind == 0 and message.rcode in (Rcode.FORMERR, Rcode.NOTIMP, Rcode.SERVFAIL, Rcode.REFUSED):
            return message
        if message.kind != self._kind or message.name.lower() != self._name.removesuffix(".").lower():
            return None
        return message

    def _finish(self, message: Message | None) -> None:
        self._stop()
        self._done(message)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._sent is not None:
            self._sent.close()
            self._sent = None


def on_loopback(address: str) -> bool:
    return address.startswith("127.") or address == "::1"


class SocketNetwork:
    """`Network` over the kernel's sockets and an asyncio loop.

    A server on a loopback address is asked over one socket that stays: nobody off this host can forge its replies, on
    this host it takes a privileged port, and a socket a question costs 16 system calls, 50 µs."""

    def __init__(self, loop: asyncio.AbstractEventLoop, near: Callable[[str], bool] = on_loopback) -> None:
        """`near`: whether an address is so near that nobody can forge its replies."""
        self._loop = loop
        self._near = near
        self._lines: dict[Server, _Line] = {}

    def datagram(self, server: Server, packet: bytes, received: Received) -> Sent:
        if self._near(server[0]):
            line = self._lines.get(server)
            if line is None or line.down:
                line = self._lines[server] = _Line(self._loop, server)
            if packet[:2] not in line.waiting:
                return line.ask(packet, received)
        return _Line(self._loop, server).ask(packet, received, alone=True)

    def stream(self, server: Server, packet: bytes, received: Received) -> Sent:
        return _Stream(self._loop, server, packet, received)

    def close(self) -> None:
        for line in self._lines.values():
            line.close()


class _Line:
    """A socket for one question or for many, told apart by their identifiers."""

    def __init__(self, loop: asyncio.AbstractEventLoop, server: Server) -> None:
        self._loop = loop
        self.waiting: dict[bytes, Received] = {}
        self.down = False
        family = socket.AF_INET6 if ":" in server[0] else socket.AF_INET
        self._socket: socket.socket | None = None
        try:
            self._socket = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
            self._socket.connect(server)
            loop.add_reader(self._socket.fileno(), self._readable)
        except OSError:
            self._hang_up()

    def ask(self, packet: bytes, received: Received, *, alone: bool = False) -> "_Asked":
        """`alone`: the socket goes with the question."""
        ident = packet[:2]
        self.waiting[ident] = received
        try:
            if self._socket is None:
                raise OSError
            self._socket.send(packet)
        except OSError:  # ICMP said of an earlier question that nobody listens there
            self._hang_up()
        return _Asked(self, ident, alone)

    def _readable(self) -> None:
        while self._socket is not None:
            try:
                data = self._socket.recv(MAX_MESSAGE)
            except BlockingIOError:
                return
            except OSError:
                self._hang_up()
                return
            received = self.waiting.get(data[:2])
            if received is not None:
                received(data)

    def _hang_up(self) -> None:
        """The next question gets another line; who waits on this one hears that the server can't be reached."""
        self.close()
        self._loop.call_soon(self._tell_all)

    def close(self) -> None:
        self.down = True
        if self._socket is not None:
            self._loop.remove_reader(self._socket.fileno())
            self._socket.close()
            self._socket = None

    def _tell_all(self) -> None:
        while self.waiting:
            ident = next(iter(self.waiting))
            self.waiting.pop(ident)(None)


class _Asked:
    __slots__ = ("_alone", "_ident", "_line")

    def __init__(self, line: _Line, ident: bytes, alone: bool) -> None:
        self._line = line
        self._ident = ident
        self._alone = alone

    def close(self) -> None:
        self._line.waiting.pop(self._ident, None)
        if self._alone:
            self._line.close()


class _Stream(asyncio.Protocol):
    def __init__(self, loop: asyncio.AbstractEventLoop, server: Server, packet: bytes, received: Received) -> None:
        self._received: Received | None = received
        self._packet = packet
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None
        self._dialling = loop.create_task(self._dial(loop, server))

    async def _dial(self, loop: asyncio.AbstractEventLoop, server: Server) -> None:
        try:
            await loop.create_connection(lambda: self, *server)
        except OSError:
            self._tell(None)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(len(self._packet).to_bytes(2) + self._packet)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if len(self._buffer) >= 2:
            size = int.from_bytes(self._buffer[:2])
            if len(self._buffer) >= 2 + size:
                self._tell(bytes(self._buffer[2 : 2 + size]))

    def connection_lost(self, exc: Exception | None) -> None:
        self._tell(None)

    def _tell(self, data: bytes | None) -> None:
        received, self._received = self._received, None
        if received is not None:
            self.close()
            received(data)

    def close(self) -> None:
        self._received = None
        if self._transport is not None:
            self._transport.abort()
        elif not self._dialling.done():
            with contextlib.suppress(RuntimeError):
                self._dialling.cancel()
