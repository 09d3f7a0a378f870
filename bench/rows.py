"""The rows: what is sent, with which settings, and how it is counted."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from bench.instance import BenchError, Instance, Running, System, free_port
from bench.processes import Tree
from postwarden.testing.certificate import write_certificate

NAME_SERVER = "127.53.53.53"
SESSIONS = 20


class Row(Struct, frozen=True):
    name: str
    title: str
    size: int = 5120
    recipients: int = 1
    keep: bool = False
    """smtp-source sends one message after the other over a connection, instead of one a connection."""
    traffic: bool = False
    """Our own load and sink: names, addresses, STARTTLS."""
    gate: float = 0.0
    aim: float = 0.0


ROWS = (
    Row("single", "one connection a message", gate=3, aim=4),
    Row("kept", "kept connections", keep=True, gate=4, aim=6),
    Row("real", "real traffic: names, MX, STARTTLS on both sides", traffic=True, gate=2, aim=3),
    Row("large", "1 MB messages", size=1 << 20),
    Row("recipients", "10 recipients a message", recipients=10),
)


class Result(Struct, frozen=True):
    messages: int
    seconds: float
    cpu: float
    """µs of CPU a message, all processes of the system."""
    roles: dict[str, float]
    """µs a message by role; what ended between two looks is `(ended)`."""
    threads: dict[str, float]

    @property
    def rate(self) -> float:
        return self.messages / self.seconds


def missing(row: Row) -> str:
    """Why the row can't be measured here; empty when it can."""
    if row.traffic:
        if os.geteuid() != 0:
            return "a name server on port 53 and a resolv.conf of its own need root"
        probe = subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False)
        return "" if probe.returncode == 0 else "no mount namespaces here (unshare --mount)"
    return "" if shutil.which("smtp-source") and shutil.which("smtp-sink") else "no smtp-source: apt install postfix"


def measure(row: Row, system: System, directory: Path, seconds: float, queue: Path | None = None) -> Result:
    """Start the system, warm it up, load it for about `seconds`, stop it. `queue`: with the mail that waits in this
    queue directory, to which it goes back. BenchError says what went wrong."""
    sink = free_port()
    instance = Instance(directory, free_port(), _settings(row, directory, sink))
    resolv_conf = _resolv_conf(directory) if row.traffic else None
    instance.adopt(queue)
    try:
        with _name_server(row), Running(system, instance, resolv_conf) as running:
            rate = _load(row, instance, sink, max(200, SESSIONS), running)[1]
            rate = _load(row, instance, sink, int(max(200, rate * min(2.0, seconds))), running)[1]
            result = _round(row, instance, sink, int(rate * seconds * 1.2) + 1, running)
            while result.seconds < seconds:
                messages = result.messages * min(seconds / result.seconds, 10.0) * 1.15
                result = _round(row, instance, sink, int(messages) + 1, running)
            return result
    finally:
        instance.release(queue)
        instance.clear()


def _round(row: Row, instance: Instance, sink: int, messages: int, running: Running) -> Result:
    total, roles, threads = running.tree.total(), running.tree.by_role(), running.tree.by_thread()
    took, _ = _load(row, instance, sink, messages, running)
    result = spent(running.tree, messages, took, total, roles)
    return replace(result, threads=_each(running.tree.by_thread() - threads, messages))


def spent(tree: Tree, messages: int, took: float, total: float, roles: Counter[str]) -> Result:
    """What so many messages cost since `total` and `roles` were read."""
    used = tree.total() - total
    by_role = tree.by_role() - roles
    unseen = used - by_role.total()
    if unseen > 0.01 * used:
        by_role["(ended)"] += int(unseen)
    return Result(messages, took, used / messages, _each(by_role, messages), {})


def _each(spent: Counter[str], messages: int) -> dict[str, float]:
    return {name: used / messages for name, used in spent.most_common() if used / messages >= 0.5}


