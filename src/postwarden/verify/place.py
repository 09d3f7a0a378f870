"""Where the cache is kept: what address_verify_map means here."""

import os
from collections.abc import Sequence

from msgspec import Struct

from postwarden.verify.file import SUFFIX

_FILES = frozenset(("btree", "hash", "lmdb", "dbm", "sdbm"))
"""Postfix's types for tables that it writes to. Whichever it is, the file is ours, beside Postfix's."""


class Place(Struct, frozen=True):
    path: str
    """Of the file; empty: in memory only."""
    problem: str = ""
    """What the operator should know of it; empty: nothing."""


def place(maps: Sequence[str]) -> Place:
    """`maps`: the elements of address_verify_map, of which there should be one at most."""
    if not maps:
        return Place("")
    name = maps[0]
    kind, _, path = name.removeprefix("proxy:").partition(":")
    if len(maps) > 1:
        return Place("", "address_verify_map: one table is wanted; results are kept in memory only")
    if kind not in _FILES or not path:
        return Place("", f"address_verify_map: {name} can't be written to; results are kept in memory only")
    if not os.path.isabs(path):
        return Place("", f"address_verify_map: {name} is no absolute path; results are kept in memory only")
    shared = "address_verify_map: the file is this gateway's alone, proxy: shares it with nobody"
    return Place(path + SUFFIX, shared if name.startswith("proxy:") else "")
