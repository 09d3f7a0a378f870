"""What an alias, an :include: file or a .forward file lists (aliases(5)): addresses, files, commands, more lists."""

import re
from enum import Enum

from msgspec import Struct


class Kind(Enum):
    ADDRESS = "address"
    FILE = "file"
    COMMAND = "command"
    INCLUDE = "include"


class Destination(Struct, frozen=True):
    kind: Kind
    value: str
    """Address in internal form, path, command line, or path of the list. An address may begin with `\\`: deliver to
    that user, whatever aliases say. An empty address is what `""` or `<>` gives."""

    def __str__(self) -> str:
        """As one would write it."""
        match self.kind:
            case Kind.COMMAND:
                return f"|{self.value}"
            case Kind.INCLUDE:
                return f":include:{self.value}"
        return self.value or "<>"


_TOKEN = re.compile(
    r"""\s*(?:
        "(?P<quoted>(?:[^"\\]|\\.)*)"?   # a string that is never closed ends with the text, as Postfix takes it
      | (?P<literal>\[[^\]]*\]?)
      | (?P<mark>[(),;<>:@.])
      | (?P<atom>(?:[^\s"(),;<>:@.\[\\]|\\.?)+)
    )""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_INCLUDE = ":include:"
_MARKS_WITHIN = frozenset("@.:")


def destinations(text: str) -> list[Destination]:
    """The destinations in `text`, in order. White space or a comma parts them; phrases, comments and group names of
    RFC 822 6.1 are dropped; anything else is taken as an address, which the resolver then judges."""
    return [_destination(address) for address in _Reader(text).addresses()]


def include_lines(data: bytes) -> list[str]:
    """The lines of an :include: or .forward file that say something. Each is a list of its own. Raises UnicodeError."""
    lines = (line.strip() for line in data.decode().split("\n"))
    return [line for line in lines if line and not line.startswith("#")]


def _destination(address: str) -> Destination:
    if address.startswith("/"):
        return Destination(Kind.FILE, address)
    if address.startswith("|"):
        return Destination(Kind.COMMAND, address[1:].strip())
    if address[: len(_INCLUDE)].lower() == _INCLUDE:
        return Destination(Kind.INCLUDE, address[len(_INCLUDE) :])
    return Destination(Kind.ADDRESS, address)


class _Reader:
    """One pass over the tokens. Text that touches or is joined by `@`, `.` or `:` is one address."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._found: list[str] = []
        self._words: list[str] = []
        self._joined = False

    def addresses(self) -> list[str]:
        at, text = 0, self._text
        while match := _TOKEN.match(text, at):
            touching = match.start(match.lastgroup or 0) - (match.lastgroup == "quoted") == at
            at = match.end()
            if match["mark"] is None:
                self._word(_value(match), touching)
            elif match["mark"] == "(":
                at = _comment_end(text, at)
            elif match["mark"] == "<":
                at = self._route(at)
            else:
                self._mark(match["mark"], text, at)
        self._finish()
        return self._found

    def _word(self, value: str, touching: bool) -> None:
        if self._words and (self._joined or touching):
            self._words[-1] += value
        else:
            self._words.append(value)
        self._joined = False

    def _mark(self, mark: str, text: str, at: int) -> None:
        if mark == ":" and self._names_group(text, at):
            self._words.clear()
        elif mark in _MARKS_WITHIN:
            # What `:` begins after white space is a word of its own (`joe :include:/list`); `@` and `.` join.
            self._word(mark, touching=mark != ":" or not text[at - 2 : at - 1].isspace())
            self._joined = True
        elif mark in ",;":
            self._finish()

    def _names_group(self, text: str, at: int) -> bool:
        """`friends: joe, jane;`, but no `:include:/path`, no route `@relay:joe@host` and no path."""
        return bool(self._words) and self._words[-1][:1] not in "/|:@" and not text[at - 2 : at - 1].isspace()

    def _route(self, at: int) -> int:
        """`Phrase <address>`: the words before it are no addresses. Returns where the text goes on."""
        end = _closing(self._text, at)
        inner = self._text[at:end]
        self._words.clear()
        route = inner.lstrip()
        if route.startswith("@") and ":" in route:
            # RFC 5321 appendix C: a source route is ignored.
            inner = route.partition(":")[2]
        self._found += _Reader(inner).addresses() or [""]
        self._joined = False
        return min(end + 1, len(self._text))

    def _finish(self) -> None:
        for word in self._words:
            if word.startswith("@") and ":" in word and word[:9].lower() != _INCLUDE:
                word = word.partition(":")[2]
            self._found.append(word)
        self._words.clear()
        self._joined = False


def _value(match: re.Match[str]) -> str:
    quoted = match["quoted"]
    if quoted is not None:
        return _ESCAPE.sub(r"\1", quoted)
    atom = match["atom"]
    if atom is None:
        return match["literal"]
    # A leading backslash is no escape: it means delivery without aliases.
    return atom[0] + _ESCAPE.sub(r"\1", atom[1:])


def _comment_end(text: str, at: int) -> int:
    """Comments nest (RFC 822 3.4.3)."""
    depth = 1
    while at < len(text) and depth:
        char = text[at]
        if char == "\\":
            at += 1
        elif char == "(":
            depth += 1
        elif char == ")":
            depth -= 1
        at += 1
    return at


def _closing(text: str, at: int) -> int:
    """Where the `>` is that ends what begins at `at`: not one within quotes."""
    quoted = False
    while at < len(text):
        char = text[at]
        if char == "\\":
            at += 1
        elif char == '"':
            quoted = not quoted
        elif char == ">" and not quoted:
            return at
        at += 1
    return len(text)
