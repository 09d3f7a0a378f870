"""Plays a dialogue over a real socket on loopback, with real TLS, on a real loop."""

import asyncio
import socket
import ssl

from tests.dialogues.memory import Stored, compare_logs, settings_of, zone_of
from tests.dialogues.script import Script, fits, sent

from postwarden.net.clock import LoopClock
from postwarden.net.log import MemorySink
from postwarden.net.stream import SocketStream
from postwarden.net.waiting import LoopWaiting
from postwarden.receive.service import Service
from postwarden.receive.session import Session
from postwarden.testing.config import settings
from postwarden.testing.reception import MASTER_CF, build_service, without_process
from postwarden.testing.spool import MemoryStore

_PATIENCE = 60.0


def play_over_sockets(script: Script, certificate: str) -> None:
    asyncio.run(_play(script, certificate))


async def _play(script: Script, certificate: str) -> None:
    loop = asyncio.get_running_loop()
    clock, sink = LoopClock(loop), MemorySink()
    store = MemoryStore(clock.call_soon)
    config = settings("", MASTER_CF, **settings_of(script, certificate))
    service = build_service(config, clock, store, LoopWaiting(loop), sink, zone=zone_of(script))
    server = await loop.create_server(lambda: SocketStream(Session(service), loop), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    sock = socket.create_connection(("127.0.0.1", port), _PATIENCE, (script.address, 0))
    reader, writer = await asyncio.open_connection(sock=sock)
    try:
        await play_steps(script, reader, writer, Stored(store))
        if script.log:
            await _end(writer, service)
            compare_logs(script, [without_process(line) for line in sink.lines])
    finally:
        writer.close()
        server.close()
        for session in list(service.sessions):
            session.end()


async def play_steps(
    script: Script, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, stored: Stored | None
) -> None:
    """Whatever listens at the other end. Without `stored` nobody looks at messages."""
    waiting = b""
    for number, kind, text in script.steps:
        where = f"{script.name}.smtp:{number}"
        if kind in ("C:", "C!"):
            waiting += sent(kind, text)
            continue
        if waiting:
            writer.write(waiting)
            waiting = b""
        match kind:
            case "S:":
                said = (await asyncio.wait_for(reader.readline(), _PATIENCE)).decode().removesuffix("\r\n")
                assert fits(text, said), f"{where}: {said!r}"
            case "H:" | "M:" if stored is not None:
                line = stored.line(kind)
                assert line is not None and fits(text, line), f"{where}: {line!r}"
            case "tls":
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
                await asyncio.wait_for(writer.start_tls(context), _PATIENCE)
            case "wait":
                await asyncio.sleep(float(text) + 0.1)
            case "end":
                writer.write_eof()
            case "closed":
                rest = await asyncio.wait_for(reader.read(), _PATIENCE)
                assert rest == b"", f"{where}: {rest!r}"
    if waiting:
        writer.write(waiting)


async def _end(writer: asyncio.StreamWriter, service: Service) -> None:
    writer.close()
    for _ in range(1000):
        if not service.sessions:
            return
        await asyncio.sleep(0.001)
