"""A remote SMTP server that does what it is told, well or badly, in memory or on a real socket.

`Remote(Script(...))` is a `net.stream.Handler`. A script says what is answered to each command; what it does not
mention is answered as a plain ESMTP server does. Answers are raw bytes, so that any nonsense can be said.
"""

import re
from collections.abc import Callable, Mapping

from msgspec import Struct

from postwarden.mail.host import Host
from postwarden.mail.session import TlsFacts
from postwarden.net.clock import Clock
from postwarden.net.stream import Handler, Stream
from postwarden.testing.stream import connect

BANNER, END = "<banner>", "<end>"

OFFER = ("PIPELINING", "SIZE 10240000", "ENHANCEDSTATUSCODES", "8BITMIME", "DSN", "SMTPUTF8")

_ANSWERS = {
    BANNER: b"220 mx.remote.example ESMTP\r\n",
    "HELO": b"250 mx.remote.example\r\n",
    "MAIL": b"250 2.1.0 Ok\r\n",
    "RCPT": b"250 2.1.5 Ok\r\n",
    "DATA": b"354 End data with <CR><LF>.<CR><LF>\r\n",
    END: b"250 2.0.0 Ok: queued as 4Z\r\n",
    "RSET": b"250 2.0.0 Ok\r\n",
    "NOOP": b"250 2.0.0 Ok\r\n",
    "QUIT": b"221 2.0.0 Bye\r\n",
    "STARTTLS": b"220 2.0.0 Ready to start TLS\r\n",
}


class Act(Struct, frozen=True):
    """Answer with `say`, and then: go on, `close`, `reset` (RST), `stall` (read on, and say nothing ever again)."""

    say: bytes = b""
    then: str = ""


class Script(Struct, frozen=True):
    acts: Mapping[str, Act | bytes | tuple[Act | bytes, ...]] = {}
    """By verb, BANNER or END. A tuple is for the first, second, … time; its last element for all further times."""
    offer: tuple[str, ...] = OFFER
    """Keywords of the reply to EHLO."""
    close_after: int = -1
    """Close when so many bytes of content have come; -1: never."""
    reset_after: int = -1
    speak_after: int = -1
    """Say `unasked` when so many bytes of content have come."""
    unasked: bytes = b""
    lmtp: bool = False


class Message(Struct):
    """What a server was given."""

    mail: bytes = b""
    rcpts: list[bytes] = []
    content: bytes = b""
    """As it came over the wire, dots doubled, without the final dot."""


