"""A receiver in memory: real sessions, real policy and content, over a memory stream, a memory store and a clock that
stands still. Configuration is main.cf text, DNS is a zone (`testing.resolver`)."""

import re
from collections.abc import Awaitable, Callable
from typing import Any

from postwarden import pipeline
from postwarden.config.settings import Settings
from postwarden.mail.session import TlsFacts
from postwarden.net.asking import Asker
from postwarden.net.clock import Clock
from postwarden.net.log import MailLog, MemorySink
from postwarden.net.names import Names
from postwarden.net.waiting import Waiting
from postwarden.policy.outside import AddressVerifier
from postwarden.receive.counters import Counters
from postwarden.receive.service import Service
from postwarden.receive.session import Session
from postwarden.testing.asking import AskingOnDemand
from postwarden.testing.clock import VirtualClock
from postwarden.testing.config import settings
from postwarden.testing.remote import MemoryDial
from postwarden.testing.resolver import FakeResolver
from postwarden.testing.spool import MemoryStore
from postwarden.testing.stream import MemoryStream, Recorder, connect

ZONE = """
10.2.0.192.in-addr.arpa PTR client.example.net
client.example.net A 192.0.2.10
1.0.0.127.in-addr.arpa PTR localhost
localhost A 127.0.0.1
"""
MASTER_CF = "smtp inet n - n - - smtpd\n"


class HandWaiting:
    """A `net.waiting.Waiting` without a loop. A fetch runs to its first real wait; `Gate`s are opened by the test."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock

    def wait(self, fetch: Callable[[], Awaitable[None]], done: Callable[[Exception | None], None]) -> None:
        coroutine: Any = fetch().__await__()

        def step() -> None:
            try:
                gate = next(coroutine)
            except StopIteration:
                done(None)
            except Exception as error:
                done(error)
            else:
                gate.then(step)

        self._clock.call_soon(step)


class Gate:
    """Something that a coroutine awaits until the test opens it."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self._waiting: list[Callable[[], None]] = []
        self._open = False

    def open(self) -> None:
        self._open = True
        for callback in self._waiting:
            self._clock.call_soon(callback)
        self._waiting.clear()

    def then(self, callback: Callable[[], None]) -> None:
        if self._open:
            self._clock.call_soon(callback)
        else:
            self._waiting.append(callback)

    def __await__(self) -> Any:
        if not self._open:
            yield self


def build_service(
    config: Settings,
    clock: Clock,
    store: MemoryStore,
    waiting: Waiting,
    sink: MemorySink,
    *,
    zone: str = ZONE,
    asker: Asker | None = None,
    verifier: AddressVerifier | None = None,
) -> Service:
    """The service `smtp/inet` of `config`, with real policy and content. Raises ConfigError."""
    resolver = FakeResolver(zone, clock)
    names, dial = Names(resolver, resolver), MemoryDial(VirtualClock(), {})
    around = pipeline.Surroundings(clock, MailLog(sink, "postfix"), names, dial, asker, verifier=verifier)
    built = pipeline.receiver(
        config,
        around,
        store,
        keys=("smtp/inet",),
        waiting=waiting,
        counters=Counters(Counters.create().fileno(), 0),
        files={},
    )
    return built.services["smtp/inet"]


def without_process(line: str) -> str:
    """`postfix/smtpd[123]: text` as `smtpd: text`."""
    return re.sub(r"^postfix/(\w+)\[\d+\]", r"\1", line)


class Reception:
    """One service of a receiver. `log` has the lines without `postfix/` and process id."""

    def __init__(
        self,
        main_cf: str = "",
        *,
        zone: str = ZONE,
        config: Settings | None = None,
        verifier: AddressVerifier | None = None,
        **parameters: str,
    ) -> None:
        self.clock = VirtualClock()
        self.settings = config or settings(main_cf, MASTER_CF, **parameters)
        self._sink = MemorySink()
        self.store = MemoryStore(self.clock.call_soon)
        self.asking = AskingOnDemand(self.clock)
        self.service = build_service(
            self.settings,
            self.clock,
            self.store,
            HandWaiting(self.clock),
            self._sink,
            zone=zone,
            asker=self.asking,
            verifier=verifier,
        )

    @property
    def log(self) -> list[str]:
        return [without_process(line) for line in self._sink.lines]

    def connect(self, address: str = "127.0.0.1", *, chunk: int = 0, tls: TlsFacts | None = None) -> "Peer":
        """A client connects; what it hears first is not taken yet."""
        return Peer(self, address, chunk, tls)


class Peer:
    """The other end of one session."""

    def __init__(self, reception: Reception, address: str, chunk: int, tls: TlsFacts | None) -> None:
        self.clock = reception.clock
        self.session = Session(reception.service)
        self.recorder = Recorder()
        self.stream: MemoryStream
        self.stream, self.server = connect(
            self.recorder,
            self.session,
            self.clock,
            chunk=chunk,
            near_address=(address, 40000),
            far_address=("192.0.2.1", 25),
            tls=tls,
        )
        self.clock.run()

    def hear(self) -> str:
        """What the server has said since the last call."""
        return self.recorder.take().decode()

    def say(self, *lines: str | bytes) -> str:
        """Send lines, text with CRLF added, bytes as they are; all at once. Gives what the server says."""
        for data in [line if isinstance(line, bytes) else f"{line}\r\n".encode() for line in lines]:
            self.stream.write(data)
        self.clock.run()
        return self.hear()

    @property
    def closed(self) -> bool:
        """The server has hung up."""
        return self.recorder.has_ended or self.recorder.is_closed
