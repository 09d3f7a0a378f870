"""`postwarden queue`: what mailq never showed: the queue by destination, sender, reason, age; the oldest; the next."""

import contextlib
import shutil
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator

import msgspec
from msgspec import Struct

from postwarden.cli import queue_tables as tables
from postwarden.cli.dropped import QUEUE as MAILDROP
from postwarden.cli.listing import Message
from postwarden.cli.postqueue import Output, listed
from postwarden.cli.shape import BUCKETS, KEYS_OF, Count, Group, Oldest, Summary, addresses
from postwarden.cli.tool import Misuse, Refusal, Voice, options
from postwarden.config.errors import ConfigError
from postwarden.config.settings import Settings, load
from postwarden.ipc.queue_client import Bad, Denied, Down, QueueClient
from postwarden.ipc.queue_records import QUEUES, Figures
from postwarden.mail.queue import HOLD

USAGE = """\
usage: postwarden queue [-j] [-n rows] [destination | sender | reason | age | oldest | next] [queue...]

  (none)       the queue in numbers, and the head of what follows
  destination  recipients by domain and age in minutes
  sender       messages by the sender's domain and age
  reason       why recipients wait, the most frequent reason first
  age          messages by queue and age
  oldest       the messages that came first, with their next attempt
  next         when each destination is tried again, and what is suspended
  -j           JSON, one object a line
  -n rows      how many rows (20); 0: all
  queue        maildrop, incoming, active, deferred, hold: only messages in these
"""
VIEWS = ("destination", "sender", "reason", "age", "oldest", "next")
_ROWS = 20
_HEAD = 5
"""Rows of each table of the overview."""


class Request(Struct):
    """What the command line asks for."""

    json: bool = False
    rows: int = _ROWS
    view: str = ""
    queues: tuple[str, ...] = ()


class Found(Struct):
    """What one pass over the queue has counted."""

    now: float
    summary: Summary
    counts: dict[str, Count]
    oldest: Oldest
    figures: Figures | None


def main(name: str, words: list[str]) -> int:
    """`words[0]` is the configuration directory. Exit code 0, or 1 with the reason on standard error."""
    voice = Voice("postwarden")
    if {"-h", "--help"} & set(words[1:]):
        print(USAGE, end="")
        return 0
    try:
        request = parse(words[1:])
        found = look(load(words[0]), request, voice)
        out = Output()
        lines = _json(found, request) if request.json else _text(found, request, _width())
        for line in lines:
            out.write(f"{line}\n")
        out.close()
    except Misuse as error:
        print(f"postwarden: fatal: {error}\n{USAGE}", end="", file=sys.stderr)
        return 1
    except (Refusal, ConfigError) as error:
        voice.print(f"fatal: {error}")
        return 1
    return 0


def parse(words: list[str]) -> Request:
    """Options may stand anywhere. Raises Misuse."""
    rest = list(words)
    names: list[str] = []
    request = Request()
    while rest:
        for letter, argument in options(rest, "jn:"):
            if letter == "j":
                request.json = True
            elif not (argument.isascii() and argument.isdecimal() and len(argument) < 8):
                raise Misuse(f"-n {argument}: a number of rows is needed")
            else:
                request.rows = int(argument)
        names += rest[:1]
        del rest[:1]
    if names and names[0] in VIEWS:
        request.view = names.pop(0)
    for name in names:
        if name not in (MAILDROP, *QUEUES):
            raise Misuse(f"{name}: no such view or queue")
    request.queues = tuple(names)
    return request


def look(settings: Settings, request: Request, voice: Voice) -> Found:
    """Raises Refusal."""
    now = time.time()
    views = [request.view] if request.view else ["destination", "reason", "next"]
    counts = {view: Count(KEYS_OF[view], now) for view in views if view in KEYS_OF}
    found = Found(now, Summary(), counts, Oldest(request.rows), _figures(settings))
    counters: list[Callable[[Message], None]] = [found.summary.add, *[count.add for count in counts.values()]]
    if request.view == "oldest":
        counters.append(found.oldest.add)
    try:
        with listed(settings, voice) as there:
            for message in there.messages:
                if not request.queues or message.queue in request.queues:
                    for counter in counters:
                        counter(message)
    except (Denied, Bad) as error:
        raise Refusal(str(error)) from None
    except (Down, sqlite3.Error) as error:
        raise Refusal(f"Queue report unavailable - {error}") from None
    return found


