"""The servers of one table: which is asked next, what stays connected, and which one rests after a failure."""

import contextlib
import os
import random
import threading
import time
from collections.abc import Callable, Sequence
from typing import Generic, Protocol, TypeVar

from msgspec import Struct

from postwarden.tables.table import TableError

RETRY_SECONDS, IDLE_SECONDS = 60, 60
"""A server that failed is left alone for a minute, and a connection that nobody needed for a minute is closed, as in
Postfix."""
PAUSE_SECONDS = 2.0
"""How soon a resting server is tried all the same, when no other one answers: after a restart of the only server,
mail should not wait for the rest of the minute."""


class ServerError(Exception):
    """A server did not answer, or answered with an error. `late`: it took too long."""

    def __init__(self, text: str, *, late: bool = False) -> None:
        super().__init__(text)
        self.late = late


class Unreachable(Exception):
    """No server of the table answered; the text says what each one said."""


class Connection(Protocol):
    def close(self) -> None: ...


class Host(Struct, frozen=True):
    """`name` is what the operator wrote; `address` a host name, a path, or all that a library is told; `local`: a
    Unix socket, which is tried before all others."""

    name: str
    address: str
    port: str = ""
    local: bool = False


C = TypeVar("C", bound=Connection)
Answer = TypeVar("Answer")


class _Server:
    __slots__ = ("failed_at", "fault", "host", "probed")

    def __init__(self, host: Host) -> None:
        self.host = host
        self.failed_at: float | None = None
        self.fault = ""
        self.probed = False


class _Link(Generic[C]):
    __slots__ = ("client", "server", "used_at")

    def __init__(self, server: _Server, client: C, used_at: float) -> None:
        self.server, self.client, self.used_at = server, client, used_at


class Servers(Generic[C]):
    """Asks one of several servers that know the same; may be called from several threads at once."""

    def __init__(
        self,
        hosts: Sequence[Host],
        connect: Callable[[Host], C],
        *,
        retry: float = RETRY_SECONDS,
        idle: float = IDLE_SECONDS,
        ordered: bool = False,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """`connect` and what is asked raise ServerError. `ordered`: the first host that works, not any."""
        self._servers = [_Server(host) for host in hosts]
        self._connect, self._retry, self._idle, self._now = connect, retry, idle, now
        self._ordered = ordered
        self._lock = threading.Lock()
        self._links: list[_Link[C]] = []
        self._closed = False
        self._process = os.getpid()

    def ask(self, question: Callable[[C], Answer]) -> Answer:
        """The first answer. A connection that was kept may be dead without anybody's fault: then a new one is made.
        Raises Unreachable; TableError of a question means that its answer is of no use, and the connection is."""
        said: list[str] = []
        tried: set[_Server] = set()
        while True:
            link = self._kept(tried)
            fresh = link is None
            if link is None:
                server = self._next(tried)
                if server is None:
                    raise Unreachable("; ".join(said) or self._resting())
                link = self._opened(server, said)
            if link is None:
                continue
            try:
                answer = question(link.client)
            except ServerError as error:
                self._drop(link, error, said if fresh or error.late else [], tried)
                continue
            except TableError:
                self._keep(link)
                raise
            except BaseException:
                _close(link)
                raise
            self._keep(link)
            return answer

    def sweep(self) -> None:
        """Close what nobody needed for a while."""
        limit = self._now() - self._idle
        with self._lock:
            self._forget_those_of_another_process()
            old = [link for link in self._links if link.used_at <= limit]
            self._links = [link for link in self._links if link.used_at > limit]
        for link in old:
            _close(link)

    def close(self) -> None:
        """Close what is idle now, and the rest when its answer is there."""
        with self._lock:
            self._closed = True
            self._forget_those_of_another_process()
            links, self._links = self._links, []
        for link in links:
            _close(link)

    def _kept(self, tried: set[_Server]) -> _Link[C] | None:
        self.sweep()
        with self._lock:
            for at in reversed(range(len(self._links))):
                if self._links[at].server not in tried:
                    return self._links.pop(at)
        return None

    def _next(self, tried: set[_Server]) -> _Server | None:
        """Whom to connect to. A server that failed is tried by one thread at a time: others need not wait too."""
        with self._lock:
            now = self._now()
            able = [server for server in self._servers if server not in tried and not server.probed]
            ready = [server for server in able if server.failed_at is None or server.failed_at + self._retry <= now]
            if ready:
                local = [server for server in ready if server.host.local]
                chosen = ready[0] if self._ordered else random.choice(local or ready)
            else:
                paused = [server for server in able if (server.failed_at or 0) + PAUSE_SECONDS <= now]
                if not paused:
                    return None
                chosen = min(paused, key=lambda server: server.failed_at or 0)
            chosen.probed = chosen.failed_at is not None
            tried.add(chosen)
            return chosen

    def _opened(self, server: _Server, said: list[str]) -> _Link[C] | None:
        try:
            client = self._connect(server.host)
        except ServerError as error:
            said.append(f"{server.host.name}: {error}")
            self._rest(server, error)
            return None
        finally:
            server.probed = False
        server.failed_at = None
        return _Link(server, client, self._now())

    def _drop(self, link: _Link[C], error: ServerError, said: list[str], tried: set[_Server]) -> None:
        _close(link)
        said.append(f"{link.server.host.name}: {error}")
        if error.late:
            tried.add(link.server)
            self._rest(link.server, error)

    def _rest(self, server: _Server, error: ServerError) -> None:
        with self._lock:
            server.failed_at, server.fault = self._now(), str(error)

    def _keep(self, link: _Link[C]) -> None:
        link.used_at = self._now()
        with self._lock:
            if not self._closed:
                self._links.append(link)
                return
        _close(link)

    def _resting(self) -> str:
        texts = [f"{server.host.name}: rests, since it failed: {server.fault}" for server in self._servers]
        return "; ".join(texts) or "no servers"

    def _forget_those_of_another_process(self) -> None:
        # After a fork both would write to the same socket; closing it here would say goodbye in the other's name.
        if os.getpid() != self._process:
            self._process = os.getpid()
            self._links = []


def _close(link: _Link[C]) -> None:
    with contextlib.suppress(ServerError):
        link.client.close()
