"""hash:, btree:, lmdb:, cdb: and texthash:, which compare whole keys in lower case.

Postfix keeps `hash:` and `btree:` in Berkeley DB files. We read `X.lmdb` where there is one and else the source text
`X` itself, so that nothing has to be compiled; an `X.db` is never read.
"""

import contextlib
import os
import shutil
from collections.abc import Iterator
from typing import Any

import lmdb

from postwarden.config.errors import ConfigError, Problem
from postwarden.mail.decision import Origin
from postwarden.tables import cdb, text
from postwarden.tables.keys import folded
from postwarden.tables.source import Mark, SourceTable, mark, read
from postwarden.tables.table import Found, TableError


class TextTable(SourceTable):
    """A text file as it is: texthash:, and the others where there is no index."""

    def __init__(
        self, name: str, file: str, aliases: bool | None = None, *, fold: bool = True, strict: bool = False
    ) -> None:
        """`aliases`: the lines are `name: value`; None: see for yourself. `strict` as in SourceTable."""
        self._aliases = aliases
        self._fold = fold
        self._lines: dict[str, tuple[str, Origin]] = {}
        super().__init__(name, (file,), strict=strict)

    def items(self) -> Iterator[tuple[str, str]]:
        """All keys with their values."""
        for key, (value, _) in self._lines.items():
            yield key, value

    def _load(self) -> None:
        file = self._files[0]
        data = read(file)
        aliases = text.looks_like_aliases(data, file) if self._aliases is None else self._aliases
        lines = (text.alias_lines if aliases else text.map_lines)(data, file, self._suffer)
        self._lines, problems = text.index(lines, fold=self._fold)
        faults = [Problem(error.origin, "warning", f"{error.text} -- ignoring this line") for error in self._faults]
        self.warnings = tuple(sorted(faults + problems, key=lambda problem: problem.origin.line))

    def _find(self, key: str) -> Found | None:
        line = self._lines.get(folded(key) if self._fold else key)
        return None if line is None else Found(line[0], key, self.name, line[1])


class CompiledTable(SourceTable):
    """A file that postmap made of a text."""

    def __init__(self, name: str, source: str, suffix: str, *, fold: bool = True) -> None:
        self._source = source
        self._fold = fold
        super().__init__(name, (source + suffix,))

    def outdated(self) -> bool:
        """The source was changed after the index was made: the index answers with old values."""
        source, index = mark(self._source), mark(self._files[0])
        return source is not None and index is not None and source[3] > index[3]

    def _name(self, key: str) -> bytes:
        return (folded(key) if self._fold else key).encode("utf-8", "surrogateescape")


class CdbTable(CompiledTable):
    """A cdb file, ours or Postfix's."""

    def __init__(self, name: str, source: str, *, fold: bool = True) -> None:
        self._reader: cdb.Reader | None = None
        super().__init__(name, source, ".cdb", fold=fold)

    def _load(self) -> None:
        try:
            reader = cdb.Reader(self._files[0])
        except (OSError, cdb.CdbError) as error:
            text = error.strerror if isinstance(error, OSError) else str(error)
            raise TableError(self._files[0], f"can't be read: {text}") from error
        before, self._reader = self._reader, reader
        if before is not None:
            before.close()

    def _find(self, key: str) -> Found | None:
        name = self._name(key)
        if not name or self._reader is None:
            return None
        try:
            value = self._reader.get(name)
            if value is None:
                value = self._reader.get(name + b"\0")
        except cdb.CdbError as error:
            raise TableError(self.name, str(error)) from error
        return None if value is None else Found(_text(value), key, self.name)


