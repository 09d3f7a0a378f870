"""Entries of an alias file: read strictly from a source, written so that they mean what was judged."""

import re
from collections.abc import Iterator

from postwarden.addressing.aliases import Destination, Kind
from postwarden.config.errors import ConfigError
from postwarden.explain.leads import PLAIN, Entry, targets_of
from postwarden.mail.address import external
from postwarden.mail.decision import Origin
from postwarden.tables.keys import folded
from postwarden.tables.text import alias_lines

NAME_LIMIT = 250
"""Bytes of a name: an index has room for 511, and no mail server takes so long a local part (RFC 5321 4.5.3.1.1)."""
TARGET_LIMIT = 10_000
"""Of one entry: whoever needs more has a list in a file."""
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_.+=~!#$%&*/?^{}|@-]+\Z")
_SIMPLE_PATH = re.compile(r"/[A-Za-z0-9_./+=@-]*\Z")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class Unfit(Exception):
    """A file that can't be used as a whole. `str()` names file and line."""


def read_entries(data: bytes, label: str, source: str, end_mark: str = "") -> list[Entry]:
    """All entries of a file, which is `label` in what is said of it. Raises Unfit for one that is damaged: a mistake
    in one line is a mistake of somebody who types; half a line is half a file."""
    if not data.strip():
        raise Unfit(f"{label}: empty. A source that has no aliases any more says so by a comment")
    if not data.endswith(b"\n"):
        line = data.count(b"\n") + 1
        raise Unfit(f"{label}:{line}: the file ends within a line: it was copied by half, or is still being copied")
    if end_mark and data.rstrip().rpartition(b"\n")[2].strip() != end_mark.encode():
        line = data.rstrip().count(b"\n") + 1
        raise Unfit(
            f'{label}:{line}: the last line is not "{end_mark}": it was copied by half, or is still being copied'
        )
    try:
        return list(_entries(data, label, source))
    except ConfigError as error:
        raise Unfit(str(error)) from error


def _entries(data: bytes, label: str, source: str) -> Iterator[Entry]:
    """Raises ConfigError, Unfit."""
    for line in alias_lines(data, label):
        origin = Origin(label, line.origin.line, "")
        name = folded(line.key.strip())
        if not name or len(name.encode()) > NAME_LIMIT or _CONTROL.search(name):
            raise Unfit(f"{origin}: no name that mail can have")
        targets = tuple(targets_of(line.value))
        if len(targets) > TARGET_LIMIT:
            raise Unfit(f"{origin}: more than {TARGET_LIMIT} targets in one entry")
        yield Entry(name, targets, origin, source)


def rendered_targets(targets: tuple[Destination, ...]) -> str:
    """The right-hand side, anew from what was judged. Raises ValueError where it would be read as something else."""
    if all(target.kind is Kind.ADDRESS and PLAIN.match(target.value) for target in targets) and targets:
        return ", ".join([target.value for target in targets])
    value = ", ".join(map(_rendered, targets))
    if not value or _CONTROL.search(value) or targets_of(value) != list(targets):
        raise ValueError("can't be written so that it is read as the same")
    return value


def rendered_name(name: str) -> str:
    """The name of an alias, quoted where it must be. Raises ValueError."""
    if _PLAIN_NAME.match(name) and name[0] != "#":
        return name
    quoted = '"' + re.sub(r'(["\\])', r"\\\1", name) + '"'
    try:
        read = [line.key for line in alias_lines(f"{quoted}: x\n".encode(), "")]
    except (ConfigError, UnicodeError):
        read = []
    if read != [name] or name != name.strip() or _CONTROL.search(name):
        raise ValueError("has a name that can't be written")
    return quoted


def rendered_address(name: str) -> str:
    """The name of an entry `user@domain`, as a key of virtual(5). Raises ValueError."""
    text = external(name) if name[0] != "@" else name
    if text[0] == "#":
        raise ValueError("can't be written: its line would be a comment")
    return text


def _rendered(target: Destination) -> str:
    value = target.value
    match target.kind:
        case Kind.COMMAND:
            return _quoted(f"|{value}")
        case Kind.FILE:
            return value if _SIMPLE_PATH.match(value) else _quoted(value)
        case Kind.INCLUDE:
            return f":include:{value}" if _SIMPLE_PATH.match(value) else _quoted(f":include:{value}")
    if PLAIN.match(value):
        return value
    return f"\\{external(value[1:])}" if value.startswith("\\") else external(value) or "<>"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
