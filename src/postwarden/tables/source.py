"""Tables that stand on files: noticing a change, and keeping what was good when the new text is not."""

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from postwarden.config.errors import ConfigError, Problem
from postwarden.mail.decision import Origin
from postwarden.tables.table import Found, TableError

SIZE_LIMIT = 1 << 30
"""Bytes of a text table."""

Mark = tuple[int, int, int, int, int] | None
"""Device, inode, size, time of the text and time of the rest (a chmod may be what mends it) of a file; None: it is not
there."""


def mark(file: str) -> Mark:
    try:
        state = os.stat(file)
    except OSError:
        return None
    return state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns


def read(file: str) -> bytes:
    """The bytes of `file`. Raises TableError where it can't be read, ConfigError where it is no text file."""
    try:
        with open(file, "rb") as stream:
            data = stream.read(SIZE_LIMIT + 1)
    except OSError as error:
        raise TableError(file, f"can't be read: {error.strerror}") from error
    if len(data) > SIZE_LIMIT:
        raise ConfigError(Origin(file, 0, ""), "too large for a text table: make an index of it with postmap")
    return data


NOTHING_HANDED: Mapping[str, str] = MappingProxyType({})
"""Path as the operator wrote it -> path to open instead, for files that only root may read (`roles.handover`). The
second changes when the file does."""


class SourceTable(ABC):
    """Base of file tables. A file that is not there (yet) does not prevent a start, as in Postfix: the table answers
    TableError until it is. Nor does a line at fault in the text that is read first, since there is no better one. A
    later text with such a line is not taken, unless the line was there before."""

    fixed = True
    handed: Mapping[str, str] = NOTHING_HANDED
    """To be set before the base is made; see there."""

    def __init__(self, name: str, files: Iterable[str], *, strict: bool = False) -> None:
        """Reads. `strict`: every line has to be right. Raises ConfigError with file and line where nothing can be made
        of it."""
        self.name = name
        self._files = tuple(files)
        self._marks = self._look()
        self._fault = ""
        self._strict = strict
        self._faults: list[ConfigError] = []
        self._suffered: frozenset[str] = frozenset()
        self.warnings: tuple[Problem, ...] = ()
        """Of the text that was read last."""
        try:
            self._take()
        except TableError as error:
            self._fault = str(error)

    def _take(self) -> None:
        self._faults = []
        self._load()
        self._strict = True
        self._suffered = frozenset(error.origin.text for error in self._faults)

    def _suffer(self, error: ConfigError) -> None:
        """The Fault of this table's lines: those that are left out are in `_faults`."""
        if self._strict and error.origin.text not in self._suffered:
            raise error
        self._faults.append(error)

    @abstractmethod
    def _load(self) -> None:
        """Read the files and replace the content in one step. Raises TableError, ConfigError."""

    @abstractmethod
    def _find(self, key: str) -> Found | None: ...

    @property
    def fault(self) -> str:
        """Why nothing can be looked up; empty when all is well."""
        return self._fault

    def get(self, key: str) -> Found | None:
        if self._fault:
            raise TableError(self.name, self._fault)
        return self._find(key)

    def stale(self) -> bool:
        return self._look() != self._marks

    def reload(self) -> None:
        # Marked before reading: a change while we read is seen at the next look.
        self._marks = self._look()
        try:
            self._take()
        except TableError as error:
            # A file that vanished: rename is not the only way editors write. What was read stays, if anything was.
            if not self._fault:
                raise ConfigError(Origin(self._files[0], 0, ""), error.text) from error
            self._fault = str(error)
            return
        self._fault = ""

    def _look(self) -> tuple[Mark, ...]:
        return tuple(mark(self.handed.get(file, file)) for file in self._files)
