"""What tables hold, line by line, without asking anybody: text files, and what is written out in main.cf. An index is
read from the source beside it. A data base, a server or a table of tables has no rows here."""

import os
import re
from collections.abc import Iterator
from functools import lru_cache

from msgspec import Struct

from postwarden.config.errors import ConfigError
from postwarden.config.lines import FIRST_WORD, logical_lines
from postwarden.config.settings import Settings
from postwarden.config.values import split
from postwarden.mail.decision import Origin
from postwarden.tables.literal import InlineTable, StaticTable
from postwarden.tables.network import address_bits
from postwarden.tables.text import alias_lines, map_lines

SIZE_LIMIT = 8 << 20
"""Bytes of a text that is read for this; `check` shall not take a minute."""
INDEXED = ("hash", "btree", "dbm", "lmdb", "cdb")
PATTERNS = ("regexp", "pcre")
_RULE = re.compile(r"!?\s*([^\w\s])(?:\\.|(?!\1).)*\1\w*\s+(.+)", re.DOTALL)


class Row(Struct, frozen=True):
    key: str
    """In lower case; of a pattern, all that stands before the value; `*` of a table that has one answer for all."""
    value: str
    origin: Origin


def type_of(name: str) -> tuple[str, str]:
    """`proxy:hash:x` as (`hash`, `x`)."""
    while name.startswith(("proxy:", "debug:")):
        name = name.partition(":")[2]
    kind, _, rest = name.partition(":")
    return kind, rest


def file_of(settings: Settings, name: str) -> str:
    """The text file of a table; empty where it has none."""
    kind, rest = type_of(name)
    if kind not in (*INDEXED, *PATTERNS, "texthash", "cidr") or rest.startswith("{"):
        return ""
    return os.path.join(settings.config_directory, rest)


def rows(settings: Settings, name: str, origin: Origin, *, aliases: bool = False) -> list[Row]:
    """The rows of `type:name`; `origin` is where that is written. What can't be read has none."""
    kind, rest = type_of(name)
    try:
        if kind == "inline":
            return [Row(key, value, origin) for key, value in InlineTable(name, rest, origin).items()]
        if kind == "static":
            found = StaticTable(name, rest, origin).get("x")
            return [] if found is None else [Row("*", found.value, origin)]
        file = file_of(settings, name)
        if not file:
            return []
        state = os.stat(file)
        return _of_file(kind, file, state.st_size, state.st_mtime_ns, aliases=aliases and kind in INDEXED)
    except (ConfigError, OSError):
        return []


@lru_cache(maxsize=64)  # three kinds of findings look into transport_maps
def _of_file(kind: str, file: str, size: int, changed: int, *, aliases: bool) -> list[Row]:
    return [] if size > SIZE_LIMIT else list(_parsed(kind, file, aliases=aliases))


def _parsed(kind: str, file: str, *, aliases: bool) -> Iterator[Row]:
    with open(file, "rb") as stream:
        data = stream.read(SIZE_LIMIT)
    if kind in PATTERNS:
        for line in logical_lines(data, file, _pass_over):
            rule = _RULE.fullmatch(line.text)
            if rule is not None:
                yield Row(line.text[: rule.start(2)].strip(), rule[2].strip(), line)
    elif kind == "cidr":
        for line in logical_lines(data, file, _pass_over):
            word = FIRST_WORD.match(line.text)
            if word is not None:
                yield Row(word[0], line.text[word.end() :].strip(), line)
    else:
        for row in (alias_lines if aliases else map_lines)(data, file, _pass_over):
            yield Row(row.key.lower(), row.value, row.origin)


def _pass_over(error: ConfigError) -> None:
    """The table itself says what is wrong with the line."""


def items(settings: Settings, name: str, service: str = "") -> tuple[str, ...]:
    """The elements of a list parameter; none where its text is wrong."""
    try:
        return split(settings.text(name, service))
    except (ConfigError, ValueError):
        return ()


def maps_rows(settings: Settings, name: str) -> Iterator[Row]:
    """The rows of all tables of a `…_maps` parameter."""
    origin = settings.origin(name)
    for item in items(settings, name):
        yield from rows(settings, item, origin, aliases=name in ("alias_maps", "alias_database"))


def elements(settings: Settings, name: str, service: str = "") -> Iterator[tuple[str, Origin]]:
    """(element, where it is written) of a match list, with the lines of its files and the keys of its tables; what is
    negated is left out."""
    origin = settings.origin(name, service)
    for item in items(settings, name, service):
        if item.startswith("!"):
            continue
        if item.startswith("/"):
            yield from _lines(item)
        elif is_table(item):
            for row in rows(settings, item, origin):
                yield row.key, row.origin
        else:
            yield item, origin


def is_table(item: str) -> bool:
    """`type:name`, and no IPv6 address."""
    kind, colon, _ = item.partition(":")
    return bool(colon) and kind.isalnum() and address_bits(item.partition("/")[0]) is None


def _lines(file: str) -> Iterator[tuple[str, Origin]]:
    try:
        if os.path.getsize(file) > SIZE_LIMIT:
            return
        with open(file, encoding="utf-8", errors="replace") as stream:
            for number, line in enumerate(stream, 1):
                text = line.strip()
                if text and not text.startswith(("#", "!")):
                    for word in text.replace(",", " ").split():
                        yield word, Origin(file, number, text)
    except OSError:
        return
