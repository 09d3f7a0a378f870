"""postqueue(1): list the queue, and have deferred mail tried now. Its options, texts and exit codes."""

import contextlib
import os
import re
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import IO

from msgspec import Struct

from postwarden.cli import dropped, listing
from postwarden.cli.reach import connect, reach
from postwarden.cli.tool import EX_UNAVAILABLE, Misuse, Refusal, Voice, configuration, may_open_directly, options
from postwarden.config.errors import ConfigError
from postwarden.config.settings import Settings
from postwarden.ipc.queue_client import Bad, Denied, Down, Unserved
from postwarden.mail.events import Fatal, Warn
from postwarden.mail.hostname import valid_address, valid_hostname
from postwarden.spool.offline import InUse, OfflineQueue

USAGE = "usage: postqueue -f | postqueue -i queueid | postqueue -j | postqueue -p | postqueue -s site"
_QUEUE_ID = re.compile(r"[A-Za-z0-9_]{1,255}")
_BLOCK = 1 << 16
_KEPT = 8 << 20


class Request(Struct):
    """What the command line asks for. `mode` is the letter of the one option that says what to do."""

    directory: str = ""
    mode: str = ""
    argument: str = ""


def main(name: str, words: list[str]) -> int:
    """Exit code 0, or 69 with the reason on standard error and in the log."""
    voice = Voice("postqueue")
    try:
        request = parse(words)
        settings = configuration(request.directory)
        voice.open(settings)
        if not request.mode:
            raise Refusal(USAGE)
        _ACTIONS[request.mode](settings, request, voice)
    except Misuse as error:
        if str(error):
            voice.print(str(error))
        voice.print(f"fatal: {USAGE}")
        return EX_UNAVAILABLE
    except (Refusal, ConfigError) as error:
        voice.say(Fatal(str(error)))
        return EX_UNAVAILABLE
    return 0


def parse(words: list[str]) -> Request:
    """Raises Misuse; without a text for options that exclude each other, and for words that mean nothing."""
    words = list(words)
    request = Request()
    for letter, argument in options(words, "c:fi:jps:v"):
        if letter == "c":
            request.directory = argument
        elif letter != "v":
            if request.mode:
                raise Misuse
            request.mode, request.argument = letter, argument
    if words:
        raise Misuse
    return request


def is_queue_id(text: str) -> bool:
    return _QUEUE_ID.fullmatch(text) is not None


def flush(settings: Settings, request: Request, voice: Voice) -> None:
    """Have deferred mail tried now: all, of one site, or one message."""
    if request.mode == "s" and not _is_site(request.argument):
        cut = request.argument[:100] + ("..." if len(request.argument) > 100 else "")
        raise Refusal(f'Cannot flush mail queue - invalid destination: "{cut}"')
    if request.mode == "i" and not is_queue_id(request.argument):
        cut = request.argument[:100] + ("..." if len(request.argument) > 100 else "")
        raise Refusal(f'Cannot flush queue ID - invalid name: "{cut}"')
    try:
        with connect(settings) as queue:
            if request.mode == "s":
                queue.flush_site(request.argument)
            elif request.mode == "i":
                queue.flush_message(request.argument)
            else:
                queue.flush()
    except Unserved:
        raise Refusal(f'Flush service is not configured for destination "{request.argument}"') from None
    except Denied as error:
        raise Refusal(str(error)) from None
    except Bad as error:
        raise Refusal(f"Invalid request: {error}") from None
    except (Down, PermissionError):
        raise Refusal("Cannot flush mail queue - mail system is down") from None


def show(settings: Settings, request: Request, voice: Voice) -> None:
    """Print the queue, page by page."""
    text = _json if request.mode == "j" else _traditional
    out = Output()
    try:
        with listed(settings, voice) as found:
            if found.direct:
                out.keep()
            for block in text(settings, found.messages):
                out.write(block)
    except Denied as error:
        raise Refusal(str(error)) from None
    except Bad as error:
        raise Refusal(f"Queue report unavailable - {error}") from None
    except (Down, sqlite3.Error) as error:
        raise Refusal(f"Queue report unavailable - {error}") from None
    finally:
        out.close()


