"""Connections that we open."""

import asyncio
import contextlib
import errno
import socket
from collections.abc import Callable
from typing import Protocol

from postwarden.mail.host import Host
from postwarden.net.stream import Handler, SocketStream


class Dial(Protocol):
    def connect(
        self, host: Host, handler: Handler, failed: Callable[[OSError], None], *, timeout: float, source: str = ""
    ) -> None:
        """Connect to one address. Then either `handler.opened` or `failed` is called, once, never from inside this
        call. `timeout` in seconds, 0: the system's own; `source` is the address to connect from. One that this machine
        does not have fails with SourceError."""


class SourceError(OSError):
    """The address to connect from can't be used."""


class SocketDial:
    """Over the running asyncio loop. The connection is made by the socket itself and handed to the loop when it
    stands: one callback, where `create_connection` takes a task and two address look-ups."""

    def __init__(self, loop: asyncio.AbstractEventLoop, window: int = 0) -> None:
        """`window`: bytes of the kernel's buffers for a connection (tcp_windowsize); 0: as many as it likes."""
        self._loop = loop
        self._window = window

    def connect(
        self, host: Host, handler: Handler, failed: Callable[[OSError], None], *, timeout: float, source: str = ""
    ) -> None:
        _Connecting(self._loop, host, handler, failed, timeout, source, window=self._window)


def set_window(sock: socket.socket, octets: int) -> None:
    """Before it is connected, or listens: later the kernel has told the other side already. Raises OSError."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, octets)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, octets)


class _Connecting:
    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        host: Host,
        handler: Handler,
        failed: Callable[[OSError], None],
        timeout: float,
        source: str,
        *,
        window: int,
    ) -> None:
        self._loop = loop
        self._window = window
        self._handler = handler
        self._failed = failed
        self._socket: socket.socket | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._over = False
        self._task: asyncio.Task[object] | None = None
        try:
            self._begin(host, source)
        except OSError as error:
            loop.call_soon(self._fail, error)
            return
        if timeout:
            self._timer = loop.call_later(timeout, self._fail, TimeoutError(errno.ETIMEDOUT, "Connection timed out"))

    def _begin(self, host: Host, source: str) -> None:
        family = socket.AF_UNIX if host.path else socket.AF_INET6 if ":" in host.address else socket.AF_INET
        sock = self._socket = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        if self._window and not host.path:
            set_window(sock, self._window)
        if source and not host.path:
            try:
                sock.bind((source, 0))
            except OSError as error:
                raise SourceError(error.errno, error.strerror) from error
        try:
            sock.connect(host.path or (host.address, host.port))
        except BlockingIOError:
            self._loop.add_writer(sock.fileno(), self._writable)
        else:
            self._loop.call_soon(self._hand_over)

    def _writable(self) -> None:
        sock = self._socket
        if sock is None:
            return
        self._loop.remove_writer(sock.fileno())
        code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            self._fail(OSError(code, ""))
        else:
            self._hand_over()

    def _hand_over(self) -> None:
        sock, self._socket = self._socket, None
        if sock is None:
            return
        if self._timer is not None:
            self._timer.cancel()
        stream = SocketStream(self._handler, self._loop)
        kind = self._loop.create_unix_connection if sock.family == socket.AF_UNIX else self._loop.create_connection
        self._task = self._loop.create_task(self._join(kind(lambda: stream, sock=sock)))  # type: ignore[arg-type]

    async def _join(self, connecting: "asyncio.Future[object]") -> None:
        try:
            await connecting
        except OSError as error:
            self._fail(error)

    def _fail(self, error: OSError) -> None:
        if not self._over:
            self._drop()
            self._failed(error)

    def _drop(self) -> None:
        self._over = True
        if self._timer is not None:
            self._timer.cancel()
        if self._socket is not None:
            with contextlib.suppress(ValueError, OSError):
                self._loop.remove_writer(self._socket.fileno())
            self._socket.close()
            self._socket = None
