"""A name server on loopback, UDP and TCP, for tests and for the benchmark."""

import asyncio
import socket
from collections.abc import Callable
from typing import cast

from msgspec import structs

from postwarden.testing.resolver import Zone
from postwarden.wire.dns import DnsError, Message, decode, encode

Reply = Callable[[Message], Message | None]


class DnsServer:
    """`async with DnsServer(zone) as server:` serves on 127.0.0.1, `server.port`, both protocols.

    `asked` has (protocol, name, kind) of each query. `mangle`, when set, may change the packet that is sent or return
    none: how bad replies are made. UDP replies over the size that the client offers are truncated.
    """

    def __init__(self, zone: Zone | str = "") -> None:
        self.zone = Zone(zone) if isinstance(zone, str) else zone
        self.asked: list[tuple[str, str, int]] = []
        self.mangle: Callable[[Message, bytes], bytes | None] | None = None
        self.port = 0
        self._udp: asyncio.DatagramTransport | None = None
        self._tcp: asyncio.Server | None = None

    async def __aenter__(self) -> "DnsServer":
        loop = asyncio.get_running_loop()
        self._tcp = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._tcp.sockets[0].getsockname()[1]
        self._udp, _ = await loop.create_datagram_endpoint(lambda: _Udp(self), ("127.0.0.1", self.port))
        return self

    async def __aexit__(self, *exc: object) -> None:
        assert self._udp is not None and self._tcp is not None
        self._udp.close()
        self._tcp.close()
        await self._tcp.wait_closed()

    def answer(self, protocol: str, data: bytes) -> bytes | None:
        try:
            query = decode(data)
        except DnsError:
            return None
        self.asked.append((protocol, query.name, query.kind))
        reply = self.zone.reply(query)
        packet = None if reply is None else limited(reply, query, protocol)
        return packet if self.mangle is None else self.mangle(query, packet or b"")

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            packet = self.answer("tcp", await reader.readexactly(int.from_bytes(await reader.readexactly(2))))
            if packet is not None:
                writer.write(len(packet).to_bytes(2) + packet)
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


class _Udp(asyncio.DatagramProtocol):
    def __init__(self, server: DnsServer) -> None:
        self._server = server
        self._transport: asyncio.DatagramTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        packet = self._server.answer("udp", data)
        if packet is not None:
            self._transport.sendto(packet, addr)


def limited(reply: Message, query: Message, protocol: str) -> bytes:
    """The reply as bytes; cut, and marked as cut, when UDP can't carry it."""
    packet = encode(reply)
    if protocol == "udp" and len(packet) > query.payload:
        return encode(structs.replace(reply, truncated=True, answers=(), authority=()))
    return packet


def serve_forever(
    sock: socket.socket, reply: Reply, quick: Callable[[bytes], bytes | None] = lambda query: None
) -> None:
    """Answer UDP queries on a bound, blocking socket until it is closed: little CPU a query, one process. `quick` may
    know a packet's reply; what comes from `reply` is remembered."""
    known: dict[bytes, bytes] = {}
    while True:
        try:
            data, client = sock.recvfrom(65535)
        except OSError:
            return
        packet = quick(data)
        if packet is not None:
            sock.sendto(packet, client)
            continue
        packet = known.get(data[2:])
        if packet is None:
            try:
                query = decode(data)
            except DnsError:
                continue
            message = reply(query)
            if message is None:
                continue
            packet = limited(message, query, "udp")[2:]
            if len(known) > 200_000:
                known.clear()
            known[data[2:]] = packet
        try:
            sock.sendto(data[:2] + packet, client)
        except OSError:
            continue
