"""postsuper(1): delete, hold, release, requeue and expire messages. Its options, texts and exit codes.

Its -p, -s and -S put directories of queue files in order. Our queue has none: they are accepted and do nothing.
"""

import os
import re
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby

from msgspec import Struct, field

from postwarden.cli.acts import Acts
from postwarden.cli.dropped import QUEUE, WithMaildrop
from postwarden.cli.reach import reach
from postwarden.cli.tool import Misuse, Refusal, Voice, configuration, may_open_directly, options
from postwarden.config.errors import ConfigError
from postwarden.config.settings import Settings
from postwarden.ipc.queue_client import Bad, Denied, Down, QueueClient
from postwarden.ipc.queue_records import DELETE, EXPIRE, HOLD, QUEUES, RELEASE, REQUEUE
from postwarden.mail.events import Fatal, Notice, Warn
from postwarden.spool.offline import InUse, OfflineQueue

USAGE = (
    "usage: postsuper [-c config_dir] [-d queue_id (delete)] [-e queue_id (expire)]"
    " [-f queue_id (expire and/or un-hold)] [-h queue_id (hold)] [-H queue_id (un-hold)]"
    " [-p (purge temporary files)] [-r queue_id (requeue)] [-s (structure fix)] [-S (redundant structure fix)]"
    "[-v (verbose)] [queue...]"
)
DIRECTORIES = (QUEUE, *QUEUES, "defer", "bounce", "trace", "flush")
_OPERATIONS = {"d": (DELETE,), "h": (HOLD,), "H": (RELEASE,), "r": (REQUEUE,), "e": (EXPIRE,), "f": (EXPIRE, RELEASE)}
_TEXTS = {
    REQUEUE: ("requeued", "Requeued"),
    DELETE: ("removed", "Deleted"),
    EXPIRE: ("expired", "Force-expired"),
    HOLD: ("placed on hold", "Placed on hold"),
    RELEASE: ("released from hold", "Released from hold"),
}
"""What is said of one message, and of their number: in the order in which the numbers are told."""
_QUEUE_ID = re.compile(r"[A-Za-z0-9_]{1,255}")
_BLOCK = 1 << 16


class Request(Struct):
    """What the command line asks for. `acts`: (option, queue id, `ALL` or `-`), in their order."""

    directory: str = ""
    acts: list[tuple[str, str]] = field(default_factory=list)
    queues: list[str] = field(default_factory=list)


def main(name: str, words: list[str]) -> int:
    """Exit code 0, also when no message was found; 1 with the reason on standard error and in the log."""
    voice = Voice("postsuper")
    try:
        run(words, voice)
    except Misuse as error:
        voice.print(str(error))
        voice.print(f"fatal: {USAGE}")
        return 1
    except (Refusal, ConfigError) as error:
        voice.say(Fatal(str(error)))
        return 1
    return 0


def run(words: list[str], voice: Voice) -> None:
    """Raises Misuse, Refusal, ConfigError."""
    reserved = "use of this command is reserved for the superuser"
    try:
        request = parse(words)
        settings = configuration(request.directory)
    except (Misuse, Refusal):
        if os.geteuid() != 0:
            raise Refusal(reserved) from None
        raise
    if not may_open_directly(settings):
        raise Refusal(reserved)
    voice.open(settings)
    for directory in request.queues:
        if directory not in DIRECTORIES:
            raise Refusal(f"invalid directory name: {directory}")
    if not os.path.isdir(settings.text("queue_directory")):
        raise Refusal(f"chdir {settings.text('queue_directory')}: No such file or directory")
    if request.acts:
        _work(settings, request, voice)


def parse(words: list[str]) -> Request:
    """Raises Misuse."""
    words = list(words)
    request = Request()
    for letter, argument in options(words, "c:d:e:f:h:H:pr:sSv"):
        if letter == "c":
            request.directory = argument
        elif letter in _OPERATIONS:
            request.acts.append((letter, argument))
    request.queues = words
    return request


def _work(settings: Settings, request: Request, voice: Voice) -> None:
    tally = {operation: 0 for letter, _ in request.acts for operation in _OPERATIONS[letter]}
    try:
        queue = reach(settings, voice, lambda error: None)
        if queue is not None:
            with queue:
                acts = queue if isinstance(queue, QueueClient) else _offline(queue, settings, voice)
                perform(WithMaildrop(acts, settings), request, voice, tally)
    except (Denied, Bad) as error:
        raise Refusal(str(error)) from None
    except (InUse, Down, OSError, sqlite3.Error) as error:
        raise Refusal(f"queue: {error}") from None
    finally:
        for operation, (_, text) in _TEXTS.items():
            if operation in tally:
                count = tally[operation]
                voice.say(Notice(f"{text}: {count} message{'' if count == 1 else 's'}"))


def _offline(queue: OfflineQueue, settings: Settings, voice: Voice) -> Acts:
    # Content and its tables take longer to import than all of what a running gateway is asked with.
    from postwarden.cli.offline_acts import OfflineActs

    return OfflineActs(queue, settings, voice)


def perform(acts: Acts, request: Request, voice: Voice, tally: dict[str, int]) -> None:
    """Do it in the order of the command line; `tally` counts."""
    queues = [name for name in request.queues if name in (QUEUE, *QUEUES)]
    if request.queues and not queues:
        return
    for letter, group in groupby(request.acts, lambda act: act[0]):
        pending: list[str] = []
        for _, argument in group:
            if argument not in ("ALL", "-"):
                pending.append(argument)
                continue
            _named(acts, letter, pending, queues, voice, tally)
            pending = []
            if argument == "ALL":
                for operation in _OPERATIONS[letter]:
                    for _ in acts.act_on_all(operation, queues):
                        tally[operation] += 1
            else:
                for block in lines(lambda size: os.read(0, size)):
                    _named(acts, letter, block, queues, voice, tally)
        _named(acts, letter, pending, queues, voice, tally)


def _named(
    acts: Acts, letter: str, names: list[str], queues: Sequence[str], voice: Voice, tally: dict[str, int]
) -> None:
    for valid, group in groupby(names, lambda name: _QUEUE_ID.fullmatch(name) is not None):
        if not valid:
            for name in group:
                voice.say(Warn(f"invalid mail queue id: {name}"))
            continue
        queue_ids = list(dict.fromkeys(group))
        done = {operation: set(acts.act(operation, queue_ids, queues)) for operation in _OPERATIONS[letter]}
        for queue_id in queue_ids:
            for operation, these in done.items():
                if queue_id in these:
                    _done(operation, queue_id, voice, tally)


def _done(operation: str, queue_id: str, voice: Voice, tally: dict[str, int]) -> None:
    tally[operation] += 1
    voice.say(Notice(f"{queue_id}: {_TEXTS[operation][0]}"))


def lines(read: Callable[[int], bytes]) -> Iterator[list[str]]:
    """The lines of a stream as they come, a block at a time: whoever pipes a million ids in wants to see the first
    ones gone, and no line is longer than a block."""
    rest = b""
    while data := read(_BLOCK):
        *whole, rest = (rest + data).split(b"\n")
        if whole:
            yield [line.decode("utf-8", "surrogateescape") for line in whole]
        if len(rest) > _BLOCK:
            rest = rest[:_BLOCK]
    if rest:
        yield [rest.decode("utf-8", "surrogateescape")]
