"""hash:, btree:, lmdb: and texthash:, which compare whole keys in lower case.

Postfix keeps `hash:` and `btree:` in Berkeley DB files. We read `X.lmdb` where there is one and else the source text
`X` itself, so that nothing has to be compiled; an `X.db` is never read.
"""

import contextlib
import os
from typing import Any

import lmdb

from postwarden.mail.decision import Origin
from postwarden.tables import text
from postwarden.tables.source import SourceTable, mark, read
from postwarden.tables.table import Found, TableError

MAP_SIZE_LIMIT = 1 << 40


class TextTable(SourceTable):
    """A text file as it is: texthash:, and the others where there is no index."""

    def __init__(self, name: str, file: str, aliases: bool | None = None) -> None:
        """`aliases`: the lines are `name: value`; None: see for yourself. Raises ConfigError with file and line."""
        self._aliases = aliases
        self._lines: dict[str, tuple[str, Origin]] = {}
        super().__init__(name, (file,))

    def __len__(self) -> int:
        return len(self._lines)

    def _load(self) -> None:
        file = self._files[0]
        data = read(file)
        aliases = text.looks_like_aliases(data, file) if self._aliases is None else self._aliases
        lines = text.alias_lines(data, file) if aliases else text.map_lines(data, file)
        self._lines, _ = text.index(lines)

    def _find(self, key: str) -> Found | None:
        line = self._lines.get(key.lower())
        return None if line is None else Found(line[0], key, self.name, line[1])


class IndexTable(SourceTable):
    """An LMDB file that postmap made, ours or Postfix's."""

    def __init__(self, name: str, source: str) -> None:
        self._source = source
        self._environment: Any = None
        super().__init__(name, (source + ".lmdb",))

    def outdated(self) -> bool:
        """The source was changed after the index was made: the index answers with old values."""
        source, index = mark(self._source), mark(self._files[0])
        return source is not None and index is not None and source[3] > index[3]

    def _load(self) -> None:
        file = self._files[0]
        try:
            # Without locks: a reader takes no place in a lock file, and whoever writes makes a new file and renames it.
            environment = lmdb.open(file, subdir=False, readonly=True, lock=False, readahead=False)
        except (lmdb.Error, OSError) as error:
            raise TableError(file, f"can't be read: {error}") from error
        before, self._environment = self._environment, environment
        if before is not None:
            with contextlib.suppress(lmdb.Error):
                before.close()

    def _find(self, key: str) -> Found | None:
        folded = key.lower().encode("utf-8", "surrogateescape")
        if not folded or len(folded) > 511:
            return None
        try:
            with self._environment.begin(buffers=False) as transaction:
                value = transaction.get(folded)
                if value is None:
                    value = transaction.get(folded + b"\0")
        except lmdb.Error as error:
            raise TableError(self.name, str(error)) from error
        if value is None:
            return None
        return Found(value.removesuffix(b"\0").decode("utf-8", "replace"), key, self.name)


def open_indexed(name: str, file: str, aliases: bool | None) -> SourceTable:
    """The index where there is one, else the text. Raises ConfigError with file and line."""
    if os.path.exists(file + ".lmdb"):
        return IndexTable(name, file)
    return TextTable(name, file, aliases)
