"""Sessions that do nothing: `python -m bench.idle PORT COUNT plain|tls`. Says `ready COUNT` when all have been greeted
and said EHLO, holds them until its standard input ends."""

import os
import resource
import socket
import ssl
import sys

_PER_PROCESS = 800
_PER_ADDRESS = 4000


def open_session(port: int, number: int, context: ssl.SSLContext | None) -> socket.socket:
    sock = socket.socket()
    sock.settimeout(60)
    sock.bind((f"127.0.{1 + number // _PER_ADDRESS}.1", 0))
    sock.connect(("127.0.0.1", port))
    _say(sock, b"")
    _say(sock, b"EHLO idle.bench.test\r\n")
    if context is None:
        return sock
    _say(sock, b"STARTTLS\r\n")
    secured = context.wrap_socket(sock)
    _say(secured, b"EHLO idle.bench.test\r\n")
    return secured


def _say(sock: socket.socket, line: bytes) -> None:
    if line:
        sock.sendall(line)
    data = b""
    while not data.endswith(b"\r\n") or data.splitlines()[-1][3:4] == b"-":
        chunk = sock.recv(4096)
        if not chunk:
            raise ConnectionError("closed")
        data += chunk
    if data[:1] != b"2":
        raise ConnectionError(data.decode(errors="replace"))


def hold(port: int, first: int, count: int, tls: bool, ready: int) -> None:
    context = None
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    sessions: list[socket.socket] = []
    try:
        while len(sessions) < count:
            sessions.append(open_session(port, first + len(sessions), context))
    except OSError as error:
        print(f"idle: {error}", file=sys.stderr, flush=True)
    os.write(ready, b"%d\n" % len(sessions))
    sys.stdin.buffer.read()


def main() -> None:
    port, count, tls = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "tls"
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    read, write = os.pipe()
    firsts = range(0, count, _PER_PROCESS)
    for first in firsts:
        if os.fork() == 0:
            hold(port, first, min(_PER_PROCESS, count - first), tls, write)
            os._exit(0)
    with os.fdopen(read) as pipe:
        print("ready", sum(int(pipe.readline()) for _ in firsts), flush=True)
    sys.stdin.buffer.read()


if __name__ == "__main__":
    main()
