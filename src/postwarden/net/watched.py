"""Files that others change while we run."""

import os
from collections.abc import Callable

Version = tuple[int, int, int]


def version(path: str) -> Version:
    """Which text a file has; zeros: it is not there."""
    try:
        status = os.stat(path)
    except OSError:
        return (0, 0, 0)
    return (status.st_mtime_ns, status.st_ino, status.st_size)


class WatchedText:
    """A file that is looked at when it is needed, once a second at most."""

    def __init__(self, path: str, monotonic: Callable[[], float]) -> None:
        self._path = path
        self._monotonic = monotonic
        self._looked = -1.0
        self._version: Version = (0, 0, 0)

    def changed(self) -> str | None:
        """The text, where it is another than the last that was given. What can't be read has not changed."""
        now = self._monotonic()
        if self._looked >= 0 and now - self._looked < 1.0:
            return None
        self._looked = now
        found = version(self._path)
        if found == self._version:
            return None
        try:
            with open(self._path, encoding="utf-8", errors="replace") as file:
                text = file.read()
        except OSError:
            return None
        self._version = found
        return text
