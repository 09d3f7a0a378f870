"""The client's end of an SMTP or LMTP connection, without I/O (RFC 5321, RFC 2033, RFC 2920).

    client = SmtpClient()
    client.feed(bytes from the server)
    while (answer := client.next()) is not None:      # (event, reply), in the order of the commands
        ... client.send("MAIL", b"MAIL FROM:<...>")   # gives the bytes to send

It knows which command each reply answers, and refuses to send what is out of order (UsageError: our own bug). A server
that answers a command twice is one reply ahead from then on, as it is for Postfix: DATA gets the reply to RCPT, which
refuses it, and no message counts as delivered. Who has sent content, or has a new message, looks at `unasked` first:
what came before the end of the content is no verdict, and a new message needs a clean start.
"""

from collections import deque
from collections.abc import Callable
from types import MappingProxyType

from postwarden.mail.transcript import Transcript
from postwarden.wire.smtp_replies import RemoteReply, ReplyReader
from postwarden.wire.smtp_states import BANNER, END, STEPS, TLS, State, after

_GROUP_ENDS = frozenset(("EHLO", "HELO", "LHLO", "DATA", "STARTTLS", "AUTH", "VRFY", "EXPN", "NOOP", "QUIT", "XCLIENT"))
"""RFC 2920 3.1: nothing may be sent behind these before they are answered."""
_JUDGED = MappingProxyType(
    {
        BANNER: (State.CONNECTED,),
        "HELO": (State.GREETED,),
        "LHLO": (State.GREETED,),
        "MAIL": (State.READY,),
        "RCPT": (State.MAIL, State.RCPT),
        "DATA": (State.RCPT,),
        END: (State.DATA,),
    }
)
"""Commands that a message depends on, and where it does: nothing depends on RCPT once the sender was refused. After
EHLO comes HELO; whether STARTTLS matters, its caller knows."""


class UsageError(RuntimeError):
    """The caller sent what may not be sent now."""


class SmtpClient:
    __slots__ = ("_ahead", "_asked", "_reader", "garbled", "state", "transcript", "troubled")

    def __init__(self) -> None:
        self.state = State.CONNECTED
        """By the replies read so far."""
        self.garbled = False
        """The server has sent lines that are no reply: not to be trusted with another message."""
        self.transcript: Transcript | None = None
        """Where what is said is to be remembered."""
        self.troubled = False
        """The server has said, as far as the transcript goes, what no server should."""
        self._ahead = State.CONNECTED
        self._asked: deque[str] = deque((BANNER,))
        self._reader = ReplyReader()

    @property
    def awaited(self) -> str:
        """The event whose reply comes next; empty when none is awaited."""
        return self._asked[0] if self._asked else ""

    @property
    def idle(self) -> bool:
        """Between two transactions, nothing asked, nothing said unasked."""
        return self.state is State.READY and not self._asked and self._reader.empty

    @property
    def unasked(self) -> bool:
        """The server sent something, and no command is open that it could answer."""
        return not self._asked and not self._reader.empty

    def filter_replies(self, filtered: Callable[[bytes], bytes]) -> None:
        """As `ReplyReader.filtered`."""
        self._reader.filtered = filtered

    def feed(self, data: bytes) -> None:
        self._reader.feed(data)

    def next(self) -> tuple[str, RemoteReply] | None:
        """The next command that was answered, and how. A reply that nobody waits for is held back."""
        if not self._asked:
            return None
        reply = self._reader.next()
        if reply is None:
            return None
        event = self._asked.popleft()
        if reply.garbled:
            self.garbled = True
        if self.transcript is not None:
            self._remember(self.transcript, event, reply)
        self._move(event, reply.code)
        return event, reply

    def _remember(self, transcript: Transcript, event: str, reply: RemoteReply) -> None:
        """Codes x0z are for syntax errors and commands that do not exist (RFC 5321 4.2.2): a hint that we say something
        wrong, or that the server does."""
        transcript.add(b"", reply.text)
        code = reply.code
        if code // 100 != (3 if event == "DATA" else 2) and self.state in _JUDGED.get(event, ()):
            self.doubt(code)
        self.troubled = self.troubled or reply.garbled

    def doubt(self, code: int) -> None:
        """A command that matters was refused so."""
        self.troubled = self.troubled or not 400 <= code < 600 or code == 555 or 500 <= code < 510

    def close_transcript(self) -> Transcript | None:
        """What was said since the last call, if that was trouble; it goes on with an empty one."""
        transcript, reader = self.transcript, self._reader
        if transcript is None or not (self.troubled or reader.garbled):
            return None
        if reader.unfinished:
            transcript.add(b"", "\n".join(reader.unfinished))
        self.transcript, self.troubled = Transcript(), False
        return transcript

    def _move(self, event: str, code: int) -> None:
        # 421 says that the server is about to close; until it has, Postfix goes on as after any 4xx, and so do we:
        # what the server did not answer is then lost with the connection. A reply of a class that the command can't
        # have counts as refusal.
        if event == "DATA":
            accepted = 300 <= code < 400
        else:
            accepted = 200 <= code < 300
        self.state = after(self.state, event, 250 if accepted else 550)
        if event == "DATA" and accepted:
            # RFC 2920 3.1: 354 although it has no recipients: it wants an empty message now, legal or not.
            self.state = State.DATA
        if self.state is State.HANDSHAKE:
            # What was sent behind the 220 in clear must never count as said under TLS.
            self._reader.clear()
        if not self._asked:
            self._ahead = self.state

    def early(self) -> RemoteReply | None:
        """A reply that nobody had asked for, such as one that comes before the content has ended."""
        return None if self._asked else self._reader.next()

    def send(self, event: str, line: bytes, replies: int = 1) -> bytes:
        """The bytes of a command; `line` is without CRLF. Content is the caller's, and is sent between the reply to
        DATA and END. `replies` is for END with LMTP: one for each accepted recipient (RFC 2033 4.2)."""
        asked = self._asked
        ahead = self._ahead
        if asked and asked[-1] in _GROUP_ENDS:
            raise UsageError(f"{event} sent behind an unanswered {asked[-1]}")
        step = STEPS[ahead].get(event)
        if step is None:
            raise UsageError(f"{event} sent in state {ahead.name}")
        if b"\n" in line or b"\r" in line:  # an address that would be a command of its own (SMTP smuggling)
            raise UsageError(f"a line break within {event}")
        self._ahead = step[0]
        asked.append(event)
        if replies > 1:
            asked.extend((event,) * (replies - 1))
        if self.transcript is not None:
            self.transcript.add(line, "")
        return line + b"\r\n"

    def secured(self) -> None:
        """The TLS handshake is over: the session begins anew, with EHLO."""
        if self.state is not State.HANDSHAKE:
            raise UsageError("TLS without STARTTLS")
        self.state = self._ahead = after(self.state, TLS, 220)
