"""A mail system to measure: its directory, its configuration (one for both systems), starting and stopping it."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from bench.processes import Tree

_MASTER_CF = """\
cleanup   unix  n       -       n       -       0       cleanup
qmgr      unix  n       -       n       300     1       qmgr
tlsmgr    unix  -       -       n       1000?   1       tlsmgr
rewrite   unix  -       -       n       -       -       trivial-rewrite
bounce    unix  -       -       n       -       0       bounce
defer     unix  -       -       n       -       0       bounce
trace     unix  -       -       n       -       0       bounce
flush     unix  n       -       n       1000?   0       flush
proxymap  unix  -       -       n       -       -       proxymap
smtp      unix  -       -       n       -       -       smtp
relay     unix  -       -       n       -       -       smtp
error     unix  -       -       n       -       -       error
retry     unix  -       -       n       -       -       error
discard   unix  -       -       n       -       -       discard
local     unix  -       n       n       -       -       local
lmtp      unix  -       -       n       -       -       lmtp
anvil     unix  -       -       n       -       1       anvil
scache    unix  -       -       n       -       1       scache
postlog   unix-dgram n  -       n       -       1       postlogd
"""


class BenchError(Exception):
    """What keeps a row from being measured, as a sentence."""


class Instance:
    """One configuration directory with its queue. Everything in it is removed by `clear`."""

    def __init__(self, directory: Path, port: int, settings: Mapping[str, str]) -> None:
        self.directory = directory
        self.port = port
        self.config = directory / "etc"
        shutil.rmtree(directory, ignore_errors=True)
        for name in ("etc", "queue", "data", "log"):
            (directory / name).mkdir(parents=True)
        for path in (directory, directory / "queue", directory / "log"):
            path.chmod(0o755)
        if os.geteuid() == 0:
            with suppress(LookupError):
                shutil.chown(directory / "data", "postfix")
        (self.config / "main.cf").write_text(self._main_cf(settings))
        (self.config / "master.cf").write_text(f"127.0.0.1:{port} inet n - n - - smtpd\n{_MASTER_CF}")

    def _main_cf(self, settings: Mapping[str, str]) -> str:
        common = {
            "compatibility_level": "3.6",
            "queue_directory": str(self.directory / "queue"),
            "data_directory": str(self.directory / "data"),
            "maillog_file": str(self.directory / "log" / "mail.log"),
            "maillog_file_prefixes": str(self.directory),
            "myhostname": "mx.bench.test",
            "mydestination": "localhost",
            "mynetworks": "127.0.0.0/8",
            "inet_interfaces": "127.0.0.1",
            "inet_protocols": "ipv4",
            "alias_maps": "",
            "alias_database": "",
        }
        return "".join(f"{name} = {value}\n" for name, value in {**common, **settings}.items())

    def adopt(self, queue: Path | None) -> None:
        """Run on the mail of this queue directory, until `release`."""
        if queue is not None:
            (queue / "postwarden").rename(self.directory / "queue" / "postwarden")

    def release(self, queue: Path | None) -> None:
        if queue is not None:
            (self.directory / "queue" / "postwarden").rename(queue / "postwarden")

    def log_tail(self, lines: int = 5) -> str:
        log = self.directory / "log" / "mail.log"
        if not log.exists():
            return "(no log)"
        return "\n".join(line[:400] for line in log.read_text(errors="replace").splitlines()[-lines:])

    def clear(self) -> None:
        shutil.rmtree(self.directory, ignore_errors=True)


class System(Protocol):
    """A mail system that can run on an instance."""

    name: str

    def missing(self) -> str:
        """Why it can't run here; empty when it can."""

    def command(self, instance: Instance) -> list[str]:
        """What runs it in the foreground."""

    def stop(self, instance: Instance) -> None:
        """Ask it to end."""


class Postwarden:
    name = "postwarden"

    def __init__(self, python: Path = Path(sys.executable)) -> None:
        """`python` runs the master, and so the roles."""
        self.program = [str(python), "-c", "import sys; from postwarden.cli.main import main; sys.exit(main())"]

    def missing(self) -> str:
        return ""

    def command(self, instance: Instance) -> list[str]:
        return [*self.program, "-c", str(instance.config), "start-fg"]

    def stop(self, instance: Instance) -> None:
        words = [*self.program, "-c", str(instance.config), "stop"]
        subprocess.run(words, capture_output=True, timeout=60, check=False)


class Postfix:
    name = "postfix"

    def missing(self) -> str:
        if shutil.which("postfix") is None:
            return "Postfix is not installed: apt install postfix"
        return "" if os.geteuid() == 0 else "Postfix starts for root only"

    def command(self, instance: Instance) -> list[str]:
        return ["postfix", "-c", str(instance.config), "start-fg"]

    def stop(self, instance: Instance) -> None:
        subprocess.run(["postfix", "-c", str(instance.config), "stop"], capture_output=True, timeout=60, check=False)


class Running:
    """`with Running(system, instance) as running:` it accepts connections inside, and has ended after."""

    def __init__(self, system: System, instance: Instance, resolv_conf: Path | None = None) -> None:
        """`resolv_conf` is seen as /etc/resolv.conf, in a mount namespace of its own: that needs root."""
        self._system = system
        self._instance = instance
        self._resolv_conf = resolv_conf
        self._process: subprocess.Popen[bytes]
        self.tree: Tree

    def __enter__(self) -> "Running":
        command = self._system.command(self._instance)
        if self._resolv_conf is not None:
            script = 'mount --bind "$0" /etc/resolv.conf && exec "$@"'
            command = ["unshare", "--mount", "sh", "-c", script, str(self._resolv_conf), *command]
        output = (self._instance.directory / "log" / "output").open("wb")
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        self.tree = Tree(self._process.pid)
        try:
            self._await_greeting()
        except BenchError:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        pids = self.tree.pids()
        if self._process.poll() is None:
            self._system.stop(self._instance)
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, 9)
            self._process.wait()

    def _await_greeting(self) -> None:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                with socket.create_connection(("127.0.0.1", self._instance.port), 5) as sock:
                    sock.settimeout(5)
                    if sock.recv(3) == b"220":
                        return
            except OSError:
                time.sleep(0.1)
        output = (self._instance.directory / "log" / "output").read_text(errors="replace")
        raise BenchError(f"{self._system.name} does not start: {output[-500:]} {self._instance.log_tail()}")


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port
