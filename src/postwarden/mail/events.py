"""What the log says, as values. `str(event)` is the text behind `postfix/smtpd[123]: `, word for word Postfix's, since
pflogsumm, fail2ban and people read it. `program` is the last part of the log tag, `level` the word before the text.

Addresses and remote text are made printable here and nowhere else: a newline in a HELO name must not forge a line, and
an address is quoted where it must be, so that it can't forge a field.
"""

from collections.abc import Callable
from typing import ClassVar

from msgspec import Struct

from postwarden.mail.address import external
from postwarden.mail.envelope import Client
from postwarden.mail.status import Status

_UNPRINTABLE = dict.fromkeys((*range(32), *range(127, 160), *range(0xD800, 0xE000)), "?")
"""Those above 127 too: U+009B begins a terminal's control sequence as ESC [ does, and what came as no UTF-8 would
make the whole of a JSON listing unreadable."""


def printable(text: str) -> str:
    """`text` with control characters, and bytes that are no UTF-8, as `?`: so does Postfix with most of them."""
    return text if text.isprintable() else text.translate(_UNPRINTABLE)


class Form(Struct, frozen=True):
    """How an operator wants things to be written."""

    address: Callable[[str], str] = external
    digits: int = 2
    """Behind the point of a delay, at most."""


USUAL = Form()


class Event(Struct, frozen=True):
    """Base of all log events. Postfix's priority words: info has none, then warning, error, fatal, panic."""

    level: ClassVar[str] = "info"

    def written(self, form: Form) -> str:
        """The text; `str` gives it in the usual form."""
        return str(self)


class Connected(Event, frozen=True):
    client: Client

    def __str__(self) -> str:
        return f"connect from {printable(str(self.client))}"


class Disconnected(Event, frozen=True):
    """`counts` maps a command in lower case to (accepted, total); only those that were used, in order of the table."""

    client: Client
    counts: tuple[tuple[str, int, int], ...]

    def __str__(self) -> str:
        parts = [f" {verb}={ok}" if ok == total else f" {verb}={ok}/{total}" for verb, ok, total in self.counts]
        ok, total = sum(c[1] for c in self.counts), sum(c[2] for c in self.counts)
        parts.append(f" commands={ok}" if 0 < ok == total else f" commands={ok}/{total}")
        return f"disconnect from {printable(str(self.client))}{''.join(parts)}"


class LostConnection(Event, frozen=True):
    """`what` is `lost connection`, `timeout` or `too many errors`; `stage` a command, `CONNECT`, `DATA (n bytes)`."""

    what: str
    stage: str
    client: Client

    def __str__(self) -> str:
        return printable(f"{self.what} after {self.stage} from {self.client}")


class Opened(Event, frozen=True):
    """A transaction got its queue id."""

    queue_id: str
    client: Client
    login: str = ""
    original_id: str = ""
    original_client: Client | None = None
    """As XFORWARD named them."""

    def __str__(self) -> str:
        extra = f", sasl_username={self.login}" if self.login else ""
        if self.original_id:
            extra += f", orig_queue_id={self.original_id}"
        original = self.original_client
        if original is not None:
            extra += f", orig_client={original if original.address != 'unknown' else original.name}"
        return f"{self.queue_id}: client={printable(str(self.client))}{printable(extra)}"


class MessageIdSeen(Event, frozen=True):
    queue_id: str
    message_id: str
    name: str = "message-id"
    """Or resent-message-id."""

    def __str__(self) -> str:
        return f"{self.queue_id}: {self.name}={printable(self.message_id)}"


class Rejected(Event, frozen=True):
    """A refused command. `queue_id` is empty before there is one (NOQUEUE); `action` is reject, discard, hold, …"""

    queue_id: str
    stage: str
    client: Client
    text: str
    sender: str | None = None
    recipient: str | None = None
    protocol: str = ""
    helo: str = ""
    action: str = "reject"

    def __str__(self) -> str:
        return self.written(USUAL)

    def written(self, form: Form) -> str:
        line = f"{self.queue_id or 'NOQUEUE'}: {self.action}: {self.stage} from {self.client}: {self.text};"
        if self.sender is not None:
            line += f" from=<{form.address(self.sender)}>"
        if self.recipient is not None:
            line += f" to=<{form.address(self.recipient)}>"
        if self.protocol:
            line += f" proto={self.protocol}"
        if self.helo:
            line += f" helo=<{self.helo}>"
        return printable(line)