class IndexTable(CompiledTable):
    """An LMDB file, ours or Postfix's."""

    def __init__(self, name: str, source: str, *, fold: bool = True) -> None:
        self._environment: Any = None
        self._inode: Mark = None
        super().__init__(name, source, ".lmdb", fold=fold)

    def items(self) -> Iterator[tuple[str, str]]:
        """All keys with their values. Raises TableError."""
        try:
            with self._environment.begin() as transaction:
                for key, value in transaction.cursor():
                    yield _text(key), _text(value)
        except lmdb.Error as error:
            raise TableError(self.name, str(error)) from error

    def _load(self) -> None:
        file = self._files[0]
        if self._environment is not None and self._same_file(file):
            # Rewritten in place, as Postfix's postmap does it: the library opens an inode once in a process.
            self._environment.close()
            self._environment = None
        try:
            environment = _open(file)
        except (lmdb.Error, OSError) as error:
            raise TableError(file, f"can't be read: {error}") from error
        before, self._environment = self._environment, environment
        self._inode = mark(file)
        if before is not None:
            with contextlib.suppress(lmdb.Error):
                before.close()

    def _same_file(self, file: str) -> bool:
        now = mark(file)
        return now is not None and self._inode is not None and now[:2] == self._inode[:2]

    def _find(self, key: str) -> Found | None:
        name = self._name(key)
        if not name or len(name) > 511:
            return None
        if self._environment is None:
            raise TableError(self.name, "the index could not be opened again")
        try:
            with self._environment.begin() as transaction:
                value = transaction.get(name)
                if value is None:
                    value = transaction.get(name + b"\0")
        except lmdb.Error as error:
            raise TableError(self.name, str(error)) from error
        if value is None:
            return None
        return Found(_text(value), key, self.name)


class IndexedTable:
    """The index where there is one, else the text: whichever is there now. What was read stays while there is neither
    or what has appeared can't be read."""

    fixed = True

    def __init__(self, name: str, file: str, aliases: bool | None, *, fold: bool = True) -> None:
        """`aliases` as in TextTable. Raises ConfigError with file and line."""
        self.name = name
        self._source = file
        self._index = file + (".cdb" if name.partition(":")[0] == "cdb" else ".lmdb")
        self._aliases = aliases
        self._fold = fold
        index = os.path.exists(self._index)
        self._table = self._open(index=index, strict=False)
        self._there: tuple[bool, bool, Mark] = index, not index and os.path.exists(file), None

    @property
    def parts(self) -> tuple[SourceTable]:
        """What it reads now."""
        return (self._table,)

    def get(self, key: str) -> Found | None:
        return self._table.get(key)

    def stale(self) -> bool:
        return self._look() != self._there or self._table.stale()

    def reload(self) -> None:
        self._there = index, text, other = self._look()
        if other is None or not (index or text):
            self._table.reload()
            return
        table = self._open(index=index, strict=not self._table.fault)
        if table.fault and not self._table.fault:
            raise ConfigError(Origin(self._source, 0, ""), f"{table.fault}: the table goes on with what it had")
        self._table, self._there = table, (index, text, None)

    def _look(self) -> tuple[bool, bool, Mark]:
        """Whether there is an index; else, whether there is a text; and that file where it is not the one in use."""
        index = os.path.exists(self._index)
        text = not index and os.path.exists(self._source)
        in_use = index == isinstance(self._table, CompiledTable)
        return index, text, None if in_use else mark(self._index if index else self._source)

    def _open(self, *, index: bool, strict: bool) -> SourceTable:
        if not index:
            return TextTable(self.name, self._source, self._aliases, fold=self._fold, strict=strict)
        compiled = CdbTable if self._index.endswith(".cdb") else IndexTable
        return compiled(self.name, self._source, fold=self._fold)


def _text(data: bytes) -> str:
    return data.removesuffix(b"\0").decode("utf-8", "replace")


def _open(file: str) -> Any:
    """Without locks: a reader takes no place in a lock file, and who writes makes a new file and renames it.

    A file that another table of this process has open is read from a copy in memory, since the library refuses to open
    it again and two objects must not share one that either may close. Raises lmdb.Error, OSError.
    """
    try:
        return lmdb.open(file, subdir=False, readonly=True, lock=False, readahead=False)
    except lmdb.Error as error:
        if "already open" not in str(error):
            raise
    handle = os.memfd_create("index", os.MFD_CLOEXEC)
    try:
        with open(file, "rb") as stream, open(handle, "wb", closefd=False) as copy:
            shutil.copyfileobj(stream, copy, 1 << 20)
        return lmdb.open(f"/proc/self/fd/{handle}", subdir=False, readonly=True, lock=False)
    finally:
        os.close(handle)
