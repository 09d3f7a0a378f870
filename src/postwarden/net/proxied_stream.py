"""A `SocketStream` behind a load balancer, which says first whose connection it is (PROXY protocol).

Until then nobody hears of the connection but the gate, and TLS from the first byte begins after it.
"""

import asyncio
import ssl
from collections.abc import Collection
from typing import Protocol

from postwarden.net.stream import Gate, Handler, SocketStream
from postwarden.wire.proxy import BadHeader, read_header


class ProxyGate(Protocol):
    """Who may wait for a header. A stream that was let in tells once how that ended."""

    def begins(self) -> bool: ...

    def ends(self, peer: tuple[str, int], fault: str, data: bytes) -> bytes:
        """`fault`: why there is no header; empty: there is one. `data` is what came instead. Gives what is said before
        the connection is closed, where nothing else is."""


class ProxiedStream(SocketStream):
    def __init__(
        self,
        handler: Handler,
        loop: asyncio.AbstractEventLoop,
        implicit: ssl.SSLContext | None,
        gate: Gate | None,
        proxies: ProxyGate,
        *,
        families: Collection[str],
        seconds: float,
    ) -> None:
        """`families` as in `read_header`; the header has to come within `seconds`."""
        super().__init__(handler, loop, implicit)
        self._next_gate = gate
        self._proxies = proxies
        self._families = families
        self._seconds = seconds
        self._header: bytes | None = None
        """What has come of it; None: it is not waited for."""
        self._late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._connected(transport)
        if not self._proxies.begins():
            self.abort()
            return
        self._header = b""
        self._late = self._loop.call_later(self._seconds, self._refuse, "timeout error")

    def data_received(self, data: bytes) -> None:
        if self._header is None:
            super().data_received(data)
            return
        self._header += data
        try:
            header = read_header(self._header, self._families)
        except BadHeader as bad:
            self._refuse(str(bad))
            return
        if header is None:
            return
        rest = self._header[header.size :]
        self._leave("")
        if header.client is not None and header.server is not None:
            self.peer, self.local = header.client, header.server
        self._gate = self._next_gate
        self._begin()
        if rest:
            super().data_received(rest)

    def eof_received(self) -> bool:
        if self._header is None:
            return super().eof_received()
        self._refuse("EOF")
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        if self._header is not None:
            self._leave("EOF")
        super().connection_lost(exc)

    def _leave(self, fault: str) -> bytes:
        came, self._header = self._header or b"", None
        if self._late is not None:
            self._late.cancel()
            self._late = None
        return self._proxies.ends(self.peer, fault, came)

    def _refuse(self, fault: str) -> None:
        if self._header is not None:
            self.write(self._leave(fault))
            self.close()
