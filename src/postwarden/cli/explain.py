"""explain: where mail to an address goes, and why a session is answered as it is."""

import asyncio
import json
import os
import re
import signal
import socket
import sys
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from postwarden.cli.aliases_tree import writes_lines
from postwarden.cli.explaining import address, recorded
from postwarden.cli.explaining.paint import Paint
from postwarden.cli.explaining.recorded import RecordText
from postwarden.cli.explaining.session import Client, Played, play
from postwarden.cli.explaining.session_text import SessionText, refused
from postwarden.cli.explaining.store import Unavailable, open_store, since
from postwarden.config.entries import Entry
from postwarden.config.errors import ConfigError
from postwarden.config.settings import Settings, load
from postwarden.mail.decision import BUILT_IN
from postwarden.roles.listeners import listeners
from postwarden.trace.records import Judged
from postwarden.trace.reference import spelled
from postwarden.trace.search import MOST, Wanted, told

USAGE = """\
usage: postwarden [-c DIR] explain [-j] [--offline] ADDRESS [--from SENDER]
       postwarden [-c DIR] explain [-j] [--offline] --client IP --from SENDER --to RECIPIENT ...
           [--name HOST] [--helo NAME] [--login USER] [--tls] [--port PORT] [--message FILE] [--ask-policy]
       postwarden [-c DIR] explain [-j] QUEUE-ID | '<MESSAGE-ID>' | REFERENCE of a refusal
       postwarden [-c DIR] explain [-j] --refused [--client IP | NAME] [--from SENDER] [--to RECIPIENT]
           [--since TIME]      TIME: minutes, hours or days ago, as 30m, 2h, 1d
exit code 0: mail goes, or what was asked for is shown; 1: it does not go, or nothing was found; 2: a bad command
line, or it can't be found out
"""
_QUEUE_ID = re.compile(r"[0-9A-F]{6,20}|[0-9B-DF-HJ-NP-TV-Zb-df-hj-np-tv-z]{10,20}")
"""As enable_long_queue_ids makes them, or not."""
_MESSAGE_ID = re.compile(r"(?=(?:[^@]*[0-9]){6})[^@ ]{12,}@[^@ ]+\Z")
"""What looks more like a Message-ID without its brackets than like an address: then it is worth a look."""
_MISTYPED = re.compile(r"(?=[^a-z]*\Z|.*[0-9])[0-9A-Za-z]{3}(?:-[0-9A-Za-z]{3}){2}")
"""Of a reference's form."""
_NOBODY_READS = 128 + signal.SIGPIPE
"""As the shell has it of programs that end by that signal: neither of the answers."""
_VALUES = ("client", "from", "to", "name", "helo", "login", "port", "message", "since")
_FLAGS = ("tls", "offline", "ask-policy", "j", "refused")


class Words(Struct):
    """The command line."""

    values: dict[str, list[str]]
    flags: set[str]
    rest: list[str]

    def one(self, name: str, default: str = "") -> str:
        return self.values.get(name, [default])[-1]


class Misuse(Exception):
    """The text says what is wrong with the command line."""

    def __init__(self, text: str, *, usage: bool = True) -> None:
        """`usage`: it does not say what would be right."""
        super().__init__(text)
        self.usage = usage


def main(name: str, words: list[str]) -> int:
    """`words[0]` is the configuration directory. The exit codes are in USAGE."""
    if words[1:] in (["--help"], ["-h"]):
        print(USAGE, end="")
        return 0
    try:
        code = _explained(words[0], parse(words[1:]))
        sys.stdout.flush()
    except Misuse as error:
        print(f"postwarden: explain: {error}\n{USAGE if error.usage else ''}".rstrip(), file=sys.stderr)
        return 2
    except BrokenPipeError:
        _write_no_more()
        return _NOBODY_READS
    except (Unavailable, ConfigError, OSError) as error:
        _write_no_more()
        print(f"postwarden: fatal: explain: {error}", file=sys.stderr)
        return 2
    return code


def _explained(directory: str, given: Words) -> int:
    settings = load(directory)
    if "refused" in given.flags:
        return _refusals(settings, given)
    if "client" in given.values:
        return _session(settings, given)
    if len(given.rest) != 1:
        raise Misuse("what is to be explained? An address, a queue id, or a client with --client")
    return _word(settings, given, given.rest[0])


