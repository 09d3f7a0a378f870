"""Load and sink that do what smtp-source and smtp-sink can't: STARTTLS, and a new client address for each session.

    python -m bench.traffic source PORT SESSIONS MESSAGES SIZE
    python -m bench.traffic sink PORT MESSAGES CERTIFICATE

What they cost, the measured system does not get: so no process or thread a session, whose switches would empty the
caches, but callbacks in two processes each. The sink ends when it has all messages.
"""

import asyncio
import mmap
import os
import random
import signal
import socket
import ssl
import sys
from collections.abc import Callable

import uvloop

from postwarden.mail.host import Host
from postwarden.mail.session import TlsFacts
from postwarden.net.dial import SocketDial
from postwarden.net.stream import SocketStream, Stream
from postwarden.testing.stream import Answering

_DOMAINS = 20
_PROCESSES = 2
_END = b"\r\n.\r\n"


class Source(Answering):
    """One message. `over` gets None, or what went wrong."""

    def __init__(
        self, context: ssl.SSLContext, recipient: str, body: bytes, over: Callable[[str | None], None]
    ) -> None:
        self._context = context
        self._over: Callable[[str | None], None] | None = over
        self._buffer = b""
        self._turn = 0
        envelope = f"MAIL FROM:<sender@clients.bench.test>\r\nRCPT TO:<{recipient}>\r\nDATA\r\n".encode()
        hello = b"EHLO client.bench.test\r\n"
        # (code that ends this turn, how many replies it takes, what is said then)
        self._turns = (
            (b"220", 1, hello), (b"250", 1, b"STARTTLS\r\n"), (b"220", 1, b""),
            (b"250", 1, envelope), (b"354", 3, body), (b"250", 1, b"QUIT\r\n"), (b"221", 1, b""),
        )  # fmt: skip

    def received(self, data: bytes) -> None:
        data = self._buffer + data
        code, replies, answer = self._turns[self._turn]
        lines = data.split(b"\r\n")
        final = [line for line in lines[:-1] if line[3:4] != b"-"]
        if lines[-1] or len(final) < replies:
            self._buffer = data
            return
        self._buffer = b""
        if final[-1][:3] != code:
            self._finish(f"not {code.decode()}: {data.decode(errors='replace')}")
            self.stream.abort()
            return
        self._turn += 1
        if answer:
            self.stream.write(answer)
        elif code == b"220":
            self.stream.start_tls(self._context, server_side=False)
        else:
            self.stream.close()
            self._finish(None)

    def secured(self, tls: TlsFacts) -> None:
        self.stream.write(b"EHLO client.bench.test\r\n")

    def closed(self, reason: Exception | None) -> None:
        accepted = self._turn == len(self._turns) - 1  # all that is missing is 221
        self._finish(None if accepted else f"the connection was closed: {reason}")

    def failed(self, error: OSError) -> None:
        self._finish(f"no connection: {error}")

    def _finish(self, fault: str | None) -> None:
        over, self._over = self._over, None
        if over is not None:
            over(fault)


def source(port: int, sessions: int, messages: int, size: int) -> None:
    """Send `messages`, one a session, `sessions` at a time. Exit code 1 when one was not accepted."""

    def work(number: int) -> None:
        uvloop.run(_send_all(port, _shares(sessions)[number], _shares(messages)[number], _message(size)))

    if not all(_fork(work)):
        sys.exit(1)


