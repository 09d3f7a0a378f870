"""Making an index `X.lmdb` or `X.cdb` of the text `X`: what postmap and postalias do."""

import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable
from itertools import islice
from operator import eq
from typing import Any, Protocol

import lmdb

from postwarden.config.durable import sync_directory
from postwarden.config.errors import Problem
from postwarden.mail.decision import BUILT_IN
from postwarden.tables import cdb
from postwarden.tables.entries import Entry, Warn
from postwarden.tables.keys import folded_bytes
from postwarden.tables.table import TableError

NUL = b"\0"
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


class _Collected:
    """The records of a new index, by their keys."""

    def __init__(self, shown: str, fold: Callable[[bytes], bytes], end: bytes, limit: int = sys.maxsize) -> None:
        """`shown` is the table's name in warnings, `limit` the most bytes of a key."""
        self.records: dict[bytes, bytes] = {}
        self._shown, self._fold, self._end, self._limit = shown, fold, end, limit

    def add(self, entries: Iterable[Entry], warn: Warn, duplicates: str) -> None:
        records, fold, end, limit = self.records, self._fold, self._end, self._limit
        lower = fold is folded_bytes  # most keys are ASCII, and a million calls are a tenth of the time
        for name, value, _ in entries:
            key = (name.lower() if lower and name.isascii() else fold(name)) + end
            if len(key) > limit:
                warn(f"{self._shown}: a key of {len(key)} bytes is too long and was left out")
            elif key not in records or duplicates == Duplicates.REPLACE:
                records[key] = value + end
            elif duplicates == Duplicates.WARN:
                warn(_duplicate(self._shown, key))


def _duplicate(shown: str, key: bytes) -> str:
    return f'{shown}: duplicate entry: "{key.removesuffix(NUL).decode("utf-8", "surrogateescape")}"'


class CdbWriter:
    """A new cdb file; it can't be added to afterwards."""

    def __init__(
        self, source: str, *, fold: bool = True, utf8: bool = True, null: bool = False, inherit: bool = True
    ) -> None:
        """As IndexWriter. Raises TableError."""
        self.target = source + ".cdb"
        self._collected = _Collected(source, _folding(fold=fold, utf8=utf8), NUL if null else b"")
        self._owner = _owner(source, self.target, inherit=inherit)
        self._draft = _Draft(source, self.target)

    def add(self, entries: Iterable[Entry], warn: Warn, duplicates: str = Duplicates.WARN) -> None:
        """As Writer."""
        self._collected.add(entries, warn, duplicates)

    def publish(self) -> list[Problem]:
        """As Writer."""
        try:
            cdb.write(self._draft.handle, self._collected.records.items())
            self._draft.put_in_place(self.target, self._owner)
        except (cdb.CdbError, OSError) as error:
            self.abandon()
            raise TableError(self.target, str(error)) from error
        return []

    def abandon(self) -> None:
        """As Writer."""
        self._draft.abandon()


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
        self._end = NUL if null else b""
        self._owner = _owner(source, self.target, inherit=inherit)
        self._draft = _Draft(source, self.target)
        keep = keep and os.path.exists(self.target)
        self._new = None if keep else _Collected(f"lmdb:{source}", self._fold, self._end, KEY_LIMIT)
        try:
            if keep:
                with open(self.target, "rb") as old, open(self._draft.handle, "wb", closefd=False) as new:
                    shutil.copyfileobj(old, new, 1 << 20)
            # Not by its name, behind which there may be a link by now.
            file = f"/proc/self/fd/{self._draft.handle}"
            self._environment: Any = lmdb.open(file, subdir=False, lock=False, map_size=_MAP_SIZE, sync=False)
            self._transaction: Any = self._environment.begin(write=True)
        except (lmdb.Error, OSError) as error:
            self.abandon()
            raise TableError(self.target, str(error)) from error

    def add(self, entries: Iterable[Entry], warn: Warn, duplicates: str = Duplicates.WARN) -> None:
        """Put the entries in; what is left out is told to `warn`. Raises TableError when the disk refuses."""
        if self._new is not None:
            self._new.add(entries, warn, duplicates)
            return
        fold, end, put = self._fold, self._end, self._transaction.put
        complain, replace = duplicates == Duplicates.WARN, duplicates == Duplicates.REPLACE
        try:
            for name, value, _ in entries:
                key = fold(name) + end
                if len(key) > KEY_LIMIT:
                    warn(f"lmdb:{self._source}: a key of {len(key)} bytes is too long and was left out")
                elif not put(key, value + end, overwrite=replace) and complain:
                    warn(_duplicate(f"lmdb:{self._source}", key))
        except lmdb.Error as error:
            raise TableError(self.target, str(error)) from error

    def add_at_once(self, entries: Iterable[Entry]) -> bool:
        """Put all entries into a new index, in half the time that `add` takes; False, and then nothing is done, where
        something would have to be said of one."""
        fold, end, lower = self._fold, self._end, self._fold is folded_bytes
        pairs = sorted(
            ((name.lower() if lower and name.isascii() else fold(name)) + end, value + end)
            for name, value, _ in entries
        )
        keys = [key for key, _ in pairs]
        if any(map(eq, keys, islice(keys, 1, None))) or max(map(len, keys), default=0) > KEY_LIMIT:
            return False
        self._append(pairs)
        return True

    def _append(self, pairs: list[tuple[bytes, bytes]]) -> None:
        """In the order of keys each page is written once."""
        self._transaction.cursor().putmulti(pairs, append=True)

    def delete(self, key: str) -> bool:
        """Whether it was there."""
        name = self._fold(key.encode("utf-8", "surrogateescape")) + self._end
        return len(name) <= KEY_LIMIT and bool(key) and bool(self._transaction.delete(name))

    def publish(self) -> list[Problem]:
        """Make it the index. Gives a word on an `X.db` that had to go. Raises TableError."""
        try:
            if self._new is not None and self._new.records:
                self._append(sorted(self._new.records.items()))
            self._transaction.commit()
            self._environment.sync(True)
            self._environment.close()
            self._draft.put_in_place(self.target, self._owner)
        except (lmdb.Error, OSError) as error:
            self.abandon()
            raise TableError(self.target, str(error)) from error
        return _remove_db(self._source + ".db")

    def abandon(self) -> None:
        """Leave all as it was."""
        self._draft.abandon()


