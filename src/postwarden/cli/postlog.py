"""postlog(1): lines into the mail log, for scripts."""

import os
import sys
import time
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from postwarden.cli.tool import Misuse, Refusal, configuration, log_sink, options
from postwarden.config.errors import ConfigError
from postwarden.config.settings import Settings
from postwarden.mail.events import Event, Failure, Fatal, Notice, Warn, printable

_USAGE = "usage: postlog [-c config_dir] [-i] [-p priority] [-t tag] [-v] [text]"
_PAUSE = 1.0
"""Seconds after a fatal line, so that a script in a loop can't fill the disk."""


class Panic(Notice, frozen=True):
    level = "panic"


_EVENTS: Mapping[str, type[Notice]] = MappingProxyType(
    {"info": Notice, "warn": Warn, "warning": Warn, "error": Failure, "fatal": Fatal, "panic": Panic}
)


def main(name: str, words: list[str]) -> int:
    """Exit code 0, or 1 where nothing could be logged."""
    directory, tag, priority = "", "", "info"
    words = list(words)
    try:
        for letter, argument in options(words, "c:ip:t:v"):
            if letter == "c":
                directory = argument
            elif letter == "p":
                priority = argument
            elif letter == "t":
                tag = argument
        settings = configuration(directory)
    except Misuse as error:
        print(f"{name}: {error}", file=sys.stderr)
        return _complain(_USAGE)
    except (Refusal, ConfigError) as error:
        return _complain(str(error))
    kind = _EVENTS.get(priority.lower())
    if kind is None:
        return _complain(f'bad severity: "{priority}"')
    lines = [" ".join(words)] if words else map(_text, sys.stdin.buffer)
    try:
        write(settings, printable(tag) or f"{settings.text('syslog_name')}/postlog", map(kind, lines))
    except OSError as error:
        return _complain(str(error))
    return 0


def write(settings: Settings, tag: str, events: Iterable[Event]) -> None:
    """Each event, to the log, and to standard error if it is a terminal. Raises OSError."""
    sink = log_sink(settings)
    terminal = sys.stderr.isatty()
    for event in events:
        text = str(event) if event.level == "info" else f"{event.level}: {event}"
        if terminal:
            print(f"{tag}: {text}", file=sys.stderr)
        if not sink.write([(event.level, f"{tag}[{os.getpid()}]: {text}")]):
            raise OSError(f"the mail log {settings.text('maillog_file')} can't be written")
        if event.level in ("fatal", "panic"):
            time.sleep(_PAUSE)
    sink.close()


def _text(line: bytes) -> str:
    return line.rstrip(b"\n").decode("utf-8", "surrogateescape")


def _complain(text: str) -> int:
    print(f"postfix/postlog: fatal: {text}", file=sys.stderr)
    return 1
