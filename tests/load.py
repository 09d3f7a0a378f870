"""Load with a memory: which messages were answered with 250, and which of them arrived."""

import smtplib
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial

from tests.whole import Sink


class Senders:
    """Threads that send until `stop`."""

    def __init__(self, works: Iterable[Callable[[], None]]) -> None:
        self._over = threading.Event()
        self._threads = [threading.Thread(target=work, daemon=True) for work in works]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(90)
            assert not thread.is_alive(), "a sender hangs"


class Load(Senders):
    """`senders` threads, each with one session after the other, each message with a name of its own."""

    def __init__(self, port: int, senders: int = 8, recipients: int = 1, size: int = 2000, pause: float = 0.02) -> None:
        """`pause`: seconds that a sender waits before each message: the tests' sink is slower than the gateway."""
        self.port = port
        self.pause = pause
        self.recipients = recipients
        self.body = "x" * 70 + "\r\n"
        self.lines = size // 72
        self.accepted: set[str] = set()
        self.in_doubt: set[str] = set()
        """Sent whole, but the answer never came: may arrive or not."""
        super().__init__(partial(self._run, n) for n in range(senders))

    def _run(self, sender: int) -> None:
        number = 0
        while not self._over.is_set():
            try:
                with smtplib.SMTP("127.0.0.1", self.port, timeout=20) as client:
                    for _ in range(20):
                        if self._over.is_set():
                            return
                        number += 1
                        self._over.wait(self.pause)
                        self._send(client, f"{sender}-{number}")
            except (OSError, smtplib.SMTPException):
                self._over.wait(0.02)

    def _send(self, client: smtplib.SMTP, name: str) -> None:
        client.ehlo_or_helo_if_needed()
        if client.mail("load@sender.example")[0] != 250:
            return
        for n in range(self.recipients):
            if client.rcpt(f"r{n}@sink.example")[0] != 250:
                client.rset()
                return
        self.in_doubt.add(name)
        code, _ = client.data(f"Subject: {name}\r\nX-Name: {name}\r\n\r\n" + self.body * self.lines)
        self.in_doubt.discard(name)
        if code == 250:
            self.accepted.add(name)


class Arrivals:
    """How often each (message name, recipient) came; reads each message of the sink once."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._read = 0
        self.counts: Counter[tuple[str, str]] = Counter()
        self.names: set[str] = set()

    def look(self) -> "Arrivals":
        messages = self._sink.messages
        while self._read < len(messages):
            _, recipients, content = messages[self._read]
            self._read += 1
            name = content.partition(b"\r\nX-Name: ")[2].partition(b"\r\n")[0].decode()
            self.names.add(name)
            self.counts.update((name, recipient) for recipient in recipients)
        return self

    @property
    def doubles(self) -> int:
        """Deliveries beyond the first."""
        return sum(n - 1 for n in self.look().counts.values())

    def missing(self, load: Load) -> set[str]:
        """What was answered with 250 and has not come."""
        return load.accepted - self.look().names
