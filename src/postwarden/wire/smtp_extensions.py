"""What a server offers in its reply to EHLO or LHLO (RFC 5321 4.1.1.1)."""

from types import MappingProxyType

from msgspec import Struct

XFORWARD = ("NAME", "ADDR", "PORT", "PROTO", "HELO", "IDENT", "SOURCE")
# In the order in which Postfix lists them, and the one under the name that it gives it there.
_LOGGED = (
    "8BITMIME", "AUTH", "ETRN", "PIPELINING", "SIZE", "VERP", "VRFY", "XCLIENT", "XFORWARD", "STARTTLS", "DSN",
    "SMTPUTF8", "CHUNKING",
)  # fmt: skip
_UNUSUAL = MappingProxyType({"SMTPUTF8": "EHLO_MASK_SMTPUTF8"})
_SILENT = frozenset(("silent-discard", "enhancedstatuscodes"))


def discarding(discarded: frozenset[str]) -> str:
    """What the log says at each EHLO of keywords (in lower case) that are overlooked; empty: nothing."""
    if not discarded or discarded & _SILENT:
        return ""
    names = [_UNUSUAL.get(name, name) for name in _LOGGED if name.lower() in discarded]
    return f"discarding EHLO keywords: {' '.join(names)}" if names else ""


class Extensions(Struct, frozen=True):
    """Defaults are those of a server that only knows HELO."""

    name: str = ""
    """How the server calls itself; its first word after the code."""
    esmtp: bool = False
    pipelining: bool = False
    size: bool = False
    size_limit: int = 0
    """Bytes; 0: not said, or not a number."""
    eight_bit: bool = False
    dsn: bool = False
    smtputf8: bool = False
    starttls: bool = False
    chunking: bool = False
    auth: tuple[str, ...] = ()
    xforward: tuple[str, ...] = ()
    bad_size: str = ""
    """What stood where the limit should be, if it was no number."""


def parse(text: str, discard: frozenset[str] = frozenset()) -> Extensions:
    """Read the text of a positive reply (lines with their codes). Keywords in `discard` (lower case) are overlooked.

    `AUTH=PLAIN` is an old draft's form that is still met.
    """
    found: dict[str, list[str]] = {}
    name = ""
    for number, line in enumerate(text.split("\n")):
        words = line[4:].replace("=", " ", 1).split()
        if not words:
            continue
        if number == 0:
            name = words[0]
            continue
        keyword = words[0].lower()
        if keyword not in discard:
            found.setdefault(keyword, []).extend(words[1:])
    size = found.get("size")
    limit = size[0] if size else ""
    digits = limit.isascii() and limit.isdigit()
    return Extensions(
        name=name,
        esmtp=True,
        pipelining="pipelining" in found,
        size=size is not None,
        size_limit=int(limit) if digits and len(limit) < 19 else 0,
        # Postfix: a server that takes SMTPUTF8 takes 8-bit content, whatever it forgot to say.
        eight_bit="8bitmime" in found or "smtputf8" in found,
        dsn="dsn" in found,
        smtputf8="smtputf8" in found,
        starttls="starttls" in found,
        chunking="chunking" in found,
        auth=tuple(word.upper() for word in found.get("auth", ())),
        xforward=tuple(word.upper() for word in found.get("xforward", ()) if word.upper() in XFORWARD),
        bad_size=limit if limit and not digits else "",
    )