def _shares(total: int) -> list[int]:
    return [total // _PROCESSES + (n < total % _PROCESSES) for n in range(_PROCESSES)]


async def _send_all(port: int, sessions: int, messages: int, body: bytes) -> None:
    """Raises ConnectionError when one was not accepted."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    loop = asyncio.get_running_loop()
    rng = random.Random()
    dial, host = SocketDial(loop), Host("", "127.0.0.1", port)
    finished: asyncio.Future[None] = loop.create_future()
    begun = arrived = 0

    def begin() -> None:
        nonlocal begun
        begun += 1
        address = f"127.{rng.randrange(1, 250)}.{rng.randrange(256)}.{rng.randrange(1, 255)}"
        session = Source(context, f"user@d{rng.randrange(_DOMAINS)}.bench.test", body, over)
        dial.connect(host, session, session.failed, timeout=60, source=address)

    def over(fault: str | None) -> None:
        nonlocal arrived
        arrived += 1
        if fault is not None and not finished.done():
            finished.set_exception(ConnectionError(fault))
        elif begun < messages:
            begin()
        elif arrived == messages and not finished.done():
            finished.set_result(None)

    for _ in range(min(sessions, messages)):
        begin()
    if messages:
        await finished


def _message(size: int) -> bytes:
    head = b"From: <sender@clients.bench.test>\r\nTo: <user@bench.test>\r\nSubject: bench\r\n"
    line = b"X" * 78 + b"\r\n"
    return head + b"\r\n" + line * (max(size - len(head), 0) // len(line)) + b".\r\n"


class Sink(Answering):
    """One client. `arrived` is called for each message, after it was answered."""

    def __init__(self, context: ssl.SSLContext, arrived: Callable[[], None]) -> None:
        self._context = context
        self._arrived = arrived
        self._buffer = b""
        self._in_data = False

    def opened(self, stream: Stream) -> None:
        super().opened(stream)
        stream.write(b"220 sink.bench.test ESMTP\r\n")

    def received(self, data: bytes) -> None:
        data = self._buffer + data
        replies: list[bytes] = []
        complete = 0
        while data:
            if self._in_data:
                end = data.find(_END)
                if end < 0:
                    data = data[-len(_END) + 1 :]
                    break
                data, self._in_data = data[end + len(_END) :], False
                complete += 1
                replies.append(b"250 2.0.0 Ok\r\n")
                continue
            line, found, rest = data.partition(b"\r\n")
            if not found:
                break
            data = rest
            verb = line[:4].upper()
            if verb == b"DATA":
                # The line's own end may be the beginning of the end of an empty message.
                data, self._in_data = b"\r\n" + data, True
            replies.append(self._reply(verb))
        self._buffer = data
        if replies:
            self.stream.write(b"".join(replies))
        if replies[-1:] == [b"220 ready\r\n"]:
            self.stream.start_tls(self._context, server_side=True)
        elif replies[-1:] == [b"221 bye\r\n"]:
            self.stream.close()
        for _ in range(complete):
            self._arrived()

    def _reply(self, verb: bytes) -> bytes:
        if verb == b"EHLO":
            offer = b"250-STARTTLS\r\n" if self.stream.tls is None else b""
            return b"250-sink.bench.test\r\n" + offer + b"250-8BITMIME\r\n250 PIPELINING\r\n"
        known = {b"STAR": b"220 ready\r\n", b"DATA": b"354 go ahead\r\n", b"QUIT": b"221 bye\r\n"}
        return known.get(verb, b"250 2.1.0 Ok\r\n")


def sink(port: int, messages: int, certificate: str) -> None:
    """Take mail until there are `messages`, then end."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    listener = socket.create_server(("127.0.0.1", port), backlog=1024)
    counts = mmap.mmap(-1, 8 * _PROCESSES)

    def arrived(number: int) -> bool:
        """Count one; whether that was the last of all."""
        at = 8 * number
        counts[at : at + 8] = (int.from_bytes(counts[at : at + 8]) + 1).to_bytes(8)
        return sum(int.from_bytes(counts[8 * n : 8 * n + 8]) for n in range(_PROCESSES)) >= messages

    def work(number: int) -> None:
        uvloop.run(_take_all(listener, context, lambda: arrived(number), number))

    print("ready", flush=True)
    _fork(work, end_with_first=True)


async def _take_all(listener: socket.socket, context: ssl.SSLContext, arrived: Callable[[], bool], number: int) -> None:
    loop = asyncio.get_running_loop()
    last = loop.create_future()

    def count() -> None:
        if arrived() and not last.done():
            last.set_result(None)

    server = await loop.create_server(lambda: SocketStream(Sink(context, count), loop), sock=listener.dup())
    await last
    server.close()


def _fork(work: Callable[[int], None], *, end_with_first: bool = False) -> list[bool]:
    """Do it in `_PROCESSES` processes; which of them ended well. With the first, where asked, all end."""
    pids = []
    for number in range(_PROCESSES):
        pid = os.fork()
        if pid == 0:
            code = 0
            try:
                work(number)
            except OSError as error:
                print(f"{sys.argv[1]}: {error}", file=sys.stderr)
                code = 1
            os._exit(code)
        pids.append(pid)
    ended = dict([os.wait()])
    if end_with_first:
        for pid in pids:
            if pid not in ended:
                os.kill(pid, signal.SIGKILL)
    while len(ended) < len(pids):
        ended.update([os.wait()])
    return [ended[pid] == 0 for pid in pids]


if __name__ == "__main__":
    if sys.argv[1] == "source":
        source(*map(int, sys.argv[2:6]))
    else:
        sink(int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
