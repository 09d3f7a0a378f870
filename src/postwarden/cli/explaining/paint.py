"""Colours for a terminal, and none for a pipe (https://no-color.org)."""

import os
import re
import sys

from postwarden.mail.events import printable


class Paint:
    """Its colours are marks that nobody else can write until `show` prints them: a sender's own, in an address, would
    hide a line (`ESC [8m`)."""

    def __init__(self, *, coloured: bool) -> None:
        self._coloured = coloured
        self._mark = f"\x1b{os.urandom(8).hex()}"
        self._marks = re.compile(rf"{self._mark}\[([0-9]+)m")

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
        texts_and_codes = self._marks.split(line)
        out = [printable(texts_and_codes[0])]
        for code, text in zip(texts_and_codes[1::2], texts_and_codes[2::2], strict=True):
            out.append(f"\x1b[{code}m{printable(text)}")
        print("".join(out))

    def _wrap(self, text: str, code: str) -> str:
        return f"{self._mark}[{code}m{text}{self._mark}[0m" if self._coloured else text
