"""The line of a table's entry: of a text as it was read, of an index as its source has it now."""

import os

from postwarden.mail.decision import Origin
from postwarden.tables.entries import alias_entries, map_entries
from postwarden.tables.keys import folded_bytes
from postwarden.tables.table import Found

INDEXED = ("hash", "btree", "dbm", "lmdb", "cdb")


class Places:
    """Each source is read once. A source that is newer than its index is said, since the line may have moved."""

    def __init__(self, directory: str, aliases: frozenset[str]) -> None:
        """`directory`: what relative names begin from. `aliases`: tables in the form of aliases(5)."""
        self._directory = directory
        self._aliases = aliases
        self._lines: dict[str, dict[bytes, int]] = {}

    def of(self, found: Found) -> Origin:
        """File and line; line 0 where the table has no lines, or its source does not have the entry."""
        if found.origin is not None:
            return found.origin
        name = found.table.removeprefix("proxy:")
        kind, _, path = name.partition(":")
        if kind not in INDEXED:
            return Origin(found.table, 0, "")
        file = os.path.join(self._directory, path)
        lines = self._lines.get(name)
        if lines is None:
            lines = self._lines[name] = _read(file, aliases=name in self._aliases)
        return Origin(file, lines.get(folded_bytes(found.key.encode("utf-8", "surrogateescape")), 0), "")

    def shown(self, found: Found) -> str:
        """`file:line`, or what there is of it."""
        origin = self.of(found)
        if not origin.line:
            return f"{origin.file} (not in its source)" if origin.file.startswith("/") else origin.file
        return f"{origin.file}:{origin.line}"


def _read(file: str, *, aliases: bool) -> dict[bytes, int]:
    try:
        with open(file, "rb") as stream:
            data = stream.read()
    except OSError:
        return {}
    lines: dict[bytes, int] = {}
    for name, _, number in (alias_entries if aliases else map_entries)(data, file, lambda text: None, True):
        lines.setdefault(folded_bytes(name), number)
    return lines
