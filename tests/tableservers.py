"""Servers of tables (tcp:, socketmap:, memcache:) on loopback, the bad ones among them."""

import contextlib
import socket
import threading
from collections.abc import Callable
from pathlib import Path

from tests.ports import free_port

Answer = Callable[[bytes], "bytes | None"]
"""What to say to the bytes that came since the last reply; None: they are no whole question yet. Empty: hang up."""


class TableServer:
    """`questions` holds what was asked, `connections` how many there were."""

    def __init__(self, answer: Answer, path: Path | None = None, *, hang_up: bool = False) -> None:
        """`path`: a Unix socket instead of a port. `hang_up`: after each reply."""
        self._answer, self._path, self._hang_up = answer, path, hang_up
        self.questions: list[bytes] = []
        self.connections = 0
        self.port = free_port()
        self._open: set[socket.socket] = set()
        self.start()

    def start(self) -> None:
        """Again, where it was."""
        if self._path is None:
            self._listening = socket.create_server(("127.0.0.1", self.port))
        else:
            self._path.unlink(missing_ok=True)
            self._listening = socket.socket(socket.AF_UNIX)
            self._listening.bind(str(self._path))
            self._path.chmod(0o666)
            self._listening.listen()
        threading.Thread(target=self._accept, args=(self._listening,), daemon=True).start()

    def stop(self) -> None:
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for sock in list(self._open):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> "TableServer":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _accept(self, listening: socket.socket) -> None:
        while True:
            try:
                sock, _ = listening.accept()
            except OSError:
                return
            self.connections += 1
            self._open.add(sock)
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        data = b""
        with sock, contextlib.suppress(OSError):
            while piece := sock.recv(65536):
                data += piece
                said = self._answer(data)
                if said is None:
                    continue
                self.questions.append(data)
                data = b""
                sock.sendall(said)
                if self._hang_up or not said:
                    break
        self._open.discard(sock)


def line(reply: Callable[[bytes], bytes] | bytes) -> Answer:
    """Of the tcp: protocol, and of memcached's without data: one line asks."""

    def answer(data: bytes) -> bytes | None:
        if not data.endswith(b"\n"):
            return None
        return reply if isinstance(reply, bytes) else reply(data)

    return answer


def netstring(text: bytes) -> bytes:
    return b"%d:%b," % (len(text), text)


def socketmap(reply: Callable[[bytes], bytes] | bytes) -> Answer:
    """`reply` is framed, and so is what it is asked."""

    def answer(data: bytes) -> bytes | None:
        length, _, frame = data.partition(b":")
        if len(frame) <= int(length or b"1"):
            return None
        return netstring(reply if isinstance(reply, bytes) else reply(frame[:-1]))

    return answer


class Memcached:
    """A memcached of a few lines."""

    def __init__(self, **kept: str) -> None:
        self.kept = {key.encode(): value.encode() for key, value in kept.items()}
        self.settings: list[bytes] = []

    def __call__(self, data: bytes) -> bytes | None:
        head, end, rest = data.partition(b"\r\n")
        if not end:
            return None
        words = head.split(b" ")
        if words[0] == b"get":
            value = self.kept.get(words[1])
            found = b"" if value is None else b"VALUE %b 0 %d\r\n%b\r\n" % (words[1], len(value), value)
            return found + b"END\r\n"
        if len(rest) < int(words[4]) + 2:
            return None
        self.kept[words[1]] = rest[: int(words[4])]
        self.settings.append(head)
        return b"STORED\r\n"