class Queued(Event, frozen=True):
    """The courier took a message up. `queue` is active, deferred or hold."""

    queue_id: str
    sender: str
    size: int
    recipients: int
    queue: str = "active"

    def __str__(self) -> str:
        return self.written(USUAL)

    def written(self, form: Form) -> str:
        return (
            f"{self.queue_id}: from=<{printable(form.address(self.sender))}>, size={self.size}, "
            f"nrcpt={self.recipients} (queue {self.queue})"
        )


def delay(seconds: float, digits: int = 2) -> str:
    """A delay as Postfix prints it: two digits that matter, and no more than `digits` behind the point
    (delay_logging_resolution_limit)."""
    if digits != 2:
        return _delay(seconds, digits)
    if seconds < 0.005:
        return "0"
    if seconds >= 9.95:
        return f"{seconds:.0f}"
    if seconds >= 0.995:
        return f"{seconds:.1f}".removesuffix(".0")
    return f"{seconds:.2f}".rstrip("0")


def _delay(seconds: float, digits: int) -> str:
    places, least = 0, 9.95
    while places < digits and seconds < least:
        places, least = places + 1, least / 10
    text = f"{seconds:.{places}f}"
    return text.rstrip("0").rstrip(".") or "0" if places else text


class Delivered(Event, frozen=True):
    """One attempt for one recipient. `delays` a/b/c/d: before the queue manager, in it, connecting, transmitting."""

    queue_id: str
    recipient: str
    original: str
    status: Status
    delays: tuple[float, float, float, float]
    reused: int = 0
    """How often the connection had been used before (`conn_use=`), plus one; 0 or 1 is not printed."""

    def __str__(self) -> str:
        return self.written(USUAL)

    def written(self, form: Form) -> str:
        status, address, digits = self.status, form.address, form.digits
        orig = f" orig_to=<{printable(address(self.original))}>," if self.original else ""
        use = f" conn_use={self.reused}," if self.reused > 1 else ""
        a, b, c, d = self.delays
        word = "SOFTBOUNCE" if status.soft else status.action.value
        if status.verified:
            word = "deliverable" if status.code[0] == "2" else "undeliverable"
        return (
            f"{self.queue_id}: to=<{printable(address(self.recipient))}>,{orig} relay={printable(status.relay)},{use}"
            f" delay={delay(a + b + c + d, digits)}, delays={delay(a, digits)}/{delay(b, digits)}/{delay(c, digits)}/"
            f"{delay(d, digits)},"
            f" dsn={status.code}, status={word} ({printable(status.text)})"
        )


class Returned(Event, frozen=True):
    """It has waited for too long; `how` is expired or force-expired."""

    queue_id: str
    sender: str
    how: str

    def __str__(self) -> str:
        return self.written(USUAL)

    def written(self, form: Form) -> str:
        return f"{self.queue_id}: from=<{printable(form.address(self.sender))}>, status={self.how}, returned to sender"


class Removed(Event, frozen=True):
    queue_id: str

    def __str__(self) -> str:
        return f"{self.queue_id}: removed"


class Notice(Event, frozen=True):
    """Information that has no values of its own."""

    text: str

    def __str__(self) -> str:
        return printable(self.text)


class Warn(Notice, frozen=True):
    level: ClassVar[str] = "warning"


class Failure(Notice, frozen=True):
    level: ClassVar[str] = "error"


class Fatal(Notice, frozen=True):
    level: ClassVar[str] = "fatal"


class PickedUp(Event, frozen=True):
    """A message of a local user got its queue id."""

    queue_id: str
    user: int
    sender: str

    def __str__(self) -> str:
        return self.written(USUAL)

    def written(self, form: Form) -> str:
        return f"{self.queue_id}: uid={self.user} from=<{printable(form.address(self.sender))}>"
