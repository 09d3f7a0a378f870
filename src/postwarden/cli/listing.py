"""The queue as mailq and `postqueue -j` print it."""

import time
from collections.abc import Iterable, Iterator
from json.encoder import encode_basestring

from msgspec import MsgspecError, Struct

from postwarden.mail.address import external
from postwarden.mail.envelope import Envelope
from postwarden.mail.events import printable
from postwarden.mail.queue import Listed, State

EMPTY = "Mail queue is empty\n"
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("", "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MARKS = {"active": "*", "hold": "!"}
_REASON_END = 76
"""Column before the closing parenthesis of a reason."""
_UNKNOWN = "reason unavailable"


class Columns(Struct, frozen=True):
    """Widths of the traditional listing; enable_long_queue_ids picks one of two."""

    header: str
    queue_id: int
    size: int
    time_end: str
    recipient: int


SHORT = Columns("-Queue ID-  --Size-- ----Arrival Time---- -Sender/Recipient-------\n", 11, 7, "  ", 41)
LONG = Columns("----Queue ID----- --Size-- ---Arrival Time---- --Sender/Recipient------\n", 17, 8, " ", 47)
WIDTHS = (SHORT.queue_id - 1, LONG.queue_id - 1)
"""Of a queue id, in characters, without its mark."""


class Message(Struct, frozen=True):
    """A listed message, decoded."""

    queue: str
    envelope: Envelope
    state: State
    due: float
    """As in `Listed`."""

    def recipients(self) -> list[tuple[str, str]]:
        """(address, reason) of those still to be delivered, in external form: those with the same reason together,
        those that were not deferred last."""
        by_reason: dict[str, list[str]] = {}
        fresh = []
        for index in self.state.open:
            address = printable(external(self.envelope.recipients[index].address))
            status = self.state.reasons.get(index)
            if status is None or not status.text:
                fresh.append((address, ""))
            else:
                by_reason.setdefault(printable(status.text), []).append(address)
        return [(address, reason) for reason, some in by_reason.items() for address in some] + fresh

    def sender(self) -> str:
        return printable(external(self.envelope.sender)) or "MAILER-DAEMON"


class Unreadable(Struct, frozen=True):
    """A message whose record is damaged: listed by nobody, but said."""

    queue_id: str
    reason: str


def messages(listing: Iterable[Listed]) -> Iterator[Message | Unreadable]:
    """A listing, decoded."""
    for listed in listing:
        try:
            envelope, state = listed.envelope(), listed.state()
        except MsgspecError as error:
            yield Unreadable(listed.queue_id, str(error))
            continue
        if state.open and state.open[-1] >= len(envelope.recipients):
            yield Unreadable(listed.queue_id, "its recipients do not fit its state")
            continue
        yield Message(listed.queue(state), envelope, state, listed.due)


def traditional(message: Message, columns: Columns) -> str:
    """One message of `mailq`, with the empty line after it."""
    envelope = message.envelope
    mark = _MARKS.get(message.queue, "") + ("#" if message.state.expired else "")
    lines = [
        f"{shown(message, columns.queue_id - 1) + mark:<{columns.queue_id}} {envelope.size:>{columns.size}}"
        f" {moment(envelope.arrival)}{columns.time_end}{message.sender()}"
    ]
    said = ""
    for address, reason in message.recipients():
        if reason != said:
            said = reason
            text = reason or _UNKNOWN
            lines.append(f"{' ' * (_REASON_END - len(text.encode(errors='surrogateescape')))}({text})")
        lines.append(f"{' ' * columns.recipient}{address}")
    lines.append("\n")
    return "\n".join(lines)


def shown(message: Message, width: int) -> str:
    """The queue id, or what fits of the name of a file in maildrop: its end, by which postcat and postsuper find it."""
    queue_id = message.envelope.queue_id
    return queue_id[-width:] if message.queue == "maildrop" else queue_id


def footer(count: int, size: int) -> str:
    """The last line: `size` in bytes."""
    return f"-- {size // 1024} Kbytes in {count} Request{'' if count == 1 else 's'}.\n" if count else EMPTY


def json(message: Message) -> str:
    """One line of `postqueue -j`."""
    quote = encode_basestring
    envelope = message.envelope
    recipients = [
        f'{{"address": {quote(address)}, "delay_reason": {quote(reason)}}}'
        if reason
        else f'{{"address": {quote(address)}}}'
        for address, reason in message.recipients()
    ]
    return (
        f'{{"queue_name": "{message.queue}", "queue_id": {quote(envelope.queue_id)},'
        f' "arrival_time": {int(envelope.arrival)}, "message_size": {envelope.size},'
        f' "forced_expire": {"true" if message.state.expired else "false"}, "sender": {quote(message.sender())},'
        f' "recipients": [{", ".join(recipients)}]}}\n'
    )


def moment(seconds: float) -> str:
    """`Mon Nov  3 04:05:06`: local time, in English whatever the locale."""
    t = time.localtime(seconds)
    clock = f"{t.tm_hour:02d}:{t.tm_min:02d}:{t.tm_sec:02d}"
    return f"{_DAYS[t.tm_wday]} {_MONTHS[t.tm_mon]} {t.tm_mday:2d} {clock}"
