"""`postfix logrotate`: the log file gets a dated name and is compressed; every role writes to a new one."""

import contextlib
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from postwarden.cli.service import Stop, Voice
from postwarden.config.errors import ConfigError
from postwarden.config.settings import Settings, load
from postwarden.mail.events import Fatal
from postwarden.roles import lock

_PATIENCE = 10.0
_NAMES = ("maillog_file", "maillog_file_compressor", "maillog_file_rotate_suffix")


def main(name: str, words: list[str]) -> int:
    """`words[0]` is the configuration directory. Exit code 0, or 1 with the reason on standard error and in the log."""
    try:
        settings = load(words[0])
    except ConfigError as error:
        print(f"postfix: fatal: {error}", file=sys.stderr)
        return 1
    try:
        if len(words) > 1:
            raise Stop("usage postfix logrotate (no arguments)")
        rotate(settings)
    except Stop as error:
        Voice(settings).say(Fatal(str(error)))
        return 1
    return 0


def rotate(settings: Settings) -> None:
    """Raises Stop."""
    values = {name: settings.text(name) for name in _NAMES}
    for name, value in values.items():
        if not value:
            raise Stop(f"empty '{name}' parameter value - logfile rotation failed")
    log = values["maillog_file"]
    if log.startswith("/dev/"):
        raise Stop(f"not rotating '{log}'")
    try:
        rotated = f"{log}.{time.strftime(values['maillog_file_rotate_suffix'])}"
        if os.path.lexists(rotated):
            # What the compressor would not have is there uncompressed: renaming would overwrite it.
            raise Stop(f"logfile '{log}' rotation failed: {rotated} exists")
        os.rename(log, rotated)
        master = lock.running(settings.text("queue_directory"))
        if master:
            os.kill(master, signal.SIGUSR2)
            _await_release(rotated)
        subprocess.run([*shlex.split(values["maillog_file_compressor"]), rotated], check=True, capture_output=True)
    except subprocess.CalledProcessError as error:
        reason = error.stderr.decode(errors="replace").strip() or f"exit status {error.returncode}"
        raise Stop(f"logfile '{log}' rotation failed: {reason}") from None
    except (OSError, ValueError) as error:
        raise Stop(f"logfile '{log}' rotation failed: {error}") from None


def _await_release(path: str) -> None:
    """What is written to the file after it was compressed would be lost. Raises OSError."""
    deadline = time.monotonic() + _PATIENCE
    state = os.stat(path)
    while holders := list(_holders(state)):
        if time.monotonic() > deadline:
            raise OSError(f"{path} is still written by process {holders[0]}")
        time.sleep(0.02)


def _holders(state: os.stat_result) -> Iterator[int]:
    """Processes that have that file open for writing. Its name does not tell: somebody may have another file under the
    same path, in a mount namespace of his own."""
    for process in Path("/proc").iterdir():
        if process.name.isdecimal() and int(process.name) != os.getpid():
            with contextlib.suppress(OSError):
                if any(_is(fd, state) and _written(process, fd.name) for fd in (process / "fd").iterdir()):
                    yield int(process.name)


def _is(fd: Path, state: os.stat_result) -> bool:
    with contextlib.suppress(OSError):
        return os.path.samestat(os.stat(fd), state)
    return False


def _written(process: Path, fd: str) -> bool:
    for line in (process / "fdinfo" / fd).read_text().splitlines():
        if line.startswith("flags:"):
            return int(line.split()[1], 8) & os.O_ACCMODE != os.O_RDONLY
    return False
