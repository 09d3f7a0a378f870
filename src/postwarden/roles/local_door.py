"""The socket of local users, at a receiver: who connects is asked of the kernel, before a byte is read."""

import asyncio
import contextlib
import socket

from postwarden.ipc.local_socket import peer_uid
from postwarden.net.stream import SocketStream
from postwarden.receive.submission import Submitting
from postwarden.receive.submit_service import SubmitService

_AT_ONCE = 64
_PAUSE = 1.0
"""Seconds, when there is no descriptor left for who waits."""


class LocalDoor:
    """Accepts until it is closed. It owns the socket; a path in the file system is the master's."""

    def __init__(self, sock: socket.socket, service: SubmitService, loop: asyncio.AbstractEventLoop) -> None:
        self._sock = sock
        self._service = service
        self._loop = loop
        self._tasks: set[asyncio.Task[object]] = set()
        self._open = True
        sock.setblocking(False)
        loop.add_reader(sock.fileno(), self._accept)

    def close(self) -> None:
        if self._open:
            self._open = False
            self._loop.remove_reader(self._sock.fileno())
            self._sock.close()

    def _accept(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                connection, _ = self._sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError:
                self._loop.remove_reader(self._sock.fileno())
                self._loop.call_later(_PAUSE, self._resume)
                return
            self._admit(connection)

    def _resume(self) -> None:
        if self._open:
            self._loop.add_reader(self._sock.fileno(), self._accept)

    def _admit(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        try:
            uid = peer_uid(connection)
        except OSError:
            connection.close()
            return
        task: asyncio.Task[object] = self._loop.create_task(self._serve(connection, uid))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, connection: socket.socket, uid: int) -> None:
        with contextlib.suppress(OSError):
            await self._loop.connect_accepted_socket(
                lambda: SocketStream(Submitting(self._service, uid), self._loop), connection
            )
