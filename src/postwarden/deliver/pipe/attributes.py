"""What follows `pipe` in a master.cf entry: attributes, and the program's arguments (pipe(8))."""

import re
from collections.abc import Sequence

from msgspec import Struct

FLAGS = frozenset("BDFORXhqu.>")
_ESCAPE = re.compile(rb"\\([0-7]{1,3}|.)", re.DOTALL)
_LETTERS = {
    b"a": b"\a", b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v", b"\\": b"\\"
}  # fmt: skip


class BadAttribute(Exception):
    """The text is for the operator. Mail for the transport waits until it is put right."""


class Attributes(Struct, frozen=True):
    user: str
    argv: tuple[str, ...]
    """With macros."""
    group: str = ""
    flags: frozenset[str] = frozenset()
    directory: str = ""
    chroot: str = ""
    eol: bytes = b"\n"
    null_sender: str = "MAILER-DAEMON"
    size: int = 0
    """The largest message in bytes; 0: any."""


def parse(words: Sequence[str]) -> Attributes:
    """Raises BadAttribute."""
    found: dict[str, str] = {}
    argv: tuple[str, ...] = ()
    for at, word in enumerate(words):
        name, equals, value = word.partition("=")
        if name == "argv" and equals:
            argv = tuple([each for each in (value, *words[at + 1 :]) if each])
            break
        if word.startswith("-") and not found:
            continue  # -v and its like belong to the daemon
        if not equals or name not in ("user", "flags", "directory", "chroot", "eol", "null_sender", "size"):
            raise BadAttribute(f"unknown attribute name: {word}")
        found[name] = value
    user, colon, group = found.get("user", "").partition(":")
    if not user or (colon and not group):
        raise BadAttribute("missing user= command-line attribute" if not user else f"missing group: {found['user']}")
    if not argv:
        raise BadAttribute("missing argv= command-line attribute")
    return Attributes(
        user,
        argv,
        group,
        _flags(found.get("flags", "")),
        found.get("directory", ""),
        found.get("chroot", ""),
        _unescaped(found.get("eol", "\\n")),
        found.get("null_sender", "MAILER-DAEMON"),
        _size(found.get("size", "")),
    )


def _flags(text: str) -> frozenset[str]:
    for flag in text:
        if flag not in FLAGS:
            raise BadAttribute(f"unknown flag: {flag}")
    return frozenset(text)


def _size(text: str) -> int:
    if text and not (text.isascii() and text.isdigit() and len(text) < 18):
        raise BadAttribute(f"bad size= value: {text}")
    return int(text or 0)


def _unescaped(text: str) -> bytes:
    """The C-style escapes of a line end; one that means nothing is the character itself."""

    def value(match: re.Match[bytes]) -> bytes:
        escape = match[1]
        if escape[:1].isdigit() and escape < b"8":
            return bytes([int(escape, 8) & 255])
        return _LETTERS.get(escape, escape)

    return _ESCAPE.sub(value, text.encode("utf-8", "surrogateescape"))
