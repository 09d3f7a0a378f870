"""What the entries of a directory say for one key: result attributes, and references to more entries."""

import re
from collections.abc import Iterator, Sequence
from typing import Protocol
from urllib.parse import unquote

from msgspec import Struct

ENTRY = "(objectClass=*)"

_URL = re.compile(r"<?(?:URL:)?(ldap|ldaps|ldapi|cldap)://([^/?>]*)(?:/([^?>]*))?((?:\?[^?>]*){0,4})>?", re.IGNORECASE)
_BAD_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_SCOPES = {"": "base", "base": "base", "one": "one", "onelevel": "one", "sub": "sub", "subtree": "sub"}

Entry = list[tuple[str, list[bytes]]]


class Search(Struct, frozen=True):
    """One question to a directory."""

    base: str
    scope: str
    """`base`, `one`, `sub`."""
    wanted: str
    """The filter, RFC 4515."""
    attributes: tuple[str, ...]
    must_exist: bool = False
    """Without the base there is no answer, not even that nothing was found."""


class Unusable(Exception):
    """What the directory holds gives no answer; the text says why."""


class Directory(Protocol):
    def search(self, base: str, scope: str, wanted: str, attributes: tuple[str, ...], limit: int) -> list[Entry] | None:
        """None: there is no such base."""


class Attributes(Struct, frozen=True):
    """The names of a table's attributes, by what they are for."""

    result: tuple[str, ...] = ()
    special: tuple[str, ...] = ()
    """With the names and URLs of more entries."""
    leaf: tuple[str, ...] = ()
    """Of no account in an entry that has special ones."""
    terminal: tuple[str, ...] = ()
    """Where an entry has these, nothing else counts."""

    @property
    def all(self) -> tuple[str, ...]:
        return (*self.terminal, *self.leaf, *self.result, *self.special)


class Limits(Struct, frozen=True):
    depth: int = 1000
    entries: int = 0
    """Of one search; 0: none."""
    searches: int = 10_000
    """Two groups that hold each other twice would take 2 to the power of `depth` searches."""


def expanded(directory: Directory, first: Search, names: Attributes, limits: Limits) -> Iterator[bytes]:
    """The values, in the order in which a reader who follows each reference at once comes by them. Raises Unusable, and
    what the directory raises."""
    count = 1
    waiting = [_walk(directory, first, names, limits)]
    while waiting:
        step = next(waiting[-1], None)
        if step is None:
            waiting.pop()
        elif isinstance(step, bytes):
            yield step
        else:
            count += 1
            if len(waiting) >= limits.depth:
                raise Unusable("Recursion limit exceeded")
            if count > limits.searches:
                raise Unusable(f"more than {limits.searches} searches for one key")
            waiting.append(_walk(directory, step, names, limits))


def _walk(directory: Directory, search: Search, names: Attributes, limits: Limits) -> Iterator[bytes | Search]:
    entries = directory.search(search.base, search.scope, search.wanted, search.attributes, limits.entries)
    if entries is None and search.must_exist:
        raise Unusable(f"Search base '{search.base}' not found")
    for entry in entries or ():
        yield from _entry(entry, names)


def _entry(entry: Entry, names: Attributes) -> Iterator[bytes | Search]:
    held = [(name, values) for name, values in entry if values]
    terminal = any(_one_of(name, names.terminal) for name, _ in held)
    special = bool(names.leaf) and not terminal and any(_one_of(name, names.special) for name, _ in held)
    counted = names.terminal
    if not terminal:
        counted = names.result if special else (*names.leaf, *names.result)
    for name, values in held:
        if _one_of(name, counted):
            yield from values
        elif not terminal and not _one_of(name, names.leaf) and _one_of(name, names.special):
            for value in values:
                more = reference(value, names)
                if more is not None:
                    yield more


def reference(value: bytes, names: Attributes) -> Search | None:
    """What a special attribute refers to: an LDAP URL (whose host counts for nothing) or the name of an entry. None:
    nothing that could be asked for. Raises Unusable."""
    try:
        text = value.decode()
    except UnicodeDecodeError as error:
        raise Unusable("a reference that is no text") from error
    if "\0" in text or "%00" in text:
        raise Unusable("a reference with a NUL byte")  # where the library would end it
    match = _URL.fullmatch(text)
    if match is None:
        return Search(text, "base", ENTRY, names.all)
    attributes, scope, wanted, _ = [*(match[4] or "").split("?")[1:], "", "", "", ""][:4]
    asked = tuple(unquote(name) for name in attributes.split(",") if name)
    common = in_both(asked, names.all) if asked else names.all
    if scope.lower() not in _SCOPES or _BAD_PERCENT.search(text):
        raise Unusable(f"malformed URL {text}")
    if not common:
        return None
    return Search(unquote(match[3] or ""), _SCOPES[scope.lower()], unquote(wanted) or ENTRY, common)


def in_both(asked: Sequence[str], known: Sequence[str]) -> tuple[str, ...]:
    """Attributes that a URL and a table name; with its options (`mail;lang-de`) where one of them has some."""
    found = []
    for one in asked:
        for other in known:
            if _is_kind_of(one, other):
                found.append(one)
            elif _is_kind_of(other, one):
                found.append(other)
    return tuple(dict.fromkeys(found))


def _one_of(name: str, wanted: Sequence[str]) -> bool:
    return any(_is_kind_of(name, known) for known in wanted)


def _is_kind_of(name: str, known: str) -> bool:
    """`mail;lang-de` is a kind of `mail`. RFC 4512 2.5."""
    name, known = name.lower(), known.lower()
    return name == known or name.startswith(f"{known};")
