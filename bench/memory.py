"""How much memory sessions cost that do nothing."""

import subprocess
import sys
from pathlib import Path

from msgspec import Struct

from bench.instance import BenchError, Instance, Running, System, free_port
from postwarden.testing.certificate import write_certificate


class MemoryRow(Struct, frozen=True):
    name: str
    title: str
    sessions: int
    tls: bool
    limit: int = 0
    """Gate, in bytes for all processes together."""


MEMORY_ROWS = (
    MemoryRow("idle", "10,000 idle sessions", 10_000, False, 300 << 20),
    MemoryRow("idle-tls", "2,000 idle TLS sessions", 2_000, True),
)


class MemoryResult(Struct, frozen=True):
    sessions: int
    """Those that were really opened."""
    before: int
    """Bytes in all processes without any."""
    after: int


def measure_memory(row: MemoryRow, system: System, directory: Path, sessions: int) -> MemoryResult:
    """BenchError says what went wrong."""
    settings = {"relayhost": "[127.0.0.1]:9", "smtpd_timeout": "600s", "smtpd_peername_lookup": "no"}
    if row.tls:
        settings["smtpd_tls_security_level"] = "may"
        settings["smtpd_tls_chain_files"] = str(directory / "etc" / "key-and-certificate.pem")
    instance = Instance(directory, free_port(), settings)
    if row.tls:
        write_certificate(directory / "etc" / "key-and-certificate.pem", "mx.bench.test")
    try:
        with Running(system, instance) as running:
            before = running.tree.memory()
            return _hold(instance, running, sessions, row.tls, before)
    finally:
        instance.clear()


def _hold(instance: Instance, running: Running, sessions: int, tls: bool, before: int) -> MemoryResult:
    words = [sys.executable, "-m", "bench.idle", str(instance.port), str(sessions), "tls" if tls else "plain"]
    holder = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        assert holder.stdout is not None and holder.stdin is not None
        said = holder.stdout.readline().split()
        if len(said) != 2:
            raise BenchError(f"the sessions could not be opened: {instance.log_tail()}")
        return MemoryResult(int(said[1]), before, running.tree.memory())
    finally:
        holder.communicate()
