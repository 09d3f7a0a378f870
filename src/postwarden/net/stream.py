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

from postwarden.mail.session import PeerCertificate, TlsFacts
from postwarden.net.tls_layer import TlsLayer


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

    @property
    def certificate(self) -> PeerCertificate | None:
        """The peer's, under TLS; None where it has shown none."""

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


class UntrustedCertificate(Exception):
    """The handshake failed: the chain of the peer's certificate does not lead to anybody whom we believe."""


class Gate(Protocol):
    """Who may begin a handshake of implicit TLS. A stream that was let in tells once how it ended."""

    def begins(self, peer: str) -> bool:
        """False: the connection is closed, and not heard of again."""

    def ends(self, peer: str, error: Exception | None, *, secured: bool) -> None: ...


class SocketStream(asyncio.Protocol):
    """A `Stream` over an asyncio transport; it is the transport's protocol itself, to save a call an event."""

    linger = 30.0
    """Seconds after `close` in which the peer may still take what was written."""
    patience = 60.0
    """Seconds that the handshake of implicit TLS may take. After STARTTLS the handler has its own time-out."""

    def __init__(
        self,
        handler: Handler,
        loop: asyncio.AbstractEventLoop,
        implicit: ssl.SSLContext | None = None,
        gate: Gate | None = None,
    ) -> None:
        """`implicit`: a server that speaks TLS from the first byte (RFC 8314 3.3); `opened` comes after the handshake,
        and a connection that ends before that is heard of by `gate` alone."""
        self._handler = handler
        self._loop = loop
        self._implicit = implicit
        self._gate = gate
        self._transport: asyncio.Transport | None = None
        self._layer: TlsLayer | None = None
        self._opened = False
        self._ended = False
        self._closed = False
        self._closing = False
        self.peer = ("", 0)
        self.local = ("", 0)
        self.tls: TlsFacts | None = None

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._connected(transport)
        self._begin()

    def _connected(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        peer, local = transport.get_extra_info("peername"), transport.get_extra_info("sockname")
        if isinstance(peer, tuple):
            self.peer = (peer[0], peer[1])
        if isinstance(local, tuple):
            self.local = (local[0], local[1])

    def _begin(self) -> None:
        if self._implicit is None:
            self._opened = True
            self._handler.opened(self)
        elif self._gate is not None and not self._gate.begins(self.peer[0]):
            self._gate = None
            self.abort()
        else:
            self.start_tls(self._implicit, server_side=True)
            self._loop.call_later(self.patience, self._out_of_patience)

    def data_received(self, data: bytes) -> None:
        if self._layer is None:
            self._handler.received(data)
        elif not self._closing:
            self._tls_received(self._layer, data)

    def eof_received(self) -> bool:
        """False: the transport closes. Under TLS an end is the end of both directions (RFC 8446 6.1 would let us go
        on writing; nobody listens)."""
        if self._layer is None or self.tls is not None:
            self._end()
        return self._layer is None

    def pause_writing(self) -> None:
        if self._opened:
            self._handler.congested()

    def resume_writing(self) -> None:
        if self._opened:
            self._handler.drained()

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is None and self._layer is not None and self.tls is None and not self._closing:
            exc = ConnectionResetError("connection lost during the TLS handshake")
        self._lost(exc)

    # Stream

    @property
    def certificate(self) -> PeerCertificate | None:
        return None if self._layer is None else self._layer.certificate

    def write(self, data: bytes) -> None:
        # asyncio itself goes on taking bytes while it still sends what was written before close.
        if self._transport is None or self._closing:
            return
        if self._layer is not None:
            assert self.tls is not None, "nothing is said between STARTTLS and the end of the handshake"
            data = self._layer.encrypt(data)
        self._transport.write(data)

    def pause(self) -> None:
        if self._transport is not None:
            self._transport.pause_reading()

    def resume(self) -> None:
        if self._transport is not None and not self._closed:
            self._transport.resume_reading()

    def start_tls(self, context: ssl.SSLContext, *, server_side: bool, server_name: str = "") -> None:
        # From here on every byte that arrives is taken for TLS.
        self.resume()
        try:
            layer = TlsLayer(context, server_side=server_side, server_name=server_name)
            if not server_side:
                layer.handshake()
        except (ssl.SSLError, ValueError) as error:  # a name that can't be sent as SNI; no protocol that may be used
            self._loop.call_soon(self._abandon, ssl.SSLError(str(error)))
            return
        self._layer = layer
        self._send(layer.take())

    def close(self) -> None:
        if self._layer is not None and self.tls is not None and not self._closing:
            self._send(self._layer.finish())
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

    # TLS

    def _tls_received(self, layer: TlsLayer, data: bytes) -> None:
        try:
            if self.tls is None:
                over = layer.handshake(data)
                if not over or layer.owes:
                    self._send(layer.take())
                if not over:
                    return
                data = b""
                self._secured(layer)
            plain = layer.decrypt(data)
            if layer.full:
                self._send(layer.take())
        except ssl.SSLError as error:
            self._send(layer.take())
            if isinstance(error, ssl.SSLCertVerificationError):
                self._abandon(UntrustedCertificate(error.verify_message))
            else:
                self._abandon(error)
            return
        if plain and not self._closing:
            self._handler.received(plain)
        if layer.finished:
            self._end()
            self.close()

    def _secured(self, layer: TlsLayer) -> None:
        self.tls = layer.facts
        if self._opened:
            self._handler.secured(self.tls)
        else:
            self._opened = True
            self._leave_gate(None, secured=True)
            self._handler.opened(self)

    def _leave_gate(self, error: Exception | None, *, secured: bool) -> None:
        gate, self._gate = self._gate, None
        if gate is not None:
            gate.ends(self.peer[0], error, secured=secured)

    def _send(self, data: bytes) -> None:
        if data and self._transport is not None and not self._closed:
            self._transport.write(data)

    def _out_of_patience(self) -> None:
        if not self._opened:
            self.abort()

    # the end

    def _end(self) -> None:
        if not self._ended and not self._closing:
            self._ended = True
            self._handler.ended()

    def _abandon(self, error: Exception) -> None:
        """Close, with the alert that says why."""
        if self._transport is not None and not self._closed:
            self._transport.close()
            self._loop.call_later(self.linger, self.abort)
        self._lost(error)

    def _lost(self, error: Exception | None) -> None:
        if self._closed:
            return
        self._closed = self._closing = True
        if self._opened:
            self._handler.closed(error)
        else:
            self._leave_gate(error, secured=False)
