"""Load and sink that do what smtp-source and smtp-sink can't: STARTTLS, and a new client address for each session.

    python -m bench.traffic source PORT SESSIONS MESSAGES SIZE
    python -m bench.traffic sink PORT MESSAGES CERTIFICATE

Blocking sockets, a process a session: nothing is cheaper in Python, and what the load costs, the measured system does
not get. The sink has threads, since most of its connections only wait; it ends when it has all messages.
"""

import mmap
import os
import random
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable

_DOMAINS = 20
_SINK_PROCESSES, _SINK_THREADS = 4, 128
"""A connection that the measured system keeps for later holds a thread; with too few, new ones would have to wait."""


def source(port: int, sessions: int, messages: int, size: int) -> None:
    """Send `messages`, one a session, `sessions` at a time. Exit code 1 when one was not accepted."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    body = _message(size)
    share = [messages // sessions + (n < messages % sessions) for n in range(sessions)]

    def worker(number: int) -> None:
        rng = random.Random(number)
        for _ in range(share[number]):
            address = f"127.{rng.randrange(1, 250)}.{rng.randrange(256)}.{rng.randrange(1, 255)}"
            recipient = f"user@d{rng.randrange(_DOMAINS)}.bench.test"
            _send(port, address, recipient, context, body)

    if not all(_fork(worker, sessions)):
        sys.exit(1)


def _message(size: int) -> bytes:
    head = b"From: <sender@clients.bench.test>\r\nTo: <user@bench.test>\r\nSubject: bench\r\n"
    line = b"X" * 78 + b"\r\n"
    return head + b"\r\n" + line * (max(size - len(head), 0) // len(line)) + b".\r\n"


def _send(port: int, address: str, recipient: str, context: ssl.SSLContext, body: bytes) -> None:
    plain = socket.socket()
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    plain.bind((address, 0))
    plain.connect(("127.0.0.1", port))
    _expect(plain, b"220")
    plain.sendall(b"EHLO client.bench.test\r\n")
    _expect(plain, b"250")
    plain.sendall(b"STARTTLS\r\n")
    _expect(plain, b"220")
    with context.wrap_socket(plain) as sock:
        sock.sendall(b"EHLO client.bench.test\r\n")
        _expect(sock, b"250")
        sock.sendall(b"MAIL FROM:<sender@clients.bench.test>\r\nRCPT TO:<" + recipient.encode() + b">\r\nDATA\r\n")
        _expect(sock, b"354", replies=3)
        sock.sendall(body)
        _expect(sock, b"250")
        sock.sendall(b"QUIT\r\n")
        _expect(sock, b"221")


def _expect(sock: socket.socket, code: bytes, replies: int = 1) -> None:
    data = b""
    while True:
        chunk = sock.recv(65536)
        if not chunk:
            raise ConnectionError("the server closed the connection")
        data += chunk
        lines = data.split(b"\r\n")
        final = [line for line in lines[:-1] if line[3:4] != b"-"]
        if len(final) >= replies and not lines[-1]:
            if final[-1][:3] != code:
                raise ConnectionError(f"not {code.decode()}: {data.decode(errors='replace')}")
            return


def sink(port: int, messages: int, certificate: str) -> None:
    """Take mail until there are `messages`, then end."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(1024)
    counts = mmap.mmap(-1, 8 * _SINK_PROCESSES)
    pids = []
    for number in range(_SINK_PROCESSES):
        pid = os.fork()
        if pid == 0:
            _serve_all(listener, context, counts, number)
        pids.append(pid)
    print("ready", flush=True)
    while sum(int.from_bytes(counts[8 * n : 8 * n + 8]) for n in range(_SINK_PROCESSES)) < messages:
        time.sleep(0.005)
    for pid in pids:
        os.kill(pid, 9)


def _serve_all(listener: socket.socket, context: ssl.SSLContext, counts: mmap.mmap, number: int) -> None:
    lock = threading.Lock()

    def arrived() -> None:
        with lock:
            _count(counts, number)

    def work() -> None:
        while True:
            try:
                _serve(listener.accept()[0], context, arrived)
            except (OSError, ValueError):
                continue

    threading.stack_size(256 << 10)
    for _ in range(_SINK_THREADS - 1):
        threading.Thread(target=work, daemon=True).start()
    work()


def _count(counts: mmap.mmap, number: int) -> None:
    at = 8 * number
    counts[at : at + 8] = (int.from_bytes(counts[at : at + 8]) + 1).to_bytes(8)


def _serve(plain: socket.socket, context: ssl.SSLContext, arrived: Callable[[], None]) -> None:
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock, buffer = plain, b""
    sock.sendall(b"220 sink.bench.test ESMTP\r\n")
    with plain:
        while True:
            while b"\r\n" not in buffer:
                chunk = sock.recv(65536)
                if not chunk:
                    return
                buffer += chunk
            replies: list[bytes] = []
            complete = 0
            while b"\r\n" in buffer:
                line, _, buffer = buffer.partition(b"\r\n")
                verb = line[:4].upper()
                if verb == b"STAR":
                    sock.sendall(b"220 ready\r\n")
                    sock, buffer = context.wrap_socket(plain, server_side=True), b""
                elif verb == b"DATA":
                    sock.sendall(b"".join(replies) + b"354 go ahead\r\n")
                    replies, buffer = [b"250 2.0.0 Ok\r\n"], _data(sock, buffer)
                    complete += 1
                elif verb == b"EHLO":
                    offer = b"" if isinstance(sock, ssl.SSLSocket) else b"250-STARTTLS\r\n"
                    replies.append(b"250-sink.bench.test\r\n" + offer + b"250-8BITMIME\r\n250 PIPELINING\r\n")
                else:
                    replies.append(b"221 bye\r\n" if verb == b"QUIT" else b"250 2.1.0 Ok\r\n")
            if replies:
                sock.sendall(b"".join(replies))
            for _ in range(complete):
                arrived()


def _data(sock: socket.socket, buffer: bytes) -> bytes:
    """Read a message; what follows it."""
    chunks = [buffer]
    tail = b"\r\n" + buffer
    while b"\r\n.\r\n" not in tail:
        chunk = sock.recv(262144)
        if not chunk:
            raise ConnectionError("closed in the middle of a message")
        chunks.append(chunk)
        tail = tail[-4:] + chunk
    return tail.partition(b"\r\n.\r\n")[2]


def _fork(work: Callable[[int], None], count: int) -> list[bool]:
    pids = []
    for number in range(count):
        pid = os.fork()
        if pid == 0:
            code = 0
            try:
                work(number)
            except OSError as error:
                print(f"source: {error}", file=sys.stderr)
                code = 1
            os._exit(code)
        pids.append(pid)
    return [os.waitpid(pid, 0)[1] == 0 for pid in pids]


if __name__ == "__main__":
    if sys.argv[1] == "source":
        source(*map(int, sys.argv[2:6]))
    else:
        sink(int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
