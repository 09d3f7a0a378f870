"""Making an index `X.lmdb` or `X.cdb` of the text `X`: what postmap and postalias do."""

import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import lmdb

from postwarden.config.errors import Problem
from postwarden.mail.decision import BUILT_IN
from postwarden.tables import cdb
from postwarden.tables.entries import Entry, Warn
from postwarden.tables.keys import folded_bytes
from postwarden.tables.table import TableError

KEY_LIMIT = 511
"""Bytes of a key in LMDB."""
_MAP_SIZE = 1 << 40 if sys.maxsize > 1 << 32 else 1 << 30


class Duplicates:
    """What to do with a key that is there already: name it and keep the old value, or one of these."""

    WARN, REPLACE, IGNORE = "warn", "replace", "ignore"


class Writer(Protocol):
    """An index in the making; it begins to count when it is published."""

    def add(self, entries: Iterable[Entry], warn: Warn, duplicates: str = Duplicates.WARN) -> None:
        """Put the entries in; what is left out is told to `warn`. Raises TableError when the disk refuses."""

    def publish(self) -> list[Problem]:
        """Make it the index. Gives what the operator should hear of that. Raises TableError."""

    def abandon(self) -> None:
        """Leave all as it was."""


class CdbWriter:
    """A new cdb file; it can't be added to afterwards."""

    def __init__(
        self, source: str, *, fold: bool = True, utf8: bool = True, null: bool = False, inherit: bool = True
    ) -> None:
        """As IndexWriter. Raises TableError."""
        self.target = source + ".cdb"
        self._source = source
        self._fold = _folding(fold=fold, utf8=utf8)
        self._end = b"\0" if null else b""
        self._owner = _owner(source, self.target, inherit=inherit)
        self._records: dict[bytes, bytes] = {}
        self._file = _beside(source, self.target)

    def add(self, entries: Iterable[Entry], warn: Warn, duplicates: str = Duplicates.WARN) -> None:
        """As Writer."""
        for name, value, _ in entries:
            key = self._fold(name) + self._end
            if key not in self._records or duplicates == Duplicates.REPLACE:
                self._records[key] = value + self._end
            elif duplicates == Duplicates.WARN:
                shown = key.removesuffix(b"\0").decode("utf-8", "surrogateescape")
                warn(f'{self._source}: duplicate entry: "{shown}"')

    def publish(self) -> list[Problem]:
        """As Writer."""
        try:
            cdb.write(self._file, self._records.items())
            _put_in_place(self._file, self.target, self._owner)
        except (cdb.CdbError, OSError) as error:
            self.abandon()
            raise TableError(self.target, str(error)) from error
        return []

    def abandon(self) -> None:
        """As Writer."""
        with contextlib.suppress(OSError):
            os.unlink(self._file)


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
        self._fold = _folding(fold=fold, utf8=utf8)
        self._end = b"\0" if null else b""
        self._owner = _owner(source, self.target, inherit=inherit)
        self._file = _beside(source, self.target)
        try:
            if keep and os.path.exists(self.target):
                shutil.copyfile(self.target, self._file)
            else:
                os.unlink(self._file)
            self._environment: Any = lmdb.open(
                self._file, subdir=False, lock=False, map_size=_MAP_SIZE, mode=0o600, sync=False
            )
            self._transaction: Any = self._environment.begin(write=True)
        except (lmdb.Error, OSError) as error:
            self.abandon()
            raise TableError(self.target, str(error)) from error

    def add(self, entries: Iterable[Entry], warn: Warn, duplicates: str = Duplicates.WARN) -> None:
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
            _put_in_place(self._file, self.target, self._owner)
        except (lmdb.Error, OSError) as error:
            self.abandon()
            raise TableError(self.target, str(error)) from error
        return _remove_db(self._source + ".db")

    def abandon(self) -> None:
        """Leave all as it was."""
        for rest in (self._file, self._file + "-lock"):
            with contextlib.suppress(OSError):
                os.unlink(rest)


def _folding(*, fold: bool, utf8: bool) -> Callable[[bytes], bytes]:
    if not fold:
        return bytes
    return folded_bytes if utf8 else bytes.lower


def _beside(source: str, target: str) -> str:
    """An empty file in the directory of the source. Raises TableError."""
    try:
        handle, file = tempfile.mkstemp(prefix=os.path.basename(source) + ".", dir=os.path.dirname(source) or ".")
    except OSError as error:
        raise TableError(f"open database {target}", error.strerror or str(error)) from error
    os.close(handle)
    return file


def _put_in_place(file: str, target: str, owner: tuple[int, int, int]) -> None:
    """Raises OSError."""
    os.chown(file, owner[0], owner[1])
    os.chmod(file, owner[2])
    os.rename(file, target)
    _sync_directory(os.path.dirname(target) or ".")


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
