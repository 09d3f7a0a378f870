"""A service of ours behind a load balancer, over real sockets; and what a client there hears."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable

from postwarden.net.clock import LoopClock
from postwarden.net.log import MemorySink
from postwarden.net.proxied_stream import ProxiedStream
from postwarden.net.waiting import LoopWaiting
from postwarden.receive.handshakes import Handshakes
from postwarden.receive.proxies import Proxies
from postwarden.receive.service import Service
from postwarden.receive.session import Session
from postwarden.testing.config import settings
from postwarden.testing.reception import MASTER_CF, build_service, without_process
from postwarden.testing.spool import MemoryStore


class Behind:
    def __init__(self, service: Service, sink: MemorySink, port: int, proxies: Proxies) -> None:
        self.service, self.port, self.proxies = service, port, proxies
        self._sink = sink

    @property
    def log(self) -> list[str]:
        return [without_process(line) for line in self._sink.lines]

    async def until(self, what: Callable[[], bool]) -> None:
        for _ in range(6000):
            if what():
                return
            await asyncio.sleep(0.01)
        raise AssertionError(self.log)


@contextlib.asynccontextmanager
async def behind(seconds: float = 30.0, **parameters: str) -> AsyncIterator[Behind]:
    loop = asyncio.get_running_loop()
    clock, sink = LoopClock(loop), MemorySink()
    config = settings("", MASTER_CF, **parameters)
    service = build_service(config, clock, MemoryStore(clock.call_soon), LoopWaiting(loop), sink)
    proxies, gate = Proxies(service), Handshakes(service)

    def accept() -> ProxiedStream:
        tls = service.tls.context if service.tls is not None and service.wrapper else None
        families = service.families
        return ProxiedStream(Session(service), loop, tls, gate, proxies, families=families, seconds=seconds)

    server = await loop.create_server(accept, "127.0.0.1", 0)
    try:
        yield Behind(service, sink, server.sockets[0].getsockname()[1], proxies)
    finally:
        server.close()
        for session in list(service.sessions):
            session.end()


async def connected(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    sock = socket.create_connection(("127.0.0.1", port), 60)
    return await asyncio.open_connection(sock=sock)


async def first_line(port: int, header: bytes) -> tuple[str, int]:
    """What is heard, and the port from which it was asked. Who sends a good header leaves again."""
    reader, writer = await connected(port)
    writer.write(header)
    try:
        heard = (await asyncio.wait_for(reader.readline(), 60)).decode().rstrip()
        if heard.startswith("220"):
            writer.write(b"QUIT\r\n")
            await asyncio.wait_for(reader.readline(), 60)
    except ConnectionError:
        heard = ""
    mine: int = writer.get_extra_info("sockname")[1]
    writer.close()
    return heard, mine
