"""A name server. Real Postfix can be made to ask it at port 53 of a loopback address, by a resolv.conf that only it
sees; that needs root."""

import contextlib
import os
import socket
import subprocess
import threading
from pathlib import Path

from tests.realpostfix import RealPostfix

from postwarden.testing.dns_server import serve_forever
from postwarden.testing.resolver import Zone


def own_address() -> str:
    """A loopback address that no other process's tests have for a name server."""
    return f"127.53.{os.getpid() // 250 % 250}.{os.getpid() % 250 + 1}"


class NameServer:
    def __init__(self, zone: str, address: str, port: int = 53) -> None:
        self.address, self.port = address, port
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((address, port))
        self._thread = threading.Thread(target=serve_forever, args=(self._socket, Zone(zone).reply), daemon=True)
        self._thread.start()

    def close(self) -> None:
        """The thread sits in recvfrom, which a close alone does not end."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(10)

    def start(self, postfix: RealPostfix, base: Path) -> None:
        """Start Postfix in a mount namespace where resolv.conf names this server."""
        (base / "resolv.conf").write_text(f"nameserver {self.address}\noptions timeout:2 attempts:2\n")
        script = 'mount --bind "$0" /etc/resolv.conf && exec "$@"'
        words = ["unshare", "--mount", "sh", "-c", script, f"{base}/resolv.conf"]
        words += ["postfix", "-c", str(postfix.etc), "start"]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr + postfix.log()
