"""Debian's Postfix on loopback, in a directory of its own: the oracle, and a peer."""

import contextlib
import os
import pwd
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from tests.ports import free_port
from tests.whole import common_settings

MASTER_CF = Path("/usr/share/postfix/master.cf.dist")
"""As the package brings it: /etc/postfix may be somebody's own."""
missing = os.geteuid() != 0 or shutil.which("postfix") is None
needs_postfix = pytest.mark.skipif(missing, reason="needs root and Debian's postfix")


class RealPostfix:
    """One Postfix below `base`. `settings` go to main.cf."""

    def __init__(self, base: Path, sink_port: int = 0, **settings: str) -> None:
        self.port = free_port()
        self.etc = base / "postfix"
        self.log_file = base / "postfix.log"
        queue, data = base / "postfix-queue", base / "postfix-data"
        base.chmod(0o755)
        self.etc.mkdir()
        queue.mkdir()
        self.queue = queue
        data.mkdir()
        account = pwd.getpwnam("postfix")
        os.chown(data, account.pw_uid, account.pw_gid)
        for path in Path("/etc/postfix").iterdir():
            if path.is_file() and path.name not in ("main.cf", "master.cf"):
                shutil.copy(path, self.etc / path.name)
        master = MASTER_CF.read_text()
        master = re.sub(r"^smtp(\s+inet\s)", rf"127.0.0.1:{self.port}\1", master, count=1, flags=re.M)
        master = re.sub(r"^(\S+\s+(?:unix|fifo|inet|unix-dgram)\s+\S+\s+\S+\s+)y", r"\1n", master, flags=re.M)
        (self.etc / "master.cf").write_text(master)
        values = {
            "queue_directory": str(queue),
            "data_directory": str(data),
            "maillog_file": str(self.log_file),
            "maillog_file_prefixes": str(base),
            **common_settings(base, sink_port),
        } | settings
        (self.etc / "main.cf").write_text("".join(f"{name} = {value}\n" for name, value in values.items()))
        # Every daemon reads a file of this second again and again until it is older: two seconds each.
        os.utime(self.etc / "main.cf", (0, 0))

    def start(self) -> None:
        done = subprocess.run(["postfix", "-c", self.etc, "start"], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, f"exit {done.returncode}: {done.stderr}{done.stdout}{self.log()}"

    def stop(self) -> None:
        """As `postfix stop`, which looks once a second whether the master has ended, and gives up after some."""
        try:
            master = int((self.queue / "pid" / "master.pid").read_text())
        except (OSError, ValueError):
            return
        begun = time.monotonic()
        # Its daemons, too: none of them is to touch the queue or the log any more. One that lived on would outlive the
        # tests.
        while any(_in_group(process, master) for process in Path("/proc").iterdir()):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(master, signal.SIGTERM if time.monotonic() < begun + 10 else signal.SIGKILL)
            time.sleep(0.05)

    def log(self) -> str:
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""


def _in_group(process: Path, leader: int) -> bool:
    """And lives: the dead whom nobody has asked for yet do no harm."""
    try:
        state, _, group = (process / "stat").read_text().rpartition(")")[2].split()[:3]
    except (OSError, ValueError):
        return False
    return int(group) == leader and state != "Z"
