"""Making an index `X.lmdb` of the text `X`: what postmap and postalias do."""

import contextlib
import os
import sys
import tempfile
from collections.abc import Callable, Iterable
from typing import Any

import lmdb

from postwarden.config.errors import Problem
from postwarden.mail.decision import BUILT_IN
from postwarden.tables.entries import Entry
from postwarden.tables.keys import folded_bytes
from postwarden.tables.source import read
from postwarden.tables.table import TableError

KEY_LIMIT = 511
"""Bytes of a key in LMDB."""
_MAP_SIZE = 1 << 40 if sys.maxsize > 1 << 32 else 1 << 30


class Duplicates:
    """What to do with a key that is there already: name it and keep the old value, or one of these."""

    WARN, REPLACE, IGNORE = "warn", "replace", "ignore"


class IndexWriter:
    """A new index, invisible until `publish`: it is written beside, synced, and renamed over the old one, so that a
    reader finds the old or the new and nothing between. It gets the source's owner, group and read permissions:
    local(8) decides by the owner of an alias index as whom to run commands."""

    def __init__(
        self,
        source: str,
        *,
        keep: bool = False,
        fold: bool = True,
        utf8: bool = True,
        null: bool = False,
        inherit: bool = True,
    ) -> None:
        """`keep`: begin with what the old index has. `fold`: keys in lower case, of ASCII only without
        `utf8`. `null`: keys and values end in a NUL byte. `inherit`: the source's read permissions, else mode 0644.
        Raises TableError."""
        self.target = source + ".lmdb"
        self._source = source
        self._fold: Callable[[bytes], bytes] = (folded_bytes if utf8 else bytes.lower) if fold else bytes
        self._end = b"\0" if null else b""
        self._owner = _owner(source, self.target, inherit=inherit)
        handle, self._file = tempfile.mkstemp(prefix=os.path.basename(source) + ".", dir=os.path.dirname(source) or ".")
        os.close(handle)
        try:
            if keep and os.path.exists(self.target):
                with open(self._file, "wb") as copy:
                    copy.write(read(self.target))
            else:
                os.unlink(self._file)
            self._environment: Any = lmdb.open(
                self._file, subdir=False, lock=False, map_size=_MAP_SIZE, mode=0o600, sync=False
            )
            self._transaction: Any = self._environment.begin(write=True)
        except (lmdb.Error, OSError) as error:
            self.abandon()
            raise TableError(self.target, str(error)) from error

    def add(self, entries: Iterable[Entry], warn: Callable[[str], None], duplicates: str = Duplicates.WARN) -> None:
        """Put the entries in; what is left out is told to `warn`. Raises TableError when the disk refuses."""
        put, fold, end = self._transaction.put, self._fold, self._end
        replace, complain = duplicates == Duplicates.REPLACE, duplicates == Duplicates.WARN
        try:
            for name, value, _ in entries:
                key = fold(name) + end
                if len(key) > KEY_LIMIT:
                    warn(f"{self.target}: a key of {len(key)} bytes is too long and was left out")
                elif not put(key, value + end, overwrite=replace) and complain:
                    shown = key.removesuffix(b"\0").decode("utf-8", "surrogateescape")
                    warn(f'lmdb:{self._source}: duplicate entry: "{shown}"')
        except lmdb.Error as error:
            raise TableError(self.target, str(error)) from error

    def delete(self, key: str) -> bool:
        """Whether it was there."""
        name = self._fold(key.encode("utf-8", "surrogateescape")) + self._end
        return len(name) <= KEY_LIMIT and bool(key) and bool(self._transaction.delete(name))

    def publish(self) -> list[Problem]:
        """Make it the index. Gives a word on an `X.db` that had to go. Raises TableError."""
        try:
            self._transaction.commit()
            self._environment.sync(True)
            self._environment.close()
            os.chown(self._file, self._owner[0], self._owner[1])
            os.chmod(self._file, self._owner[2])
            os.rename(self._file, self.target)
            _sync_directory(os.path.dirname(self.target) or ".")
        except (lmdb.Error, OSError) as error:
            self.abandon()
            raise TableError(self.target, str(error)) from error
        return _remove_db(self._source + ".db")

    def abandon(self) -> None:
        """Leave all as it was."""
        for rest in (self._file, self._file + "-lock"):
            with contextlib.suppress(OSError):
                os.unlink(rest)


def _owner(source: str, target: str, *, inherit: bool) -> tuple[int, int, int]:
    """User, group and mode for the index: the source's, or the old index's where there is no source."""
    for file in (source, target):
        with contextlib.suppress(OSError):
            state = os.stat(file)
            return state.st_uid, state.st_gid, 0o600 | (state.st_mode & 0o044) if inherit else 0o644
    return os.geteuid(), os.getegid(), 0o644


def _sync_directory(directory: str) -> None:
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _remove_db(file: str) -> list[Problem]:
    """Postfix would go on answering from it, with values that nobody updates any more."""
    try:
        os.unlink(file)
    except FileNotFoundError:
        return []
    except OSError as error:
        text = f"{file} is no longer updated and could not be removed ({error.strerror}): Postfix would answer from it"
        return [Problem(BUILT_IN, "warning", text)]
    return [Problem(BUILT_IN, "warning", f"removed {file}, which nobody updates any more: Postfix needs lmdb: now")]
