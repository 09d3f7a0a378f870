"""The command line of sendmail(1), as Postfix reads it: what means something, what is ignored, what is refused."""

import os
from collections.abc import Callable, Mapping
from types import MappingProxyType

from msgspec import Struct

from postwarden.cli.tool import Refusal, options
from postwarden.mail.envelope import Notify

_LETTERS = "A:B:C:F:GIL:N:O:R:UV:X:b:ce:f:h:imno:p:r:q:tvx"
_ENVID = 100
_NOTIFY: Mapping[str, Notify] = MappingProxyType(
    {"never": Notify.NEVER, "success": Notify.SUCCESS, "failure": Notify.FAILURE, "delay": Notify.DELAY}
)
_MODES: Mapping[str, str] = MappingProxyType(
    {"d": "daemon", "l": "daemon", "h": "nothing", "H": "nothing", "i": "aliases", "m": "enqueue", "p": "mailq",
     "s": "smtp"}
)  # fmt: skip


class Options(Struct):
    """`mode` is enqueue, mailq, flush, daemon, aliases, smtp or nothing."""

    mode: str = "enqueue"
    directory: str = ""
    sender: str | None = None
    full_name: str | None = None
    remote: bool = False
    eight_bit: bool = False
    notify: int = 0
    ret: str = ""
    envid: str = ""
    verp: str | None = None
    """Two delimiters; empty: the default ones; None: no VERP."""
    site: str = ""
    queue_id: str = ""
    interval: bool = False
    extract: bool = False
    whole: bool = False
    """A line with a dot alone does not end the message."""
    verify: bool = False
    verbose: int = 0
    alias_file: str = ""
    recipients: list[str] = []


def parse(words: list[str], mode: str, warn: Callable[[str], None]) -> Options:
    """`mode` is the one to begin with. Raises Misuse, and Refusal with the reason."""
    words = list(words)
    found = Options(mode)
    _look_ahead(words, found, warn)
    for letter, argument in options(words, _LETTERS):
        _take(found, letter, argument, warn)
        _look_ahead(words, found, warn)
    found.recipients = words
    return found


def _look_ahead(words: list[str], found: Options, warn: Callable[[str], None]) -> None:
    """What getopt(3) can't read: `-q` and `-XV` have an argument only sometimes, and `-V` was once what `-XV` is."""
    while words:
        word = words[0]
        if word == "-q":
            if found.mode == "daemon":
                warn("ignoring -q option in daemon mode")
            else:
                found.mode = "flush"
            words.pop(0)
        elif word == "-XV":
            found.verp = ""
            words.pop(0)
        elif (word == "-V" and len(words) > 1 and len(words[1]) == 2) or (word.startswith("-V") and len(word) == 4):
            warn(f"option {word} is deprecated with Postfix 2.3; specify -X{word[1:]} instead")
            words[0] = f"-X{word[1:]}"
        else:
            return


def _take(found: Options, letter: str, argument: str, warn: Callable[[str], None]) -> None:
    match letter:
        case "b":
            _mode(found, argument)
        case "B":
            if argument.upper() not in ("7BIT", "8BITMIME"):
                raise Refusal("-B option needs 8BITMIME or 7BIT")
            found.eight_bit = argument.upper() == "8BITMIME"
        case "C":
            directory, last = os.path.split(argument)
            found.directory = directory or "." if last == "main.cf" else argument
        case "F":
            found.full_name = argument
        case "f" | "r":
            found.sender = argument
        case "G":
            found.remote = True
        case "I":
            found.mode = "aliases"
        case "N" | "R" | "V":
            _dsn(found, letter, argument, warn)
        case "X":
            if argument[:1] != "V":
                raise Refusal(f"unsupported: -X{argument[:1]}")
            found.verp = argument[1:]
        case "i":
            found.whole = True
        case "n":
            raise Refusal("-n option not supported")
        case "o":
            _old(found, argument)
        case "q":
            _queue(found, argument)
        case "t":
            found.extract = True
        case "v":
            found.verbose += 1


def _mode(found: Options, argument: str) -> None:
    letter = argument[:1]
    if letter == "v":
        found.verify = True
    elif letter in _MODES:
        found.mode = _MODES[letter]
    else:
        raise Refusal(f"unsupported: -b{letter}")


def _dsn(found: Options, letter: str, argument: str, warn: Callable[[str], None]) -> None:
    if letter == "N":
        found.notify = _notify(argument, warn)
    elif letter == "R":
        found.ret = argument.upper() if argument.upper() in ("FULL", "HDRS") else ""
        if not found.ret:
            warn("bad -R option value -- ignored")
    elif len(argument) > _ENVID:
        warn("too long -V option value -- ignored")
    elif not (argument.isascii() and argument.isprintable()):
        warn("bad syntax in -V option value -- ignored")
    else:
        found.envid = argument


def _notify(argument: str, warn: Callable[[str], None]) -> int:
    bits = Notify(0)
    for word in argument.replace(",", " ").split():
        bit = _NOTIFY.get(word.lower())
        if bit is None:
            warn(f'unknown DSN NOTIFY command value "{word}" in "{argument}"')
            bits = Notify(0)
            break
        bits |= bit
    if not bits or (bits & Notify.NEVER and bits != Notify.NEVER):
        warn("bad -N option value -- ignored")
        return 0
    return int(bits)


def _old(found: Options, argument: str) -> None:
    if argument[:1] == "A":
        if not argument[1:]:
            raise Refusal("-oA requires pathname")
        found.alias_file = argument[1:]
    elif argument[:1] == "i":
        found.whole = True


def _queue(found: Options, argument: str) -> None:
    first, rest = argument[:1], argument[1:]
    if first.isdigit():
        found.interval = True
    elif first == "R":
        if not rest:
            raise Refusal("specify: -qRsitename")
        found.site = rest
    elif first == "I":
        if not rest:
            raise Refusal("specify: -qIqueueid")
        found.queue_id = rest
    else:
        raise Refusal(f"-q{first} is not implemented")


def check(found: Options) -> None:
    """Options that don't go together. Raises Refusal."""
    delivering = found.mode == "enqueue"
    for given, what in ((found.extract, "-t"), (found.site, "-qR"), (found.queue_id, "-qI")):
        if given and not delivering:
            raise Refusal(f"{what} can be used only in delivery mode")
    if found.verify:
        excluded = {"-t": found.extract, "-N": found.notify, "-R": found.ret, "-v": found.verbose == 1}
        for what, is_given in excluded.items():
            if is_given:
                raise Refusal(f"{what} option cannot be used with -bv")
