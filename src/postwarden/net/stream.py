"""A byte stream with callbacks: what a session of either side of SMTP stands on.

`Stream` is the interface, `Handler` who listens to it, `SocketStream` the one over asyncio's transports (uvloop where
it is installed), `testing.stream` the one in memory. Both pass the same conformance suite.

STARTTLS: call `start_tls`, hand over nothing that was read before (the caller's machine has dropped it; what a peer
sent in clear before the handshake must never count as said under TLS), wait for `secured` or `closed`.
"""

import asyncio
import contextlib
import ssl
from typing import Protocol, cast

from postwarden.mail.session import TlsFacts


class Handler(Protocol):
    """All calls come from the loop, one at a time. After `closed` no call comes."""

    def opened(self, stream: "Stream") -> None:
        """The connection stands. For implicit TLS: the handshake is over, `stream.tls` is set."""

    def received(self, data: bytes) -> None: ...

    def ended(self) -> None:
        """The peer will send no more. The stream is still writable; call `close` when done."""

    def secured(self, tls: TlsFacts) -> None:
        """The handshake that `start_tls` began is over."""

    def congested(self) -> None:
        """More than the high-water mark waits to be sent: stop producing (and reading) until `drained`."""

    def drained(self) -> None: ...

    def closed(self, reason: Exception | None) -> None:
        """The stream is gone: None for an orderly end, else why (OSError, ssl.SSLError)."""


class Stream(Protocol):
    peer: tuple[str, int]
    """Address and port of the other side; address is empty for a Unix socket."""
    local: tuple[str, int]
    tls: TlsFacts | None

    def write(self, data: bytes) -> None:
        """Send, now or as soon as possible; never blocks. Without effect after `close`."""

    def pause(self) -> None:
        """Take no more bytes from the peer until `resume`."""

    def resume(self) -> None: ...

    def start_tls(self, context: ssl.SSLContext, *, server_side: bool, server_name: str = "") -> None: ...

    def close(self) -> None:
        """Send what was written, then close."""

    def abort(self) -> None:
        """Close at once; what was not sent is dropped."""


class SocketStream(asyncio.Protocol):
    """A `Stream` over an asyncio transport; it is the transport's protocol itself, to save a call an event.

    A server that speaks TLS from the first byte (RFC 8314 3.3) gives its context to the loop (`create_server(ssl=)`),
    and not to `start_tls` in `opened`: the loop reads before that would begin, and the first bytes would be lost.
    """

    linger = 30.0
    """Seconds after `close` in which the peer may still take what was written."""

    def __init__(self, handler: Handler, loop: asyncio.AbstractEventLoop) -> None:
        self._handler = handler
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._upgrade: asyncio.Task[None] | None = None
        self._closed = False
        self._closing = False
        self.peer = ("", 0)
        self.local = ("", 0)
        self.tls: TlsFacts | None = None

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if self._upgrade is not None:
            return
        peer, local = transport.get_extra_info("peername"), transport.get_extra_info("sockname")
        if isinstance(peer, tuple):
            self.peer = (peer[0], peer[1])
        if isinstance(local, tuple):
            self.local = (local[0], local[1])
        if transport.get_extra_info("ssl_object") is not None:
            self.tls = tls_facts(transport)
        self._handler.opened(self)

    def data_received(self, data: bytes) -> None:
        self._handler.received(data)

    def eof_received(self) -> bool:
        self._handler.ended()
        return self.tls is None

    def pause_writing(self) -> None:
        self._handler.congested()

    def resume_writing(self) -> None:
        self._handler.drained()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._upgrade is not None and not self._upgrade.done():
            return  # the handshake's own task tells, with the reason
        self._lost(exc)

    # Stream

    def write(self, data: bytes) -> None:
        # asyncio itself goes on taking bytes while it still sends what was written before close.
        if self._transport is not None and not self._closing:
            self._transport.write(data)

    def pause(self) -> None:
        if self._transport is not None:
            self._transport.pause_reading()

    def resume(self) -> None:
        if self._transport is not None and not self._closed:
            self._transport.resume_reading()

    def start_tls(self, context: ssl.SSLContext, *, server_side: bool, server_name: str = "") -> None:
        # What arrives from now on is for TLS: it must not come as plain text before the task has begun.
        self.pause()
        self._upgrade = self._loop.create_task(self._start_tls(context, server_side, server_name))

    async def _start_tls(self, context: ssl.SSLContext, server_side: bool, server_name: str) -> None:
        assert self._transport is not None
        try:
            transport = await self._loop.start_tls(
                self._transport,
                self,
                context,
                server_side=server_side,
                server_hostname=None if server_side else server_name,
            )
        except (OSError, ssl.SSLError) as error:
            self._abandon(error)
            return
        if transport is None or transport.get_extra_info("ssl_object") is None:
            # Gone in the turn of the loop in which the handshake was over.
            self._abandon(ConnectionResetError("connection lost during the TLS handshake"))
            return
        self._transport = transport
        self.tls = tls_facts(transport)
        self._handler.secured(self.tls)

    def close(self) -> None:
        self._closing = True
        if self._transport is not None and not self._closed:
            self._transport.close()
            if self._transport.get_write_buffer_size():
                # A peer that does not read must not keep the connection for ever.
                self._loop.call_later(self.linger, self.abort)

    def abort(self) -> None:
        if self._transport is not None:
            with contextlib.suppress(Exception):
                self._transport.abort()

    def _abandon(self, error: Exception) -> None:
        self.abort()
        self._lost(error)

    def _lost(self, error: Exception | None) -> None:
        if self._closed:
            return
        self._closed = self._closing = True
        self._handler.closed(error)


def tls_facts(transport: asyncio.BaseTransport) -> TlsFacts:
    """Protocol, cipher and peer of an established TLS layer."""
    connection = transport.get_extra_info("ssl_object")
    cipher, protocol, bits = connection.cipher() or ("unknown", "unknown", 0)
    return TlsFacts(connection.version() or protocol, cipher, bits)
