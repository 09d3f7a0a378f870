"""Asking policy servers: connections that are kept, and tried anew when they fail (smtpd_policy_service_*).

A server answers one request after the other on a connection, so there are as many connections as requests at once, up
to a limit; the others wait. Requests of one message go over the same connection while it is free.
"""

import errno
import os
import socket
from collections import deque
from collections.abc import Callable

from msgspec import Struct

from postwarden.mail.host import Host
from postwarden.mail.hostname import valid_address
from postwarden.mail.session import TlsFacts
from postwarden.net.clock import Clock, Timer
from postwarden.net.dial import Dial
from postwarden.net.resolver import Resolver
from postwarden.net.stream import Stream
from postwarden.wire.dns import Kind
from postwarden.wire.dns_answer import Answer
from postwarden.wire.policy import PolicyError, ReplyReader

_MAX_CONNECTIONS = 100
"""To one server from one process; so many processes a Postfix has by default."""


class Limits(Struct, frozen=True):
    """Times in seconds."""

    timeout: int = 100
    """To connect, and to wait for a reply."""
    max_idle: int = 300
    max_ttl: int = 1000
    request_limit: int = 0
    """Requests on one connection; 0: any number."""
    try_limit: int = 2
    retry_delay: int = 1


class Endpoint(Struct, frozen=True):
    """`host` and `port`, or the `path` of a Unix socket. `name` is how the log has it."""

    name: str
    host: str = ""
    port: int = 0
    path: str = ""


def port_number(text: str) -> int:
    """Of a number, or of a service that the system knows. Raises ValueError."""
    if text.isascii() and text.isdigit() and 0 < int(text) < 65536:
        return int(text)
    try:
        return socket.getservbyname(text, "tcp")
    except OSError as error:
        raise ValueError(f"{text} is no port") from error


class PolicyServers:
    """The policy servers of a process: one client for each endpoint with its limits."""

    def __init__(self, dial: Dial, native: Resolver, clock: Clock, warn: Callable[[str], None]) -> None:
        self._dial = dial
        self._native = native
        self._clock = clock
        self._warn = warn
        self._servers: dict[tuple[Endpoint, Limits], PolicyServer] = {}
        self._instances = 0

    def server(self, endpoint: Endpoint, limits: Limits) -> "PolicyServer":
        key = (endpoint, limits)
        if key not in self._servers:
            self._servers[key] = PolicyServer(endpoint, limits, self._dial, self._native, self._clock, self._warn)
        return self._servers[key]

    def close(self) -> None:
        """End the connections that nobody waits for."""
        for server in self._servers.values():
            server.close()

    def new_instance(self) -> str:
        """A name that no other message has."""
        self._instances += 1
        now = self._clock.now()
        return f"{os.getpid():x}.{int(now):x}.{int(now % 1 * 1e6):x}.{self._instances:x}"


class _Request:
    def __init__(self, data: bytes, instance: str, done: Callable[[str | None], None]) -> None:
        self.data = data
        self.instance = instance
        self.done = done
        self.tries = 0
        self.queued: Timer | None = None


