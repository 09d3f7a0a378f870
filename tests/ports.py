"""Ports that stay a test's own between the moment it chooses them and the moment its servers bind them."""

import contextlib
import random
import socket
from pathlib import Path

_LOWEST = 10_000
_held: list[socket.socket] = []


def free_port() -> int:
    """A TCP port of 127.0.0.1 where nobody listens, and which no other call, of whatever process, is told until this
    process ends. It is not one of those that the kernel gives to clients: in between, a client could be given it."""
    words = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()
    ceiling = int(words[0]) if int(words[0]) > 2 * _LOWEST else 32_768
    choice = random.SystemRandom()  # Hypothesis seeds the common one alike in every process
    while True:
        port = choice.randrange(_LOWEST, ceiling)
        with contextlib.suppress(OSError), socket.socket() as probe:
            _hold(port)
            probe.bind(("", port))
            return port


def _hold(port: int) -> None:
    """Abstract: the name goes with the process, however that ends."""
    name = socket.socket(socket.AF_UNIX)
    try:
        name.bind(f"\0postwarden-test-port-{port}")
    except OSError:
        name.close()
        raise
    _held.append(name)