def _settings(row: Row, directory: Path, sink: int) -> dict[str, str]:
    if not row.traffic:
        return {"relayhost": f"[127.0.0.1]:{sink}"}
    return {
        "relayhost": "",
        "smtp_tcp_port": str(sink),
        "smtpd_tls_security_level": "may",
        "smtp_tls_security_level": "may",
        "smtpd_tls_chain_files": str(directory / "etc" / "key-and-certificate.pem"),
    }


def _resolv_conf(directory: Path) -> Path:
    write_certificate(directory / "etc" / "key-and-certificate.pem", "mx.bench.test")
    path = directory / "etc" / "resolv.conf"
    path.write_text(f"nameserver {NAME_SERVER}\n")
    return path


@contextlib.contextmanager
def _name_server(row: Row) -> Iterator[None]:
    if not row.traffic:
        yield
        return
    process = subprocess.Popen([sys.executable, "-m", "bench.dns", NAME_SERVER], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        if process.stdout.readline() != b"ready\n":
            raise BenchError(f"the name server can't use {NAME_SERVER}:53")
        yield
    finally:
        process.kill()
        process.wait()


def _load(row: Row, instance: Instance, sink: int, messages: int, running: Running) -> tuple[float, float]:
    """Send so many messages; (seconds until the sink has them all, messages a second)."""
    words = _sink(row, instance, sink, messages)
    receiver = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True)
    sender: subprocess.Popen[bytes] | None = None
    try:
        _await_listener(row, receiver, sink)
        begin = time.monotonic()
        sender = subprocess.Popen(_source(row, instance.port, messages), stderr=subprocess.PIPE, start_new_session=True)
        deadline = begin + 60 + messages / 20
        while receiver.poll() is None:
            if time.monotonic() > deadline or sender.poll() not in (None, 0):
                raise BenchError(f"not all of {messages} messages arrived: {_complaint(sender)} {instance.log_tail()}")
            with contextlib.suppress(subprocess.TimeoutExpired):
                receiver.wait(0.25)
            running.tree.watch()
        took = time.monotonic() - begin
        sender.wait(30)
        return took, messages / took
    finally:
        for process in (receiver, sender):
            _end(process)


def _end(process: "subprocess.Popen[bytes] | None") -> None:
    """With the processes that it made: they are a session of their own."""
    if process is not None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _complaint(sender: "subprocess.Popen[bytes]") -> str:
    _end(sender)
    assert sender.stderr is not None
    return sender.stderr.read().decode(errors="replace")[-300:].strip()


def _sink(row: Row, instance: Instance, port: int, messages: int) -> list[str]:
    if row.traffic:
        certificate = str(instance.config / "key-and-certificate.pem")
        return [sys.executable, "-m", "bench.traffic", "sink", str(port), str(messages), certificate]
    user = ["-u", "nobody"] if os.geteuid() == 0 else []
    return ["smtp-sink", *user, "-M", str(messages), f"127.0.0.1:{port}", "1000"]


def _source(row: Row, port: int, messages: int) -> list[str]:
    if row.traffic:
        numbers = (port, SESSIONS, messages, row.size)
        return [sys.executable, "-m", "bench.traffic", "source", *map(str, numbers)]
    options = ["-s", str(SESSIONS), "-m", str(messages), "-l", str(row.size), "-r", str(row.recipients)]
    addresses = ["-f", "sender@bench.test", "-t", "user@inside.bench.test"]
    return ["smtp-source", *(["-d"] if row.keep else []), *options, *addresses, f"127.0.0.1:{port}"]


def _await_listener(row: Row, receiver: "subprocess.Popen[bytes]", port: int) -> None:
    if row.traffic:
        assert receiver.stdout is not None
        receiver.stdout.readline()
        return
    # A connection would count as a session; that the port can't be bound says the same.
    for _ in range(100):
        with socket.socket() as sock:
            try:
                sock.bind(("127.0.0.1", port))
            except OSError:
                return
        time.sleep(0.02)
    raise BenchError("smtp-sink does not start")