class PolicyServer:
    """One server. See PolicyServers."""

    def __init__(
        self,
        endpoint: Endpoint,
        limits: Limits,
        dial: Dial,
        native: Resolver,
        clock: Clock,
        warn: Callable[[str], None],
    ) -> None:
        self.endpoint = endpoint
        self.limits = limits
        self.dial = dial
        self.clock = clock
        self._native = native
        self._warn = warn
        self._idle: list[_Connection] = []
        self._waiting: deque[_Request] = deque()
        self._open = 0

    def ask(self, data: bytes, instance: str, done: Callable[[str | None], None]) -> None:
        """Call `done` once with the action; None: no answer was to be had, and the log says why."""
        self._start(_Request(data, instance, done))

    def close(self) -> None:
        for connection in list(self._idle):
            connection.close()

    def _start(self, request: _Request) -> None:
        connection = self._free(request.instance)
        if connection is not None:
            connection.send(request)
        elif self._open < _MAX_CONNECTIONS:
            self._open += 1
            self._connect(request)
        else:
            self._waiting.append(request)
            request.queued = self.clock.call_later(self.limits.timeout, lambda: self._waited(request))

    def _waited(self, request: _Request) -> None:
        if request in self._waiting:
            self._waiting.remove(request)
            self._warn(f"problem talking to server {self.endpoint.name}: all connections are busy")
            request.done(None)

    def _free(self, instance: str) -> "_Connection | None":
        now, limit = self.clock.monotonic(), self.limits.request_limit
        for connection in list(self._idle):
            if now >= connection.ends or 0 < limit <= connection.served:
                connection.close()
        chosen = next((c for c in self._idle if c.instance == instance), self._idle[-1] if self._idle else None)
        if chosen is not None:
            self._idle.remove(chosen)
        return chosen

    def _connect(self, request: _Request) -> None:
        endpoint = self.endpoint
        if endpoint.path:
            self._try(request, [Host(endpoint.path, "", 0, path=endpoint.path)])
        elif valid_address(endpoint.host):
            self._try(request, [Host(endpoint.host, endpoint.host, endpoint.port)])
        else:
            self._resolve(request, [Kind.A, Kind.AAAA], [])

    def _resolve(self, request: _Request, kinds: list[Kind], found: list[Host]) -> None:
        if not kinds:
            if found:
                self._try(request, found)
            else:
                self._unreachable(request, "host not found")
            return

        def answered(answer: Answer) -> None:
            hosts = [Host(self.endpoint.host, str(r.data), self.endpoint.port) for r in answer.records]
            self._resolve(request, kinds[1:], found + hosts)

        self._native.lookup(self.endpoint.host, kinds[0], answered)

    def _try(self, request: _Request, hosts: list[Host]) -> None:
        def unreachable(error: OSError) -> None:
            if len(hosts) > 1:
                self._try(request, hosts[1:])
            else:
                silent = error.errno == errno.ENOENT
                self._unreachable(request, os.strerror(error.errno or errno.EIO), excused=silent)

        connection = _Connection(self, request)
        self.dial.connect(hosts[0], connection, unreachable, timeout=self.limits.timeout)

    def _unreachable(self, request: _Request, why: str, *, excused: bool = False) -> None:
        self._warn(f"connect to {self.endpoint.name}: {why}")
        self.failed(request, why, excused=excused)

    def idle(self, connection: "_Connection") -> None:
        """It has answered."""
        self._idle.append(connection)
        while self._waiting and self._idle:
            self._next()

    def _next(self) -> None:
        request = self._waiting.popleft()
        if request.queued is not None:
            request.queued.cancel()
        self._start(request)

    def failed(self, request: _Request | None, why: str, *, excused: bool = False, reused: bool = False) -> None:
        """A connection is gone, or did not come. `excused`: worth a word only if the next try fails too; `reused`: it
        had served before, and its server may have tired of waiting: no more than a reason to connect anew."""
        self._open -= 1
        if request is not None:
            request.tries += 1
            again = request.tries < self.limits.try_limit
            if not (again and (excused or reused)):
                self._warn(f"problem talking to server {self.endpoint.name}: {why}")
            if not again:
                request.done(None)
            elif reused:
                self._start(request)
            else:
                self.clock.call_later(self.limits.retry_delay, lambda: self._start(request))
        if self._waiting and self._open < _MAX_CONNECTIONS:
            self._next()

    def gone(self, connection: "_Connection") -> None:
        """An idle connection ended."""
        if connection in self._idle:
            self._idle.remove(connection)


class _Connection:
    """A `net.stream.Handler`."""

    def __init__(self, server: PolicyServer, request: _Request) -> None:
        self._server = server
        self._request: _Request | None = request
        self._stream: Stream | None = None
        self._reader = ReplyReader()
        self._timer: Timer | None = None
        self._over = False
        self.served = 0
        self.instance = ""
        self.ends = server.clock.monotonic() + server.limits.max_ttl

    def opened(self, stream: Stream) -> None:
        self._stream = stream
        assert self._request is not None
        self.send(self._request)

    def send(self, request: _Request) -> None:
        assert self._stream is not None
        self._request = request
        self.instance = request.instance
        self._reader = ReplyReader()
        self._arm(self._server.limits.timeout, "Connection timed out")
        self._stream.write(request.data)

    def received(self, data: bytes) -> None:
        if self._over:
            return
        if self._request is None:
            self._end("data that nobody asked for")
            return
        try:
            action = self._reader.receive(data)
        except PolicyError as error:
            self._end(str(error))
            return
        if action is None:
            return
        request, self._request = self._request, None
        self.served += 1
        self._arm(self._server.limits.max_idle, "idle")
        self._server.idle(self)
        request.done(action)

    def ended(self) -> None:
        self._end("connection lost", excused=True)

    def closed(self, reason: Exception | None) -> None:
        self._end("connection lost" if reason is None else str(reason), excused=True)

    def secured(self, tls: TlsFacts) -> None:
        """Never: policy servers are asked in clear."""

    def congested(self) -> None:
        """A request is small."""

    def drained(self) -> None:
        """See congested."""

    def close(self) -> None:
        """It is idle, and old."""
        self._end("closed")

    def _arm(self, seconds: float, why: str) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._server.clock.call_later(seconds, lambda: self._end(why))

    def _end(self, why: str, *, excused: bool = False) -> None:
        if self._over:
            return
        self._over = True
        if self._timer is not None:
            self._timer.cancel()
        if self._stream is not None:
            self._stream.close()
        request, self._request = self._request, None
        self._server.gone(self)
        self._server.failed(request, why, excused=excused, reused=self.served > 0)
