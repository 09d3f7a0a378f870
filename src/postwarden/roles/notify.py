"""What a service manager is told (sd_notify(3)): one datagram to the socket that NOTIFY_SOCKET names."""

import contextlib
import os
import socket
import time


def notify(*states: str) -> None:
    """Send `READY=1`, `STOPPING=1`, `STATUS=…`; without effect when nobody listens."""
    path = os.environ.get("NOTIFY_SOCKET", "")
    if path[:1] not in ("/", "@"):
        return
    if "RELOADING=1" in states:
        states += (f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}",)
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        sock.sendto("\n".join(states).encode(), "\0" + path[1:] if path[0] == "@" else path)