def _write_no_more() -> None:
    """What the buffer still has would fail again at the end."""
    try:
        sys.stdout.flush()
    except OSError:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)


def parse(words: list[str]) -> Words:
    """Raises Misuse."""
    given = Words({}, set(), [])
    rest = iter(words)
    for word in rest:
        if not word.startswith("-") or word == "-":
            given.rest.append(word)
            continue
        name, equals, value = word.lstrip("-").partition("=")
        if name in _FLAGS and not equals:
            given.flags.add(name)
        elif name in _VALUES:
            if not equals:
                value = next(rest, "\0")
            if value == "\0":
                raise Misuse(f"{word} needs a value")
            given.values.setdefault(name, []).append(value)
        else:
            raise Misuse(f"unknown option {word}")
    for text in (*given.rest, *(one for name in given.values if name != "message" for one in given.values[name])):
        if not _is_utf8(text):
            raise Misuse(f"{text!a} is no UTF-8")
    return given


def _is_utf8(text: str) -> bool:
    """Other bytes of the command line are surrogates here."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _word(settings: Settings, given: Words, word: str) -> int:
    """A message, a refusal, or else an address. What can only be a name of one of the first two is no address, too:
    what becomes of such a user's mail would be no answer."""
    bracketed = word[:1] == "<" and word[-1:] == ">" and word != "<>"
    reference = spelled(word) if "-" in word else ""
    named = bool(_QUEUE_ID.fullmatch(word)) or bracketed or bool(reference)
    if named or spelled(word) or _MESSAGE_ID.match(word):
        try:
            code = _history(settings, given, word if named or "@" not in word else f"<{word}>")
        except Unavailable:
            if named:
                raise
            code = -1
        if code >= 0:
            return code
    if not named and not _MISTYPED.fullmatch(word):
        given.rest = ["" if word == "<>" else word]
        return _address(settings, given)
    recording = _recording(settings)
    if bracketed:
        said = f"no message {word} is recorded{recording}; where mail to an address goes: explain {word[1:-1]}"
    elif reference:
        said = f"no refusal with the reference {reference} is recorded{recording}"
    elif _MISTYPED.fullmatch(word):
        said = f"{word} is no reference: none has a 0, 1, O, I or L; and an address wants its domain: {word}@…"
    else:
        said = f"no message {word} is recorded{recording}; of a probe of address verification only the mail log tells,"
        said += f" and an address wants its domain: {word}@…"
    print(said, file=sys.stderr)
    return 1


def _history(settings: Settings, given: Words, name: str) -> int:
    """-1: neither a message nor a refusal of that name was recorded."""
    histories, refusals = told(name, open_store(settings).about(name))
    paint = Paint.of_stdout()
    text = RecordText(settings, paint, partial(_tree, settings))
    if len(histories) >= MOST and "j" not in given.flags:
        paint.show(f"the newest {MOST} messages with that id")
    for one in histories:
        if "j" in given.flags:
            print(json.dumps(text.values(one)))
        else:
            for line in text.history(one):
                paint.show(line)
    _show_refusals(refusals, given, text, paint)
    return 0 if histories or refusals else -1


def _show_refusals(refusals: Iterable[Judged], given: Words, text: RecordText, paint: Paint) -> int:
    """How many they are."""
    count = 0
    if "j" in given.flags:
        values = recorded.in_order(refusals, lambda one: json.dumps(text.refusal_values(one)))
        for count, line in enumerate(values, 1):  # noqa: B007
            print(line)
        return count
    for count, one in enumerate(refusals, 1):  # noqa: B007
        for line in text.refusal(one):
            paint.show(line)
    return count


def _recording(settings: Settings) -> str:
    if settings.text("postwarden_trace") == "no":
        return f" (postwarden_trace = no, {settings.origin('postwarden_trace')})"
    return f" (kept for {settings.text('postwarden_trace_lifetime')} at most: postwarden_trace_lifetime)"


def _tree(settings: Settings, of: str) -> Iterator[str]:
    return address.drawn_tree(settings, of, plain=not writes_lines(sys.stdout.encoding))


