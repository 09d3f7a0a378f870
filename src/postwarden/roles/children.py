"""Starting a role's process, and what the master knows of it."""

import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any

from postwarden.ipc.channel import Channel
from postwarden.ipc.records import Drain, Start, ToMaster

CONTROL_FD = 3


class Phase(Enum):
    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"


class Child:
    """A living process of a role, and the control channel to it. It owns the descriptors that it is given, unless
    making it raises OSError."""

    def __init__(self, start: Start, fds: Sequence[int], heard: Callable[["Child", ToMaster], None]) -> None:
        self.role = start.role
        self.instance = start.instance
        self.generation = start.generation
        self.phase = Phase.STARTING
        self.hurried = False
        """It was told to end at once."""
        self.began = time.monotonic()
        self.pid, ours = spawn(start.role)
        self.figures: dict[str, int] = {}
        self._channel: Channel[ToMaster] = Channel(
            ours, ToMaster, lambda record, _: heard(self, record), lambda _: None
        )
        self.send(start, fds)

    def send(self, record: Any, fds: Sequence[int] = ()) -> None:
        """Say something; the descriptors are closed here once they are sent."""
        self._channel.send(record, fds)

    def drain(self, *, at_once: bool = False) -> None:
        self.phase = Phase.DRAINING
        self.hurried = at_once
        self.send(Drain(at_once))

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    def gone(self) -> None:
        self._channel.close()


def spawn(role: str) -> tuple[int, socket.socket]:
    """Execute a role in a process of its own; (pid, our end of its control channel). Raises OSError.

    A new program and not a fork: it has none of the master's memory, where keys and passwords are, and a reload after
    an upgrade runs the new code.
    """
    ours, theirs = socket.socketpair()
    with theirs:
        # A descriptor that is 3 already keeps its close-on-exec flag when it is duplicated onto itself.
        if theirs.fileno() == CONTROL_FD:
            os.set_inheritable(CONTROL_FD, True)
        try:
            pid = os.posix_spawn(
                sys.executable,
                [sys.executable, "-I", "-m", "postwarden.roles", role],
                environment(),
                file_actions=[(os.POSIX_SPAWN_DUP2, theirs.fileno(), CONTROL_FD)],
                setsigmask=(),
                setsigdef=(signal.SIGPIPE, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD),
            )
        except OSError:
            ours.close()
            raise
    return pid, ours


def environment() -> dict[str, str]:
    """The clean environment that Postfix gives its daemons (import_environment), and no more."""
    kept = ("PATH", "TZ", "LANG", "LC_ALL", "LD_LIBRARY_PATH")
    return {"MAIL_CONFIG": os.environ.get("MAIL_CONFIG", ""), **{k: os.environ[k] for k in kept if k in os.environ}}