class Remote:
    """One connection to the server. `later` is the `call_soon` of a virtual clock: a reset then comes behind what was
    written before, as it does on a network that is not in a hurry."""

    def __init__(
        self, script: Script, tls: object = None, later: Callable[[Callable[[], None]], None] | None = None
    ) -> None:
        self._script = script
        self._tls = tls
        self._later = later
        self.stream: Stream | None = None
        self.commands: list[bytes] = []
        self.messages: list[Message] = []
        self.tls_started = False
        self._buffer = b""
        self._times: dict[str, int] = {}
        self._message = Message()
        self._accepted = 0
        self._in_data = self._stalled = self._spoken = False
        self.closed_by_peer = False

    def opened(self, stream: Stream) -> None:
        self.stream = stream
        self._act(BANNER)

    def received(self, data: bytes) -> None:
        self._buffer += data
        while self._step():
            pass

    def ended(self) -> None:
        self.closed_by_peer = True
        if self.stream is not None and not self._stalled:
            self.stream.close()

    def secured(self, tls: TlsFacts) -> None:
        self.tls_started = True

    def congested(self) -> None:
        return

    def drained(self) -> None:
        return

    def closed(self, reason: Exception | None) -> None:
        self._stalled = True

    # inside

    def _step(self) -> bool:
        if self._stalled:
            return False
        if self._in_data:
            return self._content()
        end = self._buffer.find(b"\n")
        if end < 0:
            return False
        line, self._buffer = self._buffer[: end + 1].rstrip(b"\r\n"), self._buffer[end + 1 :]
        self.commands.append(line)
        match = re.match(rb"[A-Za-z]+", line)
        verb = match[0].decode().upper() if match is not None else ""
        if verb == "MAIL":
            self._message = Message(mail=line, rcpts=[])
            self._accepted = 0
        elif verb == "RCPT":
            self._message.rcpts.append(line)
        said = self._act(verb)
        if verb == "RCPT" and said[:1] == b"2":
            self._accepted += 1
        elif verb == "DATA" and said[:1] == b"3":
            self._in_data = True
        elif verb == "STARTTLS" and said[:1] == b"2" and self.stream is not None and not self._stalled:
            self._buffer = b""
            self.stream.start_tls(self._tls, server_side=True)  # type: ignore[arg-type]
        elif verb == "QUIT" and self.stream is not None and not self._stalled:
            self._stalled = True
            self.stream.close()
        return True

    def _content(self) -> bool:
        script = self._script
        taken = len(self._message.content) + len(self._buffer)
        if 0 <= script.speak_after <= taken and not self._spoken:
            self._spoken = True
            self._say(script.unasked)
        if 0 <= script.close_after <= taken or 0 <= script.reset_after <= taken:
            self._leave("close" if script.close_after >= 0 else "reset")
            return False
        data = self._message.content + self._buffer
        at = 0 if data.startswith(b".\r\n") else data.find(b"\r\n.\r\n")
        if at < 0:
            self._message.content, self._buffer = data, b""
            return False
        skip = 3 if data.startswith(b".\r\n") else 5
        self._message.content = data[: at + skip - 3]
        self._buffer = data[at + skip :]
        self._in_data = False
        self.messages.append(self._message)
        for _ in range(self._accepted if script.lmtp else 1):
            if not self._stalled:
                self._act(END)
        return True

    def _act(self, verb: str) -> bytes:
        time = self._times[verb] = self._times.get(verb, 0) + 1
        act = self._script.acts.get(verb)
        if isinstance(act, tuple):
            act = act[min(time, len(act)) - 1]
        if act is None:
            act = self._usual(verb)
        if isinstance(act, bytes):
            act = Act(act)
        self._say(act.say)
        if act.then:
            self._leave(act.then)
        return act.say

    def _usual(self, verb: str) -> bytes:
        if verb in ("EHLO", "LHLO"):
            offer = [k for k in self._script.offer if not (k == "STARTTLS" and self.tls_started)]
            lines = ["mx.remote.example", *offer]
            return "".join(f"250{'-' if n < len(lines) - 1 else ' '}{k}\r\n" for n, k in enumerate(lines)).encode()
        return _ANSWERS.get(verb, b"502 5.5.2 Error: command not recognized\r\n")

    def _say(self, data: bytes) -> None:
        if data and self.stream is not None:
            self.stream.write(data)

    def _leave(self, how: str) -> None:
        self._stalled = True
        if self.stream is None or how == "stall":
            return
        if how == "reset" and self._later is not None:
            self._later(self.stream.abort)
        elif how == "reset":
            self.stream.abort()
        else:
            self.stream.close()


class MemoryDial:
    """A `net.dial.Dial` to servers in memory. `servers` maps (address, port) to what makes a handler for each
    connection, to an OSError with which connecting fails, or to None: nobody answers, not even with a refusal."""

    def __init__(
        self,
        clock: Clock,
        servers: Mapping[tuple[str, int], Callable[[], Handler] | OSError | None],
        *,
        chunk: int = 0,
        high_water: int = 64 << 10,
    ) -> None:
        self._clock = clock
        self._servers = servers
        self._chunk = chunk
        self._high_water = high_water
        self.dialled: list[Host] = []

    def connect(
        self, host: Host, handler: Handler, failed: Callable[[OSError], None], *, timeout: float, source: str = ""
    ) -> None:
        self.dialled.append(host)
        server = self._servers.get((host.path or host.address, host.port), ConnectionRefusedError(111, ""))
        if isinstance(server, OSError):
            error = server
            self._clock.call_soon(lambda: failed(error))
            return
        if server is None:
            self._clock.call_later(timeout or 120.0, lambda: failed(TimeoutError(110, "")))
            return
        far = (host.address, host.port)
        connect(handler, server(), self._clock, chunk=self._chunk, high_water=self._high_water, far_address=far)
