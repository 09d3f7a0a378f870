"""What delivery to a program needs of the agent: somebody who runs it. Nothing here waits for a loop."""

from collections.abc import Iterable, Mapping
from typing import Protocol

from msgspec import Struct

OUTPUT_LIMIT = 4096
"""Bytes of output that are kept. A program that writes more finds nobody who reads it."""


class Program(Struct, frozen=True):
    """What is to be run, and as whom. Nothing of the agent's reaches it but what stands here."""

    argv: tuple[str, ...]
    environment: Mapping[str, str]
    uid: int
    gid: int
    """Its only group."""
    limit: float
    """Seconds after which it is killed with all that it has started."""
    directory: str = ""
    """Entered with the program's rights; empty: the queue directory."""
    chroot: str = ""
    """The root of its file system, entered before."""
    file_size: int = 0
    """The largest file that it may write, in bytes; 0: any."""
    script: str = ""
    """What /bin/sh reads when no file in PATH has the program's name: `exit 75`, `LANG=C true`."""
    complaint: str = "local: fatal: execvp"
    """What its output begins with when it can't be executed, as if it had said so itself."""


class Ran(Struct, frozen=True):
    """How it ended. `late`: it was killed because its time was over."""

    output: bytes = b""
    """The beginning of what it wrote to its standard output and error output."""
    exit: int = 0
    signal: int = 0
    late: bool = False
    trouble: str = ""
    """For the log: why it could not even be started."""


class Programs(Protocol):
    def run(self, program: Program, pieces: Iterable[bytes]) -> Ran:
        """Give it `pieces` as its standard input; it need not read them. Raises NotPermitted; OSError when no process
        can be had; EOFError when `pieces` does: it has been killed then, and has not seen the end of the message."""
