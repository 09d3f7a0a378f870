"""A stand-in for an internal mail server: takes every message and keeps it as a file."""

import asyncio
from pathlib import Path


class StandIn:
    """An SMTP server that accepts everything. `directory` gets one file a message, CRLF turned into LF."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.kept: list[Path] = []

    async def serve(self, port: int) -> asyncio.Server:
        """Listen on 127.0.0.1:`port`."""
        return await asyncio.start_server(self._session, "127.0.0.1", port, limit=1 << 24)

    async def _session(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 internal.example ESMTP stand-in\r\n")
        try:
            while line := await reader.readline():
                verb = line.strip().upper().split(b" ")[0]
                writer.write(await self._answer(verb, reader, writer))
                await writer.drain()
                if verb == b"QUIT":
                    break
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _answer(self, verb: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        if verb == b"EHLO":
            return b"250-internal.example\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SIZE 52428800\r\n"
        if verb == b"DATA":
            writer.write(b"354 go ahead\r\n")
            await writer.drain()
            data = await reader.readuntil(b"\r\n.\r\n")
            self._keep(data[:-3].replace(b"\r\n..", b"\r\n.").replace(b"\r\n", b"\n"))
            return b"250 2.0.0 kept\r\n"
        return b"221 2.0.0 bye\r\n" if verb == b"QUIT" else b"250 2.0.0 ok\r\n"

    def _keep(self, message: bytes) -> None:
        path = self.directory / f"message-{len(self.kept) + 1}.eml"
        path.write_bytes(message)
        self.kept.append(path)
