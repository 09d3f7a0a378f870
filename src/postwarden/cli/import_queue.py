"""`postwarden import-queue`: take over the unsent mail of a Postfix that does not run."""

import contextlib
import getopt
import os
import sqlite3
import sys
from collections.abc import Iterator

from msgspec import Struct

from postwarden.cli.service import Stop, mail_owner, make_directories
from postwarden.cli.tool import Refusal, Voice
from postwarden.config.errors import ConfigError
from postwarden.config.settings import Settings, load
from postwarden.mail.address import external
from postwarden.mail.envelope import Envelope
from postwarden.mail.events import Fatal, Notice, Warn, printable
from postwarden.roles import lock
from postwarden.spool.maildrop import maildrop_directory
from postwarden.spool.offline import InUse, OfflineQueue
from postwarden.spool.postfix_directory import QUEUES
from postwarden.spool.postfix_import import ASIDE, Import, Tally

USAGE = """\
usage: postwarden import-queue [-n] [--unfiltered] [DIR | default]

  DIR               a Postfix queue directory; default: queue_directory of main.cf
  -n, --dry-run     say what is there and would be done; change nothing
  --unfiltered      also take mail that waits for a content filter, and send it without
"""


class Request(Struct):
    directory: str = ""
    dry_run: bool = False
    unfiltered: bool = False


def main(name: str, words: list[str]) -> int:
    """`words[0]` is the configuration directory. Exit code 0 when all mail was taken over; 1 when some was left, which
    is said file by file, or nothing could be done."""
    voice = Voice("postwarden")
    try:
        settings = load(words[0])
        request = parse(words[1:], settings)
        voice.open(settings)
        with _stopped(settings, request, voice):
            return run(settings, request, voice)
    except getopt.GetoptError as error:
        print(f"postwarden: fatal: {error}\n{USAGE}", end="", file=sys.stderr)
    except (Refusal, Stop, ConfigError) as error:
        voice.say(Fatal(str(error)))
    return 1


def parse(words: list[str], settings: Settings) -> Request:
    """Raises GetoptError, Refusal."""
    pairs, rest = getopt.gnu_getopt(words, "n", ["dry-run", "unfiltered"])
    if len(rest) > 1:
        raise getopt.GetoptError("more than one directory")
    request = Request(settings.text("queue_directory") if not rest or rest[0] == "default" else rest[0])
    request.directory = os.path.realpath(request.directory)
    options = [option for option, _ in pairs]
    request.dry_run = "-n" in options or "--dry-run" in options
    request.unfiltered = "--unfiltered" in options
    if not any(os.path.isdir(os.path.join(request.directory, queue)) for queue in (*QUEUES, "maildrop", ASIDE)):
        raise Refusal(f"{request.directory} is no Postfix queue: there is no {', '.join(QUEUES)} in it")
    return request


@contextlib.contextmanager
def _stopped(settings: Settings, request: Request, voice: Voice) -> Iterator[None]:
    """Neither that Postfix nor we run, and neither starts meanwhile. Raises Refusal."""
    ours = os.path.realpath(settings.text("queue_directory"))
    with contextlib.ExitStack() as held:
        for queue in dict.fromkeys((request.directory, ours)):
            if request.dry_run:
                if lock.running(queue):
                    voice.say(Warn(f"a mail system runs on {queue}: what is there now may be gone when it has stopped"))
                continue
            try:
                fd = lock.hold(lock.pid_file(queue))
            except lock.AlreadyRunning as error:
                what = "postwarden or a Postfix" if queue == ours else "a Postfix"
                raise Refusal(f"{what} runs on {queue} (process {error.pid}): stop it first") from None
            except OSError as error:
                raise Refusal(f"{lock.pid_file(queue)}: {error.strerror}") from None
            held.callback(os.close, fd)
        yield


def run(settings: Settings, request: Request, voice: Voice) -> int:
    """Raises Refusal, Stop."""
    ours = settings.text("queue_directory")
    try:
        with contextlib.ExitStack() as opened:
            queue = None
            if not request.dry_run:
                make_directories(settings, mail_owner(settings))
                long = bool(settings.value("enable_long_queue_ids"))
                queue = opened.enter_context(OfflineQueue(ours, on_event=voice.say, long_queue_ids=long))
            importing = Import(
                request.directory,
                queue,
                maildrop_directory(ours),
                unfiltered=request.unfiltered,
                stored=(lambda queue, envelope: None) if request.dry_run else _Told(voice),
            )
            try:
                importing.run()
            except (OSError, sqlite3.Error) as error:
                _say(importing.tally, request)
                raise Refusal(f"interrupted: {error}; run it again: what was taken over stays so") from error
    except (InUse, OSError, sqlite3.Error) as error:
        raise Refusal(str(error)) from error
    tally = importing.tally
    _say(tally, request)
    if not request.dry_run:
        voice.emit(
            "import-queue",
            Notice(f"{_many(tally.total, 'message')} taken over from {request.directory}, {len(tally.left)} left"),
        )
    return 1 if tally.left else 0


class _Told:
    """Says each message in the log, and their number on a terminal."""

    def __init__(self, voice: Voice) -> None:
        self._voice = voice
        self._count = 0
        self._terminal = sys.stderr.isatty()

    def __call__(self, queue: str, envelope: Envelope) -> None:
        sender = printable(external(envelope.sender))
        text = f"{envelope.queue_id}: from=<{sender}>, size={envelope.size}, nrcpt={len(envelope.recipients)}"
        self._voice.emit("import-queue", Notice(f"{text} (taken over from {queue})"))
        self._count += 1
        if self._terminal and not self._count % 100:
            print(f"\r{self._count} messages\r", end="", file=sys.stderr, flush=True)


def _say(tally: Tally, request: Request) -> None:
    would = request.dry_run
    for queue, count in tally.stored.items():
        print(f"{queue:<10}{count:>9}")
    done = "would be taken over" if would else "taken over"
    messages, recipients = _many(tally.total, "message"), _many(tally.recipients, "recipient")
    print(f"{messages} with {recipients} {done} from {request.directory}")
    if tally.resumed:
        print(f"{_many(tally.resumed, 'message')} released that an interrupted run had stored")
    if tally.finished:
        print(f"{_many(tally.finished, 'file')} had no recipient left, or were address probes")
    if tally.unfinished:
        print(f"left, since nobody was told that they were accepted: {_many(tally.unfinished, 'unfinished file')}")
    if not would and (tally.total or tally.finished or tally.resumed):
        print(f"Postfix's files are kept in {os.path.join(request.directory, ASIDE)}: remove them when all is well")
    sys.stdout.flush()
    for path, reason in tally.left:
        print(f"left: {path}: {reason}", file=sys.stderr)
    if tally.left:
        print(f"not taken over: {_many(len(tally.left), 'file')}", file=sys.stderr)


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
