"""One server of a small protocol: a question, a reply. Connections are kept and handed from thread to thread."""

import contextlib
import os
import select
import socket
import threading
import time
from collections.abc import Callable

from msgspec import Struct

from postwarden.wire.lookups import Looked, Malformed, Reader

_READ = 65536
REST_SECONDS = 1.0
"""How long a server that could not be reached is not tried again; who asks meanwhile hears the same at once."""
IDLE_SECONDS = 60.0


class PeerError(Exception):
    """There is no answer. `reached`: it was not the connection that failed."""

    def __init__(self, text: str, *, reached: bool) -> None:
        super().__init__(text)
        self.reached = reached


class Endpoint(Struct, frozen=True):
    """A TCP server by host and port, or a Unix socket by its path."""

    name: str
    """As in messages."""
    host: str = ""
    port: str = ""
    path: str = ""


def tcp_endpoint(text: str) -> Endpoint:
    """`host:port`, `[address]:port`. Raises ValueError."""
    host, colon, port = text.rpartition(":")
    if not colon or not port or (port.isdigit() and not 0 < int(port[:9]) < 65536):
        raise ValueError(f'need host:port instead of "{text}"')
    return Endpoint(text, host[1:-1] if host.startswith("[") and host.endswith("]") else host, port)


def endpoint(text: str, directory: str = "") -> Endpoint:
    """`inet:host:port` or `unix:path`; a relative path is one of `directory`. Raises ValueError."""
    kind, colon, rest = text.partition(":")
    if not colon or not rest:
        raise ValueError(f'need service transport:endpoint instead of "{text}"')
    if kind == "inet":
        return tcp_endpoint(rest)
    if kind == "unix":
        return Endpoint(rest, path=os.path.join(directory, rest))
    raise ValueError(f"invalid transport name: {kind} in service: {text}")


class Peer:
    """`ask` blocks, and may be called by several threads at once: each has a connection of its own meanwhile."""

    def __init__(self, where: Endpoint, seconds: float) -> None:
        """`seconds`: to send a question and receive its reply, and to connect."""
        self._idle: list[tuple[socket.socket, float]] = []
        self._where = where
        self._seconds = seconds
        self._lock = threading.Lock()
        self._process = 0
        self._rests_until = 0.0
        self._why = ""

    def ask(self, question: bytes, reader: Callable[[], Reader]) -> Looked:
        """Raises PeerError. A kept connection that turns out to be dead is no failure of the server."""
        kept = self._kept()
        if kept is not None:
            with contextlib.suppress(ConnectionError):
                return self._tried(kept, question, reader())
        try:
            return self._tried(self._connect(), question, reader())
        except ConnectionError as error:
            raise self._error(error.strerror or str(error)) from error

    def _tried(self, sock: socket.socket, question: bytes, reader: Reader) -> Looked:
        """Raises PeerError; ConnectionError where the other side has gone."""
        try:
            return self._asked(sock, question, reader)
        except ConnectionError:
            sock.close()
            raise
        except TimeoutError as error:
            sock.close()
            raise self._error(f"no answer in {self._seconds:g} seconds") from error
        except (OSError, Malformed) as error:
            sock.close()
            raise self._error(str(error)) from error

    def _error(self, text: str) -> PeerError:
        return PeerError(f"{self._where.name}: {text}", reached=True)

    def close(self) -> None:
        """Let go of connections that nobody uses."""
        with self._lock:
            idle, self._idle = self._idle, []
        for sock, _ in idle:
            sock.close()

    def __del__(self) -> None:
        for sock, _ in self._idle:
            sock.close()

    def sweep(self) -> None:
        """The same for those that nobody has needed for a while."""
        before = time.monotonic() - IDLE_SECONDS
        with self._lock:
            old = [sock for sock, since in self._idle if since < before]
            self._idle = [one for one in self._idle if one[1] >= before]
        for sock in old:
            sock.close()

    def _asked(self, sock: socket.socket, question: bytes, reader: Reader) -> Looked:
        """Raises OSError, Malformed."""
        until = time.monotonic() + self._seconds
        sock.settimeout(self._seconds)
        sock.sendall(question)
        while True:
            left = until - time.monotonic()
            if left <= 0:
                raise TimeoutError
            sock.settimeout(left)
            data = sock.recv(_READ)
            if not data:
                raise ConnectionResetError(0, "unexpected disconnect")
            looked = reader.feed(data)
            if looked is not None:
                if reader.rest:
                    sock.close()  # it says more than it was asked for: the next reply would be this one's
                else:
                    self._keep(sock)
                return looked

    def _keep(self, sock: socket.socket) -> None:
        with self._lock:
            self._idle.append((sock, time.monotonic()))

    def _kept(self) -> socket.socket | None:
        """One whose server is silent, as it should be."""
        with self._lock:
            if self._process != os.getpid():
                # Of the process that this one was forked from, which goes on using them.
                self._idle, self._process = [], os.getpid()
        while True:
            with self._lock:
                if not self._idle:
                    return None
                sock, _ = self._idle.pop()
            if not _readable(sock):
                return sock
            sock.close()

    def _connect(self) -> socket.socket:
        now = time.monotonic()
        with self._lock:
            if now < self._rests_until:
                raise PeerError(self._why, reached=False)
        try:
            return self._connected()
        except (OSError, UnicodeError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error) or "timed out"
            with self._lock:
                self._why = f"connect to {self._where.name}: {reason}"
                self._rests_until = time.monotonic() + REST_SECONDS
            raise PeerError(self._why, reached=False) from error

    def _connected(self) -> socket.socket:
        """Raises OSError."""
        where = self._where
        if not where.path:
            return socket.create_connection((where.host or "localhost", where.port), self._seconds)
        with contextlib.ExitStack() as undo:
            sock = undo.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC))
            sock.settimeout(self._seconds)
            sock.connect(where.path)
            undo.pop_all()
        return sock


def _readable(sock: socket.socket) -> bool:
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))
