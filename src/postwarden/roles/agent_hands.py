"""The agent's workers as its supervisor sees them, and how one is ended."""

import contextlib
import os
import signal
import socket
from collections.abc import Callable

from postwarden.config.settings import Settings
from postwarden.ipc.channel import BlockingChannel
from postwarden.roles.agent_queue import Work
from postwarden.roles.agent_records import FromWorker
from postwarden.roles.leash import Leash


class Hand:
    """A worker's process, seen from here. `retiring`: it belongs to a configuration that is no longer in force."""

    def __init__(self, pid: int, sock: socket.socket, since: float, leash: Leash) -> None:
        self.pid = pid
        self.leash = leash
        self.channel: BlockingChannel[FromWorker] = BlockingChannel(sock, FromWorker)
        self.able = False
        self.work: Work | None = None
        self.since = since
        """Since when it does what it does: monotonic seconds."""
        self.until = float("inf")
        """When its delivery has taken too long."""
        self.retiring = False
        self.trial: Settings | None = None
        """The configuration that it is to judge."""


class Killed:
    """Workers that were killed. One that waits for a dead file server dies late, and nobody may wait for it."""

    def __init__(self) -> None:
        self._dying: set[int] = set()

    def __bool__(self) -> bool:
        return bool(self._dying)

    def add(self, hand: Hand) -> None:
        """Kill a worker with all that it has started: it leads a process group, and so does a program that it runs.

        The program goes first: it would take the end of the worker for the end of the message. The worker must not see
        that, and go on. One that is dead already, by somebody else's hand, has left its program behind."""
        pid = hand.pid
        _signal(os.kill, pid, signal.SIGSTOP)
        hand.leash.pull()
        hand.leash.close()
        _signal(os.killpg, pid, signal.SIGKILL)
        _signal(os.kill, pid, signal.SIGKILL)
        self._dying.add(pid)
        self.reap()

    def reap(self) -> None:
        for pid in list(self._dying):
            try:
                gone = os.waitpid(pid, os.WNOHANG)[0] == pid
            except ChildProcessError:
                gone = True
            if gone:
                self._dying.discard(pid)


def _signal(send: Callable[[int, int], None], pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        send(pid, number)