def _figures(settings: Settings) -> Figures | None:
    """None while the mail system is down."""
    with contextlib.suppress(Down, Denied, Bad, OSError), QueueClient(settings.text("queue_directory")) as queue:
        return queue.figures()
    return None


def _width() -> int:
    return max(shutil.get_terminal_size().columns, 60) if sys.stdout.isatty() else 80


def _text(found: Found, request: Request, width: int) -> Iterator[str]:
    if not found.summary.messages:
        yield "Mail queue is empty"
        return
    if request.view:
        yield from _table(found, request.view, request.rows, width)
        if request.view == "next":
            yield ""
            yield from _courier(found, request.rows, width)
        return
    rows = min(request.rows or _HEAD, _HEAD)
    yield from tables.overview(found.summary, found.now)
    for view in found.counts:
        yield ""
        yield from _table(found, view, rows, width)
    yield ""
    yield from _courier(found, rows, width)


def _table(found: Found, view: str, rows: int, width: int) -> Iterator[str]:
    if view == "oldest":
        yield from tables.oldest(found.oldest.messages(), found.now, width)
        return
    count = found.counts[view]
    groups = count.soonest(rows) if view == "next" else count.largest(rows)
    if view == "reason":
        yield from tables.reasons(groups, found.now, width)
    elif view == "next":
        yield from tables.next_attempts(groups, found.now, width)
    else:
        yield from tables.ages(view, count.total, groups, width)
    yield from tables.left_out(len(groups), len(count.groups))


def _courier(found: Found, rows: int, width: int) -> Iterator[str]:
    if found.figures is None:
        yield "The mail system is down: nothing is tried."
    else:
        yield from tables.destinations(found.figures, rows, width)


def _json(found: Found, request: Request) -> Iterator[str]:
    if request.view == "oldest":
        for message in found.oldest.messages():
            yield _encode(_described(message))
        return
    if not request.view:
        summary = found.summary
        yield _encode({
            "messages": summary.messages, "recipients": summary.recipients, "size": summary.size,
            "queues": {queue: summary.queues.get(queue, 0) for queue in (MAILDROP, *QUEUES)},
            "oldest_arrival": int(summary.oldest), "running": found.figures is not None,
        })  # fmt: skip
        return
    count = found.counts[request.view]
    groups = count.soonest(request.rows) if request.view == "next" else count.largest(request.rows)
    for group in groups:
        yield _encode(_grouped(request.view, group))
    if request.view == "next" and found.figures is not None:
        for destination in found.figures.destinations:
            named = msgspec.structs.asdict(destination)
            yield _encode(named | {"reason": destination.reason.text if destination.reason else ""})


def _grouped(view: str, group: Group) -> dict[str, object]:
    key = {"age": "queue", "next": "destination"}.get(view, view)
    return {
        key: group.key,
        "messages" if view in ("sender", "age") else "recipients": group.count,
        "size": group.size,
        "oldest_arrival": int(group.oldest),
        "age_minutes": dict(zip(BUCKETS, group.ages, strict=True)),
        "next_attempt": int(group.next),
        "next_reason": group.reason,
    }


def _described(message: Message) -> dict[str, object]:
    envelope, state = message.envelope, message.state
    return {
        "queue_name": message.queue, "queue_id": envelope.queue_id, "arrival_time": int(envelope.arrival),
        "message_size": envelope.size, "sender": message.sender(), "attempts": state.attempts,
        "next_attempt": int(message.due) if 0 < message.due < HOLD else 0,
        "recipients": [
            {"address": address, "delay_reason": state.reasons[index].text if index in state.reasons else ""}
            for index, address in zip(state.open, addresses(message, state.open), strict=True)
        ],
    }  # fmt: skip


def _encode(value: object) -> str:
    return msgspec.json.encode(value).decode()
