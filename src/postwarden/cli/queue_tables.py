"""The tables of `postwarden queue`, for a terminal of `width` columns (80 are enough)."""

import textwrap
from collections.abc import Iterator, Sequence

from postwarden.cli.listing import Message, moment, shown
from postwarden.cli.shape import BUCKETS, Group, Summary, addresses
from postwarden.ipc.queue_records import QUEUES, DestinationFigures, Figures
from postwarden.mail.events import printable
from postwarden.mail.queue import HOLD

_CELLS = (6, *(5 for _ in BUCKETS[:-1]), 6)
"""Widths of the columns of numbers, each with a blank before it."""


def amount(count: int) -> str:
    """In at most four characters: 9999, 12k, 999k, 1.2M, 345M."""
    if count < 10_000:
        return str(count)
    if count < 1_000_000:
        return f"{count // 1000}k"
    return f"{count / 1e6:.1f}M" if count < 10_000_000 else f"{count // 1_000_000}M"


def octets(size: int) -> str:
    for unit, name in ((1 << 30, "GB"), (1 << 20, "MB"), (1 << 10, "KB")):
        if size >= unit:
            return f"{size / unit:.1f} {name}"
    return f"{size} bytes"


def span(seconds: float) -> str:
    """In at most six characters: 45s, 12m, 3h20m, 4d2h, 123d."""
    rest = max(int(seconds), 0)
    if rest < 60:
        return f"{rest}s"
    if rest < 3600:
        return f"{rest // 60}m"
    if rest < 86400:
        return f"{rest // 3600}h{rest % 3600 // 60}m"
    return f"{rest // 86400}d{rest % 86400 // 3600}h" if rest < 100 * 86400 else f"{rest // 86400}d"


def cut(text: str, width: int) -> str:
    """The end of a domain tells more than its beginning."""
    return text if len(text) <= width else f"+{text[1 - width :]}"


def wrapped(text: str, width: int, indent: int) -> list[str]:
    return textwrap.wrap(
        text, max(width, indent + 20), initial_indent=" " * indent, subsequent_indent=" " * indent,
        break_on_hyphens=False,
    )  # fmt: skip


def overview(summary: Summary, now: float) -> Iterator[str]:
    yield (
        f"{_plural(summary.messages, 'message')} for {_plural(summary.recipients, 'recipient')},"
        f" {octets(summary.size)}; the oldest came {span(now - summary.oldest)} ago"
    )
    counts = [f"{summary.queues.get(queue, 0)} {'on hold' if queue == 'hold' else queue}" for queue in QUEUES]
    if dropped := summary.queues.get("maildrop"):
        counts.append(f"{dropped} in maildrop")
    yield ", ".join(counts)


def ages(view: str, total: Group, groups: Sequence[Group], width: int) -> Iterator[str]:
    """Rows of groups, columns of ages: how many came in the last 5 minutes, before those in the last 10, and so on."""
    room = max(width - sum(_CELLS), 17)
    yield f"{'Recipients' if view == 'destination' else 'Messages'} by age in minutes"
    yield _row("QUEUE" if view == "age" else view.upper(), ("T", *BUCKETS), room)
    for group in (total, *groups):
        yield _row(group.key, (amount(group.count), *map(amount, group.ages)), room)


def _row(name: str, cells: Sequence[str], room: int) -> str:
    return f"{cut(name, room):<{room}}" + "".join(f"{cell:>{width}}" for cell, width in zip(cells, _CELLS, strict=True))


def reasons(groups: Sequence[Group], now: float, width: int) -> Iterator[str]:
    yield "COUNT OLDEST REASON"
    for group in groups:
        first, *more = wrapped(group.key, width, 13) or [" " * 13]
        yield f"{amount(group.count):>5} {span(now - group.oldest):>6} {first[13:]}"
        yield from more


def oldest(messages: Sequence[Message], now: float, width: int) -> Iterator[str]:
    yield "   AGE QUEUE ID         QUEUE    TRIES   NEXT FROM -> TO"
    for message in messages:
        some = addresses(message, message.state.open[:1])
        more = len(message.state.open) - 1
        text = f"{message.sender()} -> {''.join(some)}{f' and {more} more' if more else ''}"
        head = (
            f"{span(now - message.envelope.arrival):>6} {shown(message, 16):<16} {message.queue:<8}"
            f" {message.state.attempts:>5} {_next(message, now):>6} "
        )
        if len(head) + len(text) <= width:
            yield head + text
        else:
            yield head.rstrip()
            yield from wrapped(text, width, 7)
        reason = next((message.state.reasons[n].text for n in message.state.open if n in message.state.reasons), "")
        yield from wrapped(printable(reason), width, 7)


def _next(message: Message, now: float) -> str:
    if message.queue != "deferred" or not 0 < message.due < HOLD:
        return "-"
    return "now" if message.due <= now else span(message.due - now)


def next_attempts(groups: Sequence[Group], now: float, width: int) -> Iterator[str]:
    """When the first deferred message of each destination is tried again, and what the last attempt met."""
    if not groups:
        yield "No mail is deferred."
        return
    yield "  NEXT WAITING TRIES DESTINATION"
    for group in groups:
        when = "now" if group.next <= now else span(group.next - now)
        yield f"{when:>6} {amount(group.count):>7} {group.attempts:>5} {cut(group.key, width - 21)}"
        yield from wrapped(group.reason, width, 7)


def destinations(figures: Figures, limit: int, width: int) -> Iterator[str]:
    """What the courier does at the moment, and which destinations it lets alone until when."""
    if figures.next_run:
        yield f"The next look for deferred mail is in {span(figures.next_run - figures.now)}."
    yield f"{_plural(figures.delivering, 'delivery', 'deliveries')} in progress, {figures.waiting} waiting for a slot."
    found = sorted(figures.destinations, key=lambda one: (-one.waiting, -one.delivering, one.nexthop))
    for one in found[: limit or len(found)]:
        yield from wrapped(f"{one.transport}:{printable(one.nexthop)}: {_state(one, figures.now)}", width, 2)
        if one.reason is not None:
            yield from wrapped(printable(one.reason.text), width, 6)
    if limit and len(found) > limit:
        yield f"  and {len(found) - limit} more"


def _state(one: DestinationFigures, now: float) -> str:
    counts = f"{one.waiting} waiting, {one.delivering} in progress"
    if one.suspended_until > now:
        return f"suspended until {moment(one.suspended_until)[11:]} (for {span(one.suspended_until - now)}); {counts}"
    if one.resting_until > now:
        return f"rate delay for {span(one.resting_until - now)}; {counts}"
    return f"{counts} of at most {one.window}"


def left_out(shown: int, there: int) -> Iterator[str]:
    if shown < there:
        yield f"({there - shown} more; -n 0 shows all)"


def _plural(count: int, one: str, more: str = "") -> str:
    return f"{count} {one if count == 1 else more or one + 's'}"