class Listing(Struct):
    messages: Iterator[listing.Message]
    direct: bool
    """From the files: as long as it is open no courier can start."""


@contextlib.contextmanager
def listed(settings: Settings, voice: Voice) -> Iterator[Listing]:
    """All messages; damage is said. Raises Refusal where they can't be had; Denied, Bad, Down while they are read."""

    def down(error: Exception) -> None:
        if not may_open_directly(settings):
            raise Refusal(f"Queue report unavailable - mail system is down ({reason(error)})")
        voice.say(Warn(f"Mail system is down -- accessing queue directly ({reason(error)})"))

    try:
        queue = reach(settings, voice, down)
    except (InUse, OSError, sqlite3.Error) as error:
        raise Refusal(f"Queue report unavailable - {error}") from None
    if queue is None:
        yield Listing(iter(()), False)
        return
    with queue:
        found = chain(dropped.waiting(settings), listing.messages(queue.listing()))
        yield Listing(_readable(found, voice), isinstance(queue, OfflineQueue))


def _readable(found: Iterable[listing.Message | listing.Unreadable], voice: Voice) -> Iterator[listing.Message]:
    for message in found:
        if isinstance(message, listing.Message):
            yield message
        else:
            voice.say(Warn(f"{message.queue_id}: {message.reason}"))


def reason(error: Exception) -> str:
    """Why the control socket can't be reached, in Postfix's words."""
    cause = error.__cause__ if isinstance(error.__cause__, OSError) else error
    said = cause.strerror if isinstance(cause, OSError) else None
    return f"Connect to the Postfix showq service: {said or error}"


def _traditional(settings: Settings, found: Iterator[listing.Message]) -> Iterator[str]:
    columns = listing.LONG if settings.value("enable_long_queue_ids") else listing.SHORT
    count = size = 0
    for message in found:
        if not count:
            yield columns.header
        count += 1
        size += message.envelope.size
        yield listing.traditional(message, columns)
    yield listing.footer(count, size)


def _json(settings: Settings, found: Iterator[listing.Message]) -> Iterator[str]:
    return map(listing.json, found)


class Output:
    """Standard output in blocks: a listing may be of a million messages. Raises Refusal when it can't be written."""

    def __init__(self) -> None:
        self._blocks: list[str] = []
        self._size = 0
        self._kept: IO[bytes] | None = None

    def keep(self) -> None:
        """Write nothing before `close`: a pager that waits for its user must not hold up whoever is waited for."""
        self._kept = tempfile.SpooledTemporaryFile(_KEPT)  # noqa: SIM115

    def write(self, text: str) -> None:
        self._blocks.append(text)
        self._size += len(text)
        if self._size >= _BLOCK:
            self._flush()

    def close(self) -> None:
        """Write what is left."""
        self._flush()
        if self._kept is not None:
            kept, self._kept = self._kept, None
            with kept:
                kept.seek(0)
                while data := kept.read(_BLOCK):
                    self._put(data)

    def _flush(self) -> None:
        data = "".join(self._blocks).encode(errors="surrogateescape")
        self._blocks, self._size = [], 0
        if self._kept is not None:
            self._kept.write(data)
        else:
            self._put(data)

    def _put(self, data: bytes) -> None:
        try:
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            raise Refusal(f"output write error: {error.strerror}") from None


def _is_site(text: str) -> bool:
    if text.startswith("[") and text.endswith("]"):
        literal = text[1:-1]
        tagged = literal[5:] if literal[:5].lower() == "ipv6:" else literal
        return valid_address(tagged) and (":" in tagged) == (tagged != literal)
    return text.isascii() and valid_hostname(text)


_ACTIONS: dict[str, Callable[[Settings, Request, Voice], None]] = {
    "p": show, "j": show, "f": flush, "s": flush, "i": flush,
}  # fmt: skip
