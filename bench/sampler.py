"""Imported by each role when `--stages` runs them: samples, each millisecond of CPU time, in which part of Postwarden
the main thread is, and writes what it saw beside itself when the process ends.

It is copied into an environment of its own (`bench.stages`) and knows nothing of the others.
"""

import atexit
import os
import signal
import sys
from collections import Counter
from types import FrameType

_START_UP = 0.8
"""Seconds of CPU that importing and reading the configuration take, at most: not sampled."""
_LOOP = "roles/life"
"""Whoever runs the loop stands for what the loop does in C between callbacks: sockets, TLS."""
_DIRECTORY = os.path.join(os.path.dirname(os.path.abspath(__file__)), "samples")


def _start(role: str) -> None:
    seen: Counter[str] = Counter()
    names: dict[str, str] = {}

    def place(path: str) -> str:
        _, found, rest = path.rpartition("/postwarden/")
        name = rest.removesuffix(".py")
        return "" if not found else "(loop)" if name == _LOOP else name

    def sample(_number: int, frame: FrameType | None) -> None:
        while frame is not None:
            path = frame.f_code.co_filename
            where = names.get(path)
            if where is None:
                where = names[path] = place(path)
            if where:
                seen[where] += 1
                return
            frame = frame.f_back
        seen["(loop)"] += 1

    def write() -> None:
        signal.setitimer(signal.ITIMER_PROF, 0)
        with open(os.path.join(_DIRECTORY, f"{role}.{os.getpid()}"), "w") as file:
            file.writelines(f"{count} {where}\n" for where, count in seen.items())

    signal.signal(signal.SIGPROF, sample)
    signal.setitimer(signal.ITIMER_PROF, _START_UP, 0.001)
    atexit.register(write)


if "postwarden.roles" in sys.orig_argv and os.path.isdir(_DIRECTORY):
    words = sys.orig_argv
    _start(words[words.index("postwarden.roles") + 1])
