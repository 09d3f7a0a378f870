"""Whether what once decided still stands where it stood."""

import os
import re

from postwarden.trace.records import Judged

_WRITTEN = re.compile(r"(?:permit|reject|defer|check|warn)_|smtpd_|(?:permit|reject|defer)$")
"""Rules that are called as they are written; others have names that explain more."""
_LARGEST = 4 << 20
"""Bytes of a file that is looked into: tables of millions of lines are not."""


class Still:
    """Each file is read once. Comments are not looked at."""

    def __init__(self) -> None:
        self._files: dict[str, list[str] | None] = {}

    def changed(self, judged: Judged) -> str:
        """What is otherwise now; empty: nothing, or nobody can say."""
        because = judged.because
        if not because.file or because.line < 1:
            return ""
        lines = self._lines(because.file)
        if lines is None:
            return "" if os.path.lexists(because.file) else f"there is no {because.file}"
        words = [because.name, because.argument, *(fact.key for fact in judged.known)]
        pattern = re.compile("|".join(re.escape(word) for word in words if word), re.IGNORECASE)
        entry = _entry(lines, because.line - 1)
        if any("$" in line or pattern.search(line) for line in entry):
            return ""  # of a $name nobody can say here what it stands for
        if any(line.strip() for line in entry) and not _WRITTEN.match(because.name):
            return ""
        rule = re.compile(r"\s+".join(re.escape(word) for word in f"{because.name} {because.argument}".split()))
        elsewhere = next((n for n, line in enumerate(lines, 1) if rule.search(line)), 0)
        if elsewhere:
            return f"it stands at {because.file}:{elsewhere}"
        return f"it does not stand at {because.origin} any more"

    def _lines(self, file: str) -> list[str] | None:
        if file not in self._files:
            self._files[file] = _read(file)
        return self._files[file]


def _read(file: str) -> list[str] | None:
    try:
        if os.path.getsize(file) > _LARGEST or not os.path.isfile(file):
            return None
        with open(file, encoding="utf-8", errors="replace") as stream:
            return ["" if line.lstrip().startswith("#") else line for line in stream]
    except OSError:
        return None


def _entry(lines: list[str], at: int) -> list[str]:
    """The line with those that continue it: who counted from the first has not said where in it a word stands."""
    found = lines[at : at + 1]
    for line in lines[at + 1 :]:
        if line.strip() and not line[0].isspace():
            break
        found.append(line)
    return found
