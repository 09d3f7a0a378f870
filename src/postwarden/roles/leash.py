"""What a worker of the agent tells its supervisor of the program that it runs: by memory that both have, so that it is
true at the moment when the worker is killed, and costs no message.
"""

import contextlib
import mmap
import os
import signal
import struct

_PLACE = struct.Struct("=qq")


class Leash:
    """Made before the worker is forked."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, _PLACE.size)

    def begins(self, stdin: int) -> None:
        """A program is about to be started, with the pipe `stdin` for its input."""
        self._write(0, os.fstat(stdin).st_ino)

    def runs(self, pid: int) -> None:
        """It leads a process group."""
        self._write(pid, 0)

    def ended(self) -> None:
        self._write(0, 0)

    def pull(self) -> None:
        """The worker is no more: kill what it had started."""
        pid, pipe = _PLACE.unpack_from(self._memory)
        for group in [pid] if pid else _readers(pipe) if pipe else ():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(group, signal.SIGKILL)
        self.ended()

    def close(self) -> None:
        self._memory.close()

    def _write(self, pid: int, pipe: int) -> None:
        _PLACE.pack_into(self._memory, 0, pid, pipe)


def _readers(pipe: int) -> list[int]:
    """Session leaders whose standard input it is: a program whose worker was killed while it started it."""
    found = []
    for name in os.listdir("/proc"):
        with contextlib.suppress(OSError):
            mine = name.isdecimal() and os.readlink(f"/proc/{name}/fd/0") == f"pipe:[{pipe}]"
            if mine and os.getsid(int(name)) == int(name):
                found.append(int(name))
    return found