def _refusals(settings: Settings, given: Words) -> int:
    """Exit code 1 where none fits, as grep has it. Programs get all of them, people the newest."""
    try:
        earliest = since(given.one("since"))
    except ValueError as error:
        raise Misuse(str(error), usage=False) from None
    _look_for_one(given)
    wanted = Wanted(given.one("client"), given.one("from"), given.one("to"), earliest)
    found: Iterable[Judged] = open_store(settings).refused(wanted)
    left_out = 0
    if "j" not in given.flags:
        found, left_out = recorded.newest(found)
    paint = Paint.of_stdout()
    if left_out:
        paint.show(f"the newest of {left_out + recorded.MOST}; -j has all")
    if _show_refusals(found, given, RecordText(settings, paint, partial(_tree, settings)), paint):
        return 0
    print(f"no refusal that fits is recorded{_recording(settings)}", file=sys.stderr)
    return 1


def _look_for_one(given: Words) -> None:
    """What no refusal can fit is no question. Raises Misuse."""
    if "/" in given.one("client"):
        raise Misuse(f"--client {given.one('client')}: one address or name is looked for, no network", usage=False)
    for name in ("from", "to"):
        address = given.one(name).strip("<>")
        if "." in address and "@" not in address:
            raise Misuse(f"--{name} {address}: a whole address is looked for, no domain", usage=False)


def _address(settings: Settings, given: Words) -> int:
    sender = given.one("from").strip("<>") if "from" in given.values else None
    answer = address.explain_address(settings, given.rest[0], sender, offline="offline" in given.flags)
    if "j" in given.flags:
        print(json.dumps(address.values(answer)))
    else:
        paint = Paint.of_stdout()
        for line in address.lines(answer, paint, plain=not writes_lines(sys.stdout.encoding)):
            paint.show(line)
    return int(not answer.good)


def _session(settings: Settings, given: Words) -> int:
    client = _client(given)
    service, local = _listener(settings, given.one("port"))
    offline, ask_policy = "offline" in given.flags, "ask-policy" in given.flags
    if offline and ask_policy:
        raise Misuse("--offline asks nobody, so that --ask-policy can't be")

    def played_by(settings: Settings) -> Played:
        return asyncio.run(play(settings, service, local, client, offline=offline, ask_policy=ask_policy))

    try:
        played = played_by(settings)
    except ConfigError as error:
        changed = _with_level(settings)
        if changed is None:
            raise
        print(f"no mail comes in at all: {error}")
        print("  to change it: add compatibility_level = 3.6 to main.cf, which restricts relaying; with it:")
        settings = changed
        played = played_by(settings)
    paint = Paint.of_stdout()
    text = SessionText(settings, client, service, paint)
    if "j" in given.flags:
        print(json.dumps(text.values(played)))
    else:
        for line in text.lines(played):
            paint.show(line)
    return int(bool(refused(played)))


def _with_level(settings: Settings) -> Settings | None:
    """With the defaults of today, where main.cf asks for those of old by saying nothing."""
    if "compatibility_level" in settings.entries:
        return None
    level = Entry("3.6", BUILT_IN)
    return replace(settings, entries={**settings.entries, "compatibility_level": level})


def _client(given: Words) -> Client:
    ip = given.one("client").strip("[]")
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, ip)
        except OSError:
            continue
        break
    else:
        raise Misuse(f"{ip} is no IP address; the client's name is told with --name")
    if "to" not in given.values or "from" not in given.values:
        raise Misuse("--from and --to are needed; --from '' is the null sender")
    message = given.one("message")
    return Client(
        ip,
        given.one("from").strip("<>"),
        tuple(one.strip("<>") for one in given.values["to"]),
        given.one("name"),
        given.one("helo"),
        given.one("login"),
        tls="tls" in given.flags,
        message=_message(message) if message else None,
    )


def _message(file: str) -> bytes:
    data = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    data = data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    return data if data.endswith(b"\r\n") or not data else data + b"\r\n"


def _listener(settings: Settings, port: str) -> tuple[str, tuple[str, int]]:
    """The service that listens there, and where; without a port the first that listens on 25, or at all.
    Raises Misuse, ConfigError."""
    found = listeners(settings)
    if port and not port.isdecimal():
        try:
            port = str(socket.getservbyname(port, "tcp"))
        except OSError:
            raise Misuse(f"unknown port {port}") from None
    fitting = [one for one in found if one.port == int(port or 25)]
    if not fitting and not port:
        fitting = found
    if not fitting:
        known = ", ".join(dict.fromkeys(str(one.port) for one in found)) or "no port"
        raise Misuse(f"no smtpd service of master.cf listens on port {port}; some listen on {known}")
    return fitting[0].service, (fitting[0].address, fitting[0].port)
