"""Addresses in header fields (RFC 5322 3.4), rewritten where they stand. A field without a change stays as it is, byte
for byte; one with a change is written anew, as cleanup(8) does it."""

import re
from collections.abc import Callable, Iterator

from postwarden.mail.address import external, internal

Rewrite = Callable[[str], str]

SENDERS = frozenset((
    b"from", b"sender", b"reply-to", b"errors-to", b"return-receipt-to", b"disposition-notification-to",
    b"mail-followup-to", b"resent-from", b"resent-sender", b"resent-reply-to",
))  # fmt: skip
RECIPIENTS = frozenset((
    b"to", b"cc", b"bcc", b"apparently-to", b"resent-to", b"resent-cc", b"resent-bcc",
))  # fmt: skip
FOLD_AT = 70

# One token: white space, string, literal, special, or a run of anything else. Comments nest and are read by hand.
_TOKEN = re.compile(
    r"""[ \t\r\n]+ | "(?:[^"\\]++|\\.)*"? | \[[^\]]*+\]? | [()<>,;:] | (?:[^ \t\r\n()<>,;:"\[\\]|\\[^\r\n]?)+""",
    re.VERBOSE | re.DOTALL,
)
_BROKEN = re.compile(rb"\r(?!\n)|\n(?![ \t]|\Z)")
_QUALIFIED = rb"[A-Za-z0-9!#$&'*+/=?^_`{|}~.-]+@(?:[A-Za-z0-9_-]+\.)+[A-Za-z0-9-]*[A-Za-z0-9]"
_PHRASE = rb"(?:(?:\"[^\"\\\r\n<>]*\"|[^\r\n<>\"(),;:@\\\[]*)[ \t])?"
# An address, or a phrase and an address in brackets: without them, each word of the phrase would be an address.
_ONE = rb"(?:" + _QUALIFIED + rb"|" + _PHRASE + rb"<" + _QUALIFIED + rb">)"
# One or several: what nearly all fields are, and nothing in it is to be rewritten.
_PLAIN = re.compile(rb"[!-9;-~]+:[ \t]*+" + _ONE + rb"(?:,(?:\r\n)?[ \t]*+" + _ONE + rb")*[ \t]*\r\n\Z")


def needs_look(field: bytes) -> bool:
    """Whether a field of addresses may hold one that is not in standard form. False for the usual field."""
    return _PLAIN.match(field) is None or b"!" in field


def rewritten(field: bytes, rewrite: Rewrite, token_limit: int) -> bytes:
    """`field` with `rewrite` applied to each address in internal form. What is not UTF-8 passes as it is, and so does
    what has more than `token_limit` tokens."""
    name, _, value = field.partition(b":")
    text = value.decode("utf-8", "surrogateescape").strip()
    reader = _Reader(text, rewrite, token_limit)
    elements = reader.elements()
    if not reader.changed:
        return field
    lines = _folded(f"{name.rstrip().decode()}: ", elements)
    out = "\r\n\t".join(lines).encode("utf-8", "surrogateescape") + b"\r\n"
    # A line break within an open string or bracket may have been quoted: nothing of it may begin another field.
    return field if _BROKEN.search(out) else out


def addresses_in(text: str) -> list[str]:
    """The addresses of a list in internal form, as the right side of a table has them. Phrases and comments go."""
    found: list[str] = []

    def note(address: str) -> str:
        found.append(address)
        return address

    _Reader(text, note, 1 << 30).elements()
    return found


def _folded(start: str, elements: list[str]) -> list[str]:
    lines = [start]
    for place, element in enumerate(elements):
        piece = element if place == len(elements) - 1 else f"{element},"
        if place == 0:
            lines[-1] += piece
        elif _octets(lines[-1]) + 1 + _octets(piece) < FOLD_AT:
            lines[-1] += f" {piece}"
        else:
            lines.append(piece)
    return lines


def _octets(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogateescape"))


class _Reader:
    """One pass over the tokens of a field: elements of the list, addresses in them rewritten."""

    def __init__(self, text: str, rewrite: Rewrite, token_limit: int) -> None:
        self.changed = False
        self._text = text
        self._rewrite = rewrite
        self._limit = token_limit
        self._done: list[str] = []
        self._out: list[str] = []
        self._words: list[str] = []
        self._comments: list[str] = []
        self._joined = False
        self._groups = ";" in text

    def elements(self) -> list[str]:
        for count, token in enumerate(self._tokens()):
            if count >= self._limit:
                self.changed = False
                break
            if token == ",":
                self._finish()
            elif token == ";":
                self._addresses()
                self._out.append(";")
            elif token == ":":
                self._label()
            elif token[0] == "<":
                self._angle(token)
            elif token[0] == "(":
                self._comments.append(token.replace("\r\n", " "))
            elif token[0] in " \t\r\n":
                self._joined = False
            else:
                self._word(token)
        self._finish()
        return self._done

    def _tokens(self) -> Iterator[str]:
        at, text = 0, self._text
        last = text.rfind(">")
        while match := _TOKEN.match(text, at):
            token, start, at = match[0], at, match.end()
            if token == "(":
                at = _closing_parenthesis(text, at)
                yield text[start:at]
            elif token == "<" and at <= last:
                at = text.index(">", at) + 1
                yield text[start:at]
            elif token in "()<>" and len(token) == 1:
                continue
            else:
                yield token

    def _word(self, token: str) -> None:
        """Words that touch, or that `@` or `.` joins, are one."""
        words = self._words
        if words and (self._joined or words[-1][-1] in "@." or token[0] in "@."):
            words[-1] += token
        else:
            words.append(token)
        self._joined = True

    def _label(self) -> None:
        """The name of a group. A colon without a semicolon after it is nonsense, and stays what it is."""
        if self._words and not self._out and self._groups:
            self._out.append(f"{' '.join(self._words)}:")
            self._words.clear()
        else:
            self._word(":")

    def _angle(self, token: str) -> None:
        inner = token[1:-1].strip()
        if inner.startswith("@") and ":" in inner:
            inner = inner.partition(":")[2]
            self.changed = True
        self._out += [*self._words, *self._comments, f"<{self._address(inner)}>"]
        self._words.clear()
        self._comments.clear()

    def _addresses(self) -> None:
        """What stands alone, without angle brackets: each word is an address."""
        if self._words:
            self._out.append(", ".join(map(self._address, self._words)))
        self._out += self._comments
        self._words.clear()
        self._comments.clear()

    def _address(self, text: str) -> str:
        address = internal(text)
        new = self._rewrite(address) if address else address
        if new == address:
            return text
        self.changed = True
        return external(new)

    def _finish(self) -> None:
        self._addresses()
        self._done.append(" ".join(self._out).replace(" ;", ";").replace(":;", ": ;"))
        self._out.clear()
        self._joined = False


def _closing_parenthesis(text: str, at: int) -> int:
    """Comments nest (RFC 5322 3.2.2)."""
    depth = 1
    while at < len(text) and depth:
        depth += {"(": 1, ")": -1}.get(text[at], 0)
        at += 2 if text[at] == "\\" else 1
    return at
