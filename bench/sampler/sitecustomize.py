"""Put on the path of the measured roles by `--stages`: samples, each millisecond of CPU time, in which part of
Postwarden the main thread is, and adds what it saw to a file when the process ends."""

import atexit
import os
import signal
import sys
from collections import Counter
from types import FrameType

_DIRECTORY = os.environ.get("POSTWARDEN_BENCH_SAMPLES", "")


def _start(role: str) -> None:
    seen: Counter[str] = Counter()
    names: dict[str, str] = {}

    def place(path: str) -> str:
        _, found, rest = path.rpartition("/postwarden/")
        return rest.removesuffix(".py") if found else ""

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

    def on_term(_number: int, _frame: FrameType | None) -> None:
        write()

    signal.signal(signal.SIGPROF, sample)
    signal.signal(signal.SIGUSR2, on_term)
    signal.setitimer(signal.ITIMER_PROF, 0.001, 0.001)
    atexit.register(write)


if _DIRECTORY and "postwarden.roles" in getattr(sys, "orig_argv", []):
    words = sys.orig_argv
    _start(words[words.index("postwarden.roles") + 1])
