"""Lines of a report: folded texts, and addresses and xtext as DSN fields write them."""

import re

from postwarden.mail.address import external as address_form
from postwarden.mail.events import printable

_WIDTH = 79
_INDENT = "    "
_HEX = re.compile(r"\+([0-9A-F]{2})")


def fold(text: str) -> bytes:
    """`text` in lines of at most 79 characters, broken at blanks, all but the first indented; CRLF at each end. A
    control character never passes, so that a remote server's words can't make a line of their own."""
    lines, line, filled = [], "", False
    for word in printable(text).split(" "):
        if filled and len(line) + 1 + len(word) > _WIDTH:
            lines.append(line)
            line, filled = _INDENT + word, True
        else:
            line = f"{line} {word}" if filled else word
            filled = True
    lines.append(line)
    return "".join(f"{line}\r\n" for line in lines).encode("utf-8", "surrogateescape")


def external(address: str) -> str:
    """As `mail.address` writes it, without what could make a line of its own."""
    return printable(address_form(address))


def from_xtext(text: str) -> str:
    """RFC 3461 4: `+2B` is `+`. What it hides is printed, a control character as `?`."""
    raw = _HEX.sub(lambda match: chr(int(match[1], 16)), text)
    return printable(raw)
