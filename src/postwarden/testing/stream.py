"""Streams in memory: `connect` joins two handlers of `net.stream` as a network would, without one.

Bytes, ends and closings arrive by the clock's `call_soon`, in order, never inside the call that caused them; only
`congested` comes inside `write`, as asyncio has it. `chunk` limits how many bytes arrive at once (1: byte by byte).
TLS is played: both ends call `start_tls`, both get `secured`; plain bytes that arrive in between break the handshake
as they would break a real one.
"""

import ssl
from collections import deque

from postwarden.mail.session import PeerCertificate, TlsFacts
from postwarden.net.clock import Clock
from postwarden.net.stream import Handler, Stream

FAKE_TLS = TlsFacts("TLSv1.3", "TLS_AES_256_GCM_SHA384", 256)


class MemoryStream:
    """One end. `written` keeps all that was ever written to it."""

    def __init__(self, handler: Handler, clock: Clock, chunk: int, high_water: int) -> None:
        self.handler = handler
        self.peer = ("", 0)
        self.local = ("", 0)
        self.tls: TlsFacts | None = None
        self.other: MemoryStream
        self.written = bytearray()
        self.server_name = ""
        self.certificate: PeerCertificate | None = None
        self._clock = clock
        self._chunk = chunk
        self._high_water = high_water
        self._inbound: deque[bytes] = deque()
        self._waiting = 0
        self._scheduled = self._paused = self._congested = self._starting_tls = False
        self._ended = self._end_told = self.gone = False

    # Stream

    def write(self, data: bytes) -> None:
        if not data or self.gone:
            return
        self.written += data
        if self._starting_tls:
            raise AssertionError("plain text written during a TLS handshake")
        self.other._arrive(bytes(data))
        if not self._congested and self.other._waiting > self._high_water:
            self._congested = True
            self.handler.congested()

    def pause(self) -> None:
        self._paused = True

    def resume(self) -> None:
        self._paused = False
        self._schedule()

    def start_tls(self, context: ssl.SSLContext, *, server_side: bool, server_name: str = "") -> None:
        self._starting_tls = True
        self.server_name = server_name
        self._clock.call_soon(self._shake)

    def close(self) -> None:
        if not self.gone:
            self.gone = True
            self.other._ended = True
            self.other._schedule()
            self._clock.call_soon(lambda: self.handler.closed(None))

    def abort(self) -> None:
        if not self.gone:
            self.other.break_(ConnectionResetError(104, "Connection reset by peer"))
            self.gone = True
            self._clock.call_soon(lambda: self.handler.closed(None))

    # for tests

    def end(self) -> None:
        """Half-close: the other side is told that no more will come, and may still write."""
        self.other._ended = True
        self.other._schedule()

    def break_(self, reason: Exception) -> None:
        """The connection fails on this end: what has not arrived is lost."""
        if not self.gone:
            self.gone = True
            self._inbound.clear()
            self._waiting = 0
            self._clock.call_soon(lambda: self.handler.closed(reason))

    # inside

    def _arrive(self, data: bytes) -> None:
        if not self.gone:
            self._inbound.append(data)
            self._waiting += len(data)
            self._schedule()

    def _schedule(self) -> None:
        if not self._scheduled and not self.gone:
            self._scheduled = True
            self._clock.call_soon(self._deliver)

    def _deliver(self) -> None:
        self._scheduled = False
        if self.gone or (self._paused and not self._starting_tls):
            return
        if self._inbound:
            if self._starting_tls:
                self._fail_handshake("wrong version number")
                return
            data = self._take()
            self._waiting -= len(data)
            self._schedule()
            self.handler.received(data)
            self._relieve()
        elif self._ended and not self._end_told:
            self._end_told = True
            if self._starting_tls:
                self._fail_handshake("unexpected eof while reading")
            elif self.tls is None:
                self.handler.ended()
            else:
                # TLS has no half-close: net.stream closes by itself.
                self.handler.ended()
                self.close()

    def _take(self) -> bytes:
        if not self._chunk:
            data = b"".join(self._inbound)
            self._inbound.clear()
            return data
        first = self._inbound.popleft()
        if len(first) > self._chunk:
            self._inbound.appendleft(first[self._chunk :])
        return first[: self._chunk]

    def _relieve(self) -> None:
        other = self.other
        if other._congested and self._waiting <= self._high_water // 4:
            other._congested = False
            if not other.gone:
                self._clock.call_soon(other.handler.drained)

    def _shake(self) -> None:
        if self.gone or not self._starting_tls:
            return
        if self._inbound or self._ended:
            self._deliver()
        elif self.other._starting_tls and not self.other.gone:
            for end in (self, self.other):
                end._starting_tls = False
                end.tls = FAKE_TLS
            for end in (self, self.other):
                self._clock.call_soon(end._tell_secured)

    def _tell_secured(self) -> None:
        if not self.gone and self.tls is not None:
            self.handler.secured(self.tls)

    def _fail_handshake(self, why: str) -> None:
        self._inbound.clear()
        self.other.break_(ssl.SSLError(1, "[SSL] handshake failure"))
        self.break_(ssl.SSLError(1, f"[SSL] {why}"))


def connect(
    near: Handler,
    far: Handler,
    clock: Clock,
    *,
    chunk: int = 0,
    high_water: int = 64 << 10,
    near_address: tuple[str, int] = ("127.0.0.1", 40000),
    far_address: tuple[str, int] = ("127.0.0.1", 25),
    tls: TlsFacts | None = None,
) -> tuple[MemoryStream, MemoryStream]:
    """Join two handlers; both get `opened` by `call_soon`, `near` (the one that dialled) first. `tls`: implicit TLS."""
    one = MemoryStream(near, clock, chunk, high_water)
    two = MemoryStream(far, clock, chunk, high_water)
    one.other, two.other = two, one
    one.local = two.peer = near_address
    one.peer = two.local = far_address
    one.tls = two.tls = tls
    clock.call_soon(lambda: near.opened(one))
    clock.call_soon(lambda: far.opened(two))
    return one, two


class Answering:
    """A handler to build on: it hangs up when the other end does, and does not care for anything else."""

    stream: Stream

    def opened(self, stream: Stream) -> None:
        self.stream = stream

    def received(self, data: bytes) -> None: ...

    def ended(self) -> None:
        self.stream.close()

    def secured(self, tls: TlsFacts) -> None: ...

    def congested(self) -> None: ...

    def drained(self) -> None: ...

    def closed(self, reason: Exception | None) -> None: ...


class Recorder:
    """A handler that writes down what happens: the simplest other end."""

    def __init__(self) -> None:
        self.stream: Stream | None = None
        self.data = bytearray()
        self.secured_with: TlsFacts | None = None
        self.has_ended = self.is_congested = self.is_closed = False
        self.reason: Exception | None = None

    def opened(self, stream: Stream) -> None:
        self.stream = stream

    def received(self, data: bytes) -> None:
        self.data += data

    def ended(self) -> None:
        self.has_ended = True

    def secured(self, tls: TlsFacts) -> None:
        self.secured_with = tls

    def congested(self) -> None:
        self.is_congested = True

    def drained(self) -> None:
        self.is_congested = False

    def closed(self, reason: Exception | None) -> None:
        self.is_closed = True
        self.reason = reason

    def take(self) -> bytes:
        """What came since the last call."""
        data = bytes(self.data)
        self.data.clear()
        return data
