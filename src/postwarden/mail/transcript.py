"""What a postmaster is sent when an SMTP session had trouble (notify_classes): both ends of SMTP remember what was said
and what kind of trouble there was; where that kind is asked for, the transcript becomes a message."""

from collections.abc import Iterable
from enum import IntFlag

from postwarden.mail.date import mail_date
from postwarden.mail.envelope import Envelope, Notify, Recipient
from postwarden.mail.events import printable
from postwarden.mail.reply import Reply

LONGEST = 500
"""Bytes of a command that are kept."""
_BEGINNING, _MOST = 16, 64
_WIDTH = 78
_NOTICES, _PER = 100, 60.0


class Trouble(IntFlag):
    """Names of notify_classes that a session can give cause for. BOUNCE: a recipient or a message was refused."""

    NONE = 0
    BOUNCE = 1
    POLICY = 2
    PROTOCOL = 4
    RESOURCE = 8
    SOFTWARE = 16
    DATA = 32


def trouble_of(names: Iterable[str]) -> Trouble:
    """Of the words in notify_classes; those that sessions give no cause for are passed over."""
    found = Trouble.NONE
    for name in names:
        found |= Trouble.__members__.get(name.upper(), Trouble.NONE)
    return found


class Transcript:
    """What was said so far. The beginning and the end are kept: a session may last for days, and there are thousands of
    them."""

    __slots__ = ("_left_out", "_lines", "entries")

    def __init__(self) -> None:
        self.entries: list[tuple[bytes, Reply | str]] = []
        """(command, reply), either of which may be empty."""
        self._left_out = 0
        self._lines = 0

    def add(self, command: bytes, reply: Reply | str) -> None:
        self.entries.append((command if len(command) <= LONGEST else command[:LONGEST], reply))
        self._lines += 2 if command else 1
        if isinstance(reply, Reply) and "\n" in reply.text:
            self._lines += reply.text.count("\n")
        if len(self.entries) > _MOST:
            self._shorten()

    def _shorten(self) -> None:
        cut = len(self.entries) - _MOST // 2
        if cut > _BEGINNING:
            self._left_out += cut - _BEGINNING
            del self.entries[_BEGINNING:cut]

    def longer_than(self, lines: int, command: bytes = b"") -> bool:
        """With `command` as its last line."""
        return self._lines + bool(command) > lines

    def lines(self, commands: str, replies: str) -> list[str]:
        """As they stand in the message; `commands` and `replies` name who said it, `In` or `Out`."""
        found: list[str] = []
        for number, (command, reply) in enumerate(self.entries):
            if self._left_out and number == _BEGINNING:
                found += [" ...", f" ({self._left_out} commands are left out here)", " ..."]
            if command:
                found += wrapped(f"{commands}: ".ljust(5) + _discreet(command))
            text = reply if isinstance(reply, str) else reply.encode().decode("utf-8", "replace")
            for line in text.splitlines():
                found += wrapped(f"{replies}: ".ljust(5) + line)
        return found


def _discreet(command: bytes) -> str:
    """A password is nobody's business, not even a postmaster's."""
    text = command.decode("utf-8", "replace").rstrip("\r\n")
    words = text.split()
    if words and words[0].upper() == "AUTH" and len(words) > 2:
        return f"{words[0]} {words[1]} (not shown)"
    return text


def wrapped(line: str) -> list[str]:
    """Printable, in lines of 78 characters that break at blanks."""
    found: list[str] = []
    text, indent = printable(line), 1
    while True:
        end = text.find(" ")
        while end >= 0:
            following = text.find(" ", end + 1)
            if len(text[: following if following >= 0 else None]) + indent - 1 > _WIDTH:
                break
            end = following
        if end < 0:
            return [*found, " " * indent + text]
        found.append(" " * indent + text[:end].rstrip())
        text, indent = text[end + 1 :], 5


class Ration:
    """So many notices in a minute: what troubles one session may trouble ten thousand, and the postmaster needs no
    more."""

    __slots__ = ("_made", "_since")

    def __init__(self) -> None:
        self._since = 0.0
        self._made = 0

    def refuse(self, now: float) -> str | None:
        """None: one more may be made, at `now` monotonic seconds. Else why not; empty when that has been said."""
        if now - self._since >= _PER:
            self._since, self._made = now, 0
        self._made += 1
        if self._made <= _NOTICES:
            return None
        more = f"more than {_NOTICES} notices in a minute; those that follow are left out"
        return more if self._made == _NOTICES + 1 else ""


def postmaster_notice(
    *, queue_id: str, now: float, hostname: str, mail_name: str, sender: str, recipient: str, to: str = "",
    subject: str, text: list[str],
) -> tuple[Envelope, bytes, bytes]:  # fmt: skip
    """Envelope, head and body. `recipient` is whom the header names, and who gets it if `to` does not; addresses are
    completed when the head is prepared."""
    head = [
        f"Received: by {hostname} ({mail_name})",
        f"\tid {queue_id}; {mail_date(now)}",
        f"Date: {mail_date(now)}",
        "From: Mail Delivery System <MAILER-DAEMON>",
        f"To: Postmaster <{recipient}>",
        f"Subject: {printable(subject)}",
    ]
    body = [*text, "", "For other details, see the local mail logfile"]
    lines = ("\r\n".join(head) + "\r\n\r\n").encode(), ("\r\n".join(body) + "\r\n").encode("utf-8", "replace")
    size, eight_bit = sum(map(len, lines)), not lines[1].isascii()
    whom = (Recipient(to or recipient, notify=int(Notify.NEVER)),)
    return Envelope(queue_id, now, sender, whom, size, eight_bit, context="local"), *lines
