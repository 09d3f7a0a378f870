"""Colours for a terminal, and none for a pipe (https://no-color.org)."""

import os
import re
import sys

from postwarden.mail.events import printable

_COLOUR = re.compile("(\x1b\\[[0-9]m|\x1b\\[3[12]m)")


class Paint:
    def __init__(self, *, coloured: bool) -> None:
        self._coloured = coloured

    @classmethod
    def of_stdout(cls) -> "Paint":
        return cls(coloured=sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb")

    def good(self, text: str) -> str:
        return self._wrap(text, "32")

    def bad(self, text: str) -> str:
        return self._wrap(text, "31")

    def strong(self, text: str) -> str:
        return self._wrap(text, "1")

    def faint(self, text: str) -> str:
        return self._wrap(text, "2")

    def show(self, line: str) -> None:
        """Print it. Senders and servers choose much of what is in it, and must not command the terminal."""
        print("".join([part if _COLOUR.fullmatch(part) else printable(part) for part in _COLOUR.split(line)]))

    def _wrap(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._coloured else text
