"""Handing a message to the mail system over its submission socket: blocking, one message a connection."""

import contextlib
import os
import socket
from collections.abc import Iterable

from postwarden.ipc.local_socket import connect
from postwarden.wire.submission import GREETING, Answer, Line, Malformed, log_lines, parse_answer

_GREETED = 5.0
_ANSWERED = 300.0
_LOGGED = 2.0
_READ = 64 << 10


class Down(Exception):
    """Nobody listens, or who listened has gone before the answer. `unsure`: all had been said, and the message may be
    in the queue all the same."""

    def __init__(self, text: str, *, unsure: bool = False) -> None:
        super().__init__(text)
        self.unsure = unsure


def socket_path(queue_directory: str) -> str:
    return os.path.join(queue_directory, "postwarden", "public", "submit")


def submit(queue_directory: str, parts: Iterable[bytes]) -> Answer:
    """Send `parts`, a whole submission (`wire.submission`), and hear the answer. Raises Down; and what reading `parts`
    raises, after which the mail system has taken nothing."""
    path = socket_path(queue_directory)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        try:
            sock.settimeout(_GREETED)
            connect(sock, path)
            # A master that is about to end has nobody who accepts; one that greets has.
            if _exactly(sock, len(GREETING)) != GREETING:
                raise Down(f"{path}: nobody greets")
            sock.settimeout(_ANSWERED)
        except OSError as error:
            raise Down(f"{path}: {error.strerror or error}") from None
        for part in parts:
            try:
                sock.sendall(part)
            except OSError as error:
                # It may have said why before it closed.
                said = _answer(sock)
                if said is None:
                    raise Down(f"{path}: {error.strerror or error}") from None
                return said
        said = _answer(sock)
        if said is None:
            raise Down(f"{path}: no answer", unsure=True)
        return said


class LogSink:
    """A `net.log.Sink` for who may not write the log itself: the mail system does it for him, if it runs."""

    def __init__(self, queue_directory: str) -> None:
        self._path = socket_path(queue_directory)

    def write(self, lines: list[tuple[str, str]]) -> bool:
        """False where nobody took them."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            try:
                sock.settimeout(_LOGGED)
                connect(sock, self._path)
                if _exactly(sock, len(GREETING)) != GREETING:
                    return False
                sock.sendall(log_lines(Line(level, text) for level, text in lines))
            except (OSError, UnicodeEncodeError):
                return False
        return True

    def close(self) -> None:
        return


def _exactly(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size and (more := sock.recv(size - len(data))):
        data += more
    return data


def _answer(sock: socket.socket) -> Answer | None:
    data = b""
    with contextlib.suppress(OSError, Malformed):
        while (said := parse_answer(data)) is None:
            more = sock.recv(_READ)
            if not more:
                return None
            data += more
        return said
    return None
