"""What the queue's commands have alike: options as getopt(3) reads them, their configuration, and how they complain."""

import contextlib
import os
import sys
from collections.abc import Iterator

from postwarden.config.settings import Settings, load
from postwarden.ipc.submit_client import LogSink
from postwarden.mail.events import Event
from postwarden.net.log import FileSink, MailLog, Sink, SyslogSink
from postwarden.spool.layout import spool_directory

EX_UNAVAILABLE = 69
"""sysexits(3)."""


class Misuse(Exception):
    """An option that does not exist or lacks its argument: getopt(3)'s sentence."""


class Refusal(Exception):
    """The command fails; the text is said as fatal."""


def options(words: list[str], letters: str) -> Iterator[tuple[str, str]]:
    """(letter, argument) of each option, taken off `words`; it ends at the first word that is none. Raises Misuse."""
    while words and words[0].startswith("-") and words[0] != "-":
        word = words.pop(0)[1:]
        if word == "-":
            return
        while word:
            letter, word = word[0], word[1:]
            at = letters.find(letter)
            if at < 0 or letter == ":":
                raise Misuse(f"invalid option -- '{letter}'")
            if letters[at + 1 : at + 2] != ":":
                yield letter, ""
                continue
            if not word and not words:
                raise Misuse(f"option requires an argument -- '{letter}'")
            yield letter, word or words.pop(0)
            break


class Voice:
    """Says things as Postfix's commands do: on standard error as `name: text`, and in the log once `open` told where
    it is."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._log: MailLog | None = None

    def open(self, settings: Settings) -> None:
        self._log = MailLog(log_sink(settings), settings.text("syslog_name"))

    def say(self, event: Event) -> None:
        level = "" if event.level == "info" else f"{event.level}: "
        self.print(f"{level}{event}")
        if self._log is not None:
            self._log.emit(self._name, event)

    def emit(self, program: str, event: Event, name: str = "") -> None:
        """In the log alone, as another program (`net.log.Log`)."""
        if self._log is not None:
            self._log.emit(program, event, name)

    def print(self, text: str) -> None:
        """On standard error alone. If nobody reads it, what is done goes on."""
        with contextlib.suppress(OSError):
            sys.stderr.buffer.write(f"{self._name}: {text}\n".encode(errors="surrogateescape"))
            sys.stderr.flush()


def log_sink(settings: Settings) -> Sink:
    """Where lines for the mail log go. The mail system writes them for who may not, and where the log is its own
    standard output."""
    from postwarden.roles.handover import LogTarget

    relay = LogSink(settings.text("queue_directory"))
    try:
        target = LogTarget(settings)
    except OSError:
        return relay
    if target.path in ("/dev/stdout", "/dev/stderr"):
        target.close()
        return relay
    if target.to == "fd":
        return FileSink(target.fd, settings.text("myhostname"))
    return SyslogSink(target.to, settings.text("syslog_facility"))


def configuration(directory: str) -> Settings:
    """What main.cf says in `directory`; empty: MAIL_CONFIG, or /etc/postfix. Raises ConfigError, and Refusal where
    there is no main.cf in a directory that somebody named: the queue of the defaults is not the one that he meant."""
    named = directory or os.environ.get("MAIL_CONFIG", "")
    if named:
        try:
            os.stat(os.path.join(named, "main.cf"))
        except OSError as error:
            raise Refusal(f"open {named}/main.cf: {error.strerror}") from error
    return load(named or "/etc/postfix")


def may_open_directly(settings: Settings) -> bool:
    """Whether this user may read the queue's files: root, and whom they belong to."""
    if os.geteuid() == 0:
        return True
    try:
        return os.stat(spool_directory(settings.text("queue_directory"))).st_uid == os.geteuid()
    except OSError:
        return False
