"""The whole gateway as a fixture: a directory of its own, real processes, real sockets on loopback."""

import contextlib
import os
import pwd
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.ports import free_port

PROGRAM = Path(sys.executable).parent / "postwarden"
OWNER = "mail" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
MASTER_CF = """\
127.0.0.1:{port} inet n - n - - smtpd
smtp    unix - - n - - smtp
relay   unix - - n - - smtp
local   unix - n n - - local
virtual unix - n n - - virtual
lmtp    unix - - n - - lmtp
error   unix - - n - - error
retry   unix - - n - - error
discard unix - - n - - discard
"""


def until(what: Callable[[], bool], seconds: float = 60.0, said: object = "") -> None:
    """Wait for something that must happen; the bound only ends a test that has failed."""
    deadline = time.monotonic() + seconds
    while not what():
        if time.monotonic() > deadline:
            raise AssertionError(f"it did not happen in {seconds} s: {said or what}")
        time.sleep(0.02)


def common_settings(base: Path, sink_port: int) -> dict[str, str]:
    """What a gateway and the real Postfix beside it must have alike, or their answers could not be compared."""
    return {
        "compatibility_level": "3.6",
        "myhostname": "mx.example.com",
        "inet_interfaces": "127.0.0.1",
        "inet_protocols": "ipv4",
        "mynetworks": "127.0.0.0/8",
        "mydestination": "mx.example.com",
        "alias_maps": "",
        "mail_spool_directory": f"{base}/mail",
        "relay_domains": "sink.example",
        "transport_maps": f"inline:{{sink.example=smtp:[127.0.0.1]:{sink_port}}}",
    }


class Gateway:
    """One mail system below `base`. `settings` go to main.cf as they are; sink.example goes to `sink_port`."""

    def __init__(self, base: Path, sink_port: int = 0, master_cf: str = MASTER_CF, **settings: str) -> None:
        self.base = base
        self.port = free_port()
        self.log_file = base / "maillog"
        self.etc = base / "etc"
        self.queue = base / "queue"
        for name, mode in (("etc", 0o755), ("queue", 0o755), ("data", 0o755), ("mail", 0o1777)):
            (base / name).mkdir(exist_ok=True)
            (base / name).chmod(mode)
        base.chmod(0o755)
        if os.geteuid() == 0:
            os.chown(base / "data", pwd.getpwnam(OWNER).pw_uid, -1)
        self.settings = {
            "queue_directory": str(self.queue),
            "data_directory": str(base / "data"),
            "maillog_file": str(self.log_file),
            "mail_owner": OWNER,
            **common_settings(base, sink_port),
        } | settings
        (self.etc / "master.cf").write_text(master_cf.format(port=self.port))
        self.write_main_cf()
        self.master_pid = 0

    def write_main_cf(self, **changes: str) -> None:
        self.settings |= changes
        (self.etc / "main.cf").write_text("".join(f"{name} = {value}\n" for name, value in self.settings.items()))

    def command(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run([PROGRAM, "-c", self.etc, *words], capture_output=True, text=True, timeout=120)
        if check and done.returncode:
            raise AssertionError(f"postwarden {words}: exit {done.returncode}\n{done.stderr}\n{self.log()[-3000:]}")
        return done

    def start(self) -> None:
        self.command("start")
        self.master_pid = int((self.queue / "pid" / "master.pid").read_text())

    def stop(self) -> None:
        if self.command("status", check=False).returncode == 0:
            self.command("stop")

    def abort(self) -> None:
        if self.command("status", check=False).returncode == 0:
            self.command("abort", check=False)
            with contextlib.suppress(AssertionError):
                until(lambda: self.command("status", check=False).returncode != 0)

    def log(self) -> str:
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    def pids(self, role: str) -> list[int]:
        """Processes of a role that this gateway's master started."""
        found = []
        for line in children(self.master_pid):
            with contextlib.suppress(OSError):
                words = Path(f"/proc/{line}/cmdline").read_bytes().split(b"\0")
                if role.encode() in words:
                    found.append(line)
        return found

    def kill(self, role: str) -> int:
        """kill -9 of one process of a role; its pid, 0 when there was none."""
        for pid in self.pids(role):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                return pid
        return 0


def children(parent: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError, ValueError):
                if int((entry / "stat").read_text().rpartition(")")[2].split()[1]) == parent:
                    found.append(int(entry.name))
    return found


class Server:
    """A server in threads: each connection is served by `_talk`."""

    def __init__(self, port: int = 0) -> None:
        self._server = socket.create_server(("127.0.0.1", port), backlog=256)
        self.port: int = self._server.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        # A close alone leaves the thread in accept(), and the port open for one more caller.
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._server.accept()
                threading.Thread(target=self._session, args=(sock,), daemon=True).start()

    def _session(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError), sock, sock.makefile("rwb") as stream:
            self._talk(stream)

    def _talk(self, stream: Any) -> None:
        raise NotImplementedError


class Sink(Server):
    """An SMTP server that keeps (sender, recipients, content as on the wire, un-stuffed)."""

    def __init__(self, *, port: int = 0, refuse: Callable[[str], str | None] = lambda line: None) -> None:
        self.messages: list[tuple[str, list[str], bytes]] = []
        self.refuse = refuse
        super().__init__(port)

    def _talk(self, stream: Any) -> None:
        readline, write, flush = stream.readline, stream.write, stream.flush
        write(b"220 sink.example ESMTP\r\n")
        flush()
        sender, recipients = "", []
        while line := readline():
            text = line.decode("utf-8", "replace").strip()
            verb = text.upper().split(" ")[0].split(":")[0]
            answer = self.refuse(text)
            if answer is None and verb == "DATA":
                write(b"354 go\r\n")
                flush()
                lines = []
                while (line := readline()) not in (b".\r\n", b""):
                    lines.append(line[1:] if line.startswith(b".") else line)
                if not line:
                    return
                answer = self.refuse(".")
                if answer is None:
                    self.messages.append((sender, recipients, b"".join(lines)))
            elif verb == "MAIL" and answer is None:
                sender, recipients = text[10:].partition(">")[0].strip("<"), []
            elif verb == "RCPT" and answer is None:
                recipients = [*recipients, text[8:].partition(">")[0].strip("<")]
            elif verb == "EHLO" and answer is None:
                answer = (
                    "250-sink.example\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-DSN\r\n250 SIZE 99999999"
                )
            elif verb == "QUIT" and answer is None:
                write(b"221 bye\r\n")
                flush()
                return
            write((answer or "250 2.0.0 Ok").encode() + b"\r\n")
            flush()


@contextlib.contextmanager
def running(gateway: Gateway) -> Iterator[Gateway]:
    gateway.start()
    try:
        yield gateway
    finally:
        gateway.abort()


class Deferring(Gateway):
    """Mail for slow.example finds nobody listening until a test opens the port `slow`."""

    def __init__(self, base: Path, **settings: str) -> None:
        self.slow = free_port()
        super().__init__(
            base,
            transport_maps=f"inline:{{slow.example=smtp:[127.0.0.1]:{self.slow}}}",
            relay_domains="slow.example",
            minimal_backoff_time="1h",
            maximal_backoff_time="1h",
            **settings,
        )
