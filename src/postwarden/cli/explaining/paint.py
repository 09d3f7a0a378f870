"""Colours for a terminal, and none for a pipe (https://no-color.org)."""

import os
import sys


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

    def _wrap(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._coloured else text
