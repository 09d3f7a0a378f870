"""The merged tables: their text, how they differ from what is installed, and putting them in place."""

import os
import stat
from collections.abc import Iterator, Mapping

from msgspec import Struct

from postwarden.config.errors import Problem
from postwarden.explain.leads import Entry
from postwarden.federation.entries import rendered_address, rendered_name, rendered_targets
from postwarden.federation.sources import Federation
from postwarden.federation.store import write
from postwarden.tables.entries import alias_entries, map_entries
from postwarden.tables.writing import CdbWriter, IndexWriter, Writer

_MARK = "# source "
_HEAD = "# Merged from the files of several owners; `postwarden aliases merge` replaces what is changed here.\n"


class Line(Struct, frozen=True):
    """An entry as it is installed."""

    value: str
    source: str


class Change(Struct, frozen=True):
    name: str
    before: Line | None
    after: Line | None


class Texts(Struct, frozen=True):
    aliases: bytes
    virtual: bytes
    lines: dict[str, Line]


def texts(federation: Federation, entries: Mapping[str, Entry]) -> Texts:
    """The merged files: by source in its order, by name within."""
    lines: dict[str, Line] = {}
    parts: dict[bool, list[str]] = {False: [_HEAD], True: [_HEAD]}
    by_source: dict[str, list[Entry]] = {source.name: [] for source in federation.sources}
    for entry in entries.values():
        by_source[entry.source].append(entry)
    for source, own in by_source.items():
        for part in parts.values():
            part.append(f"\n{_MARK}{source}\n")
        for entry in sorted(own, key=lambda entry: entry.name):
            value = rendered_targets(entry.targets)
            lines[entry.name] = Line(value, source)
            if entry.virtual:
                parts[True].append(f"{rendered_address(entry.name)}\t{value}\n")
            else:
                parts[False].append(f"{rendered_name(entry.name)}: {value}\n")
    return Texts("".join(parts[False]).encode(), "".join(parts[True]).encode(), lines)


def installed(federation: Federation) -> dict[str, Line]:
    """What is installed now, with the source of each entry. Raises OSError."""
    lines: dict[str, Line] = {}
    for table, reader in ((federation.table, alias_entries), (federation.virtual_table, map_entries)):
        path = table.partition(":")[2]
        if not path or not os.path.exists(path):
            continue
        with open(path, "rb") as file:
            data = file.read()
        for source, part in _parts(data.decode("utf-8", "replace")):
            for name, value, _ in reader(part.encode(), path, lambda text: None, True):
                lines[name.decode("utf-8", "replace").strip('"')] = Line(value.decode("utf-8", "replace"), source)
    return lines


def _parts(text: str) -> Iterator[tuple[str, str]]:
    """(source, its lines)."""
    for part in text.split(f"\n{_MARK}")[1:]:
        source, _, lines = part.partition("\n")
        yield source, lines


def changes(before: Mapping[str, Line], after: Mapping[str, Line]) -> list[Change]:
    """Sorted by name."""
    names = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    return [Change(name, before.get(name), after.get(name)) for name in names]


def install(federation: Federation, new: Texts) -> list[Problem]:
    """Put the merged tables in place, index first: whoever is killed between the two finds a text that is not what it
    should be, and installs again. A reader finds the old or the new. Raises OSError, TableError."""
    found = _place(federation.table, new.aliases, aliases=True)
    if federation.virtual_table:
        found += _place(federation.virtual_table, new.virtual, aliases=False)
    return found


def is_installed(federation: Federation, new: Texts) -> bool:
    """The files and their indexes are there, and say this."""
    wanted = [(federation.table, new.aliases)]
    if federation.virtual_table:
        wanted.append((federation.virtual_table, new.virtual))
    return all(_is_there(table, data) for table, data in wanted)


def _is_there(table: str, data: bytes) -> bool:
    kind, _, path = table.partition(":")
    index = f"{path}.cdb" if kind == "cdb" else f"{path}.lmdb"
    try:
        with open(path, "rb") as file:
            return file.read() == data and os.stat(index).st_mtime_ns >= os.fstat(file.fileno()).st_mtime_ns
    except OSError:
        return False


def _place(table: str, data: bytes, *, aliases: bool) -> list[Problem]:
    kind, _, path = table.partition(":")
    _only_ours(path)
    warnings: list[str] = []
    writer: Writer = CdbWriter(path, inherit=False) if kind == "cdb" else IndexWriter(path, inherit=False)
    try:
        reader = alias_entries if aliases else map_entries
        writer.add(reader(data, path, warnings.append, True), warnings.append)
        if warnings:
            # What is installed has to be what was judged, to the letter.
            raise OSError(0, f"the merged text is not read as it was written: {warnings[0]}", path)
    except BaseException:
        writer.abandon()
        raise
    beside = f"{path}.text"
    write(beside, data, 0o644)
    problems = writer.publish()
    os.rename(beside, path)
    return problems


def _only_ours(path: str) -> None:
    """A table whose directory others can write in is theirs; one that is somebody's has his commands run. Raises
    OSError."""
    directory = os.path.dirname(path)
    status = os.stat(directory)
    if status.st_uid not in (0, os.geteuid()) or (status.st_mode & 0o022 and not status.st_mode & stat.S_ISVTX):
        raise PermissionError(1, "others can write in this directory: no place for the merged table", directory)
    if os.path.lexists(path):
        status = os.lstat(path)
        if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
            raise PermissionError(1, f"must be a file of uid {os.geteuid()}", path)