def _folding(*, fold: bool, utf8: bool) -> Callable[[bytes], bytes]:
    if not fold:
        return bytes
    return folded_bytes if utf8 else bytes.lower


class _Draft:
    """An empty file in the directory of the source. Whoever else may write there can't make us touch another file."""

    def __init__(self, source: str, target: str) -> None:
        """Raises TableError."""
        directory = os.path.dirname(source) or "."
        try:
            self.handle, self._file = tempfile.mkstemp(prefix=os.path.basename(source) + ".", dir=directory)
        except OSError as error:
            raise TableError(f"open database {target}", error.strerror or str(error)) from error

    def put_in_place(self, target: str, owner: tuple[int, int, int]) -> None:
        """`owner`: user, group and mode. Raises OSError."""
        user, group, mode = owner
        try:
            os.fchown(self.handle, user, group)
        except PermissionError:
            # Only root gives files away. What is ours is read with our rights, and by our group only if by all.
            mode = mode if mode & 0o004 else 0o600
        os.fchmod(self.handle, mode)
        os.rename(self._file, target)
        self._close()
        sync_directory(os.path.dirname(target) or ".")

    def abandon(self) -> None:
        with contextlib.suppress(OSError):
            os.unlink(self._file)
        self._close()

    def _close(self) -> None:
        handle, self.handle = self.handle, -1
        if handle >= 0:
            os.close(handle)


def _owner(source: str, target: str, *, inherit: bool) -> tuple[int, int, int]:
    """User, group and mode for the index: the source's, or the old index's where there is no source."""
    for file in (source, target):
        with contextlib.suppress(OSError):
            state = os.stat(file)
            return state.st_uid, state.st_gid, 0o600 | (state.st_mode & 0o044) if inherit else 0o644
    return os.geteuid(), os.getegid(), 0o644


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
