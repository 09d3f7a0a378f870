"""The header block: what is in it, found without taking it apart; and cutting it up where it has to change.

Bytes in, bytes out, never parsed further than to its field names. `head` has CRLF line ends, and ends with the empty
line, or without one where the message ends too.
"""

import re
from collections.abc import Iterable
from itertools import pairwise

_NAME = re.compile(rb"([!-9;-~]+)[ \t]*:")
_LOOSE_INSIDE = re.compile(rb"\n[!-9;-~]++[ \t]++:")
_LOOSE = re.compile(rb"^([!-9;-~]++)[ \t]++:", re.MULTILINE)
_FIELD_END = re.compile(rb"\n(?![ \t])")
_RESENT = frozenset(
    b"resent-" + name for name in (b"bcc", b"cc", b"date", b"from", b"message-id", b"reply-to", b"sender", b"to")
)
# `in` would find an empty slice in them, were they one string.
_BLANKS = (b" ", b"\t")


class Scanner:
    """Looks for the fields of some names. Names with few different initials make the scan short: 1 KB costs 1 µs where
    a block taken apart costs 30."""

    def __init__(self, names: Iterable[bytes]) -> None:
        """`names` are in lower case."""
        initials = b"".join(sorted({re.escape(name[:1]) for name in names}))
        self._names = re.compile(rb"\n([%b][!-9;-~]*+):" % initials)

    def look(self, head: bytes) -> "Look":
        low = b"\n" + head.lower()
        if _LOOSE_INSIDE.search(low):
            head = _LOOSE.sub(rb"\1:", head)
            low = b"\n" + head.lower()
        return Look(head, low, self._names.findall(low))


class Look:
    """What a header block has, of the names that the scanner knows."""

    __slots__ = ("_low", "head", "hops", "names", "resent")

    def __init__(self, head: bytes, low: bytes, found: list[bytes]) -> None:
        self._low = low
        self.head = head
        """Without white space between a field's name and its colon (RFC 5322 4.5 reads it, 3.6 never writes it)."""
        self.names = set(found)
        self.hops = found.count(b"received")
        self.resent = not _RESENT.isdisjoint(self.names)
        """It was resent by somebody (RFC 5322 3.6.6)."""

    def find(self, name: bytes) -> list[tuple[int, bytes]]:
        """(where it begins, the whole field) of each field of that name, which is in lower case."""
        found: list[tuple[int, bytes]] = []
        if name not in self.names:
            return found
        low, head = self._low, self.head
        at = low.find(b"\n%b:" % name)
        while at >= 0:
            end = head.find(b"\n", at)
            while head[end + 1 : end + 2] in _BLANKS:
                end = head.find(b"\n", end + 1)
            found.append((at, head[at : end + 1]))
            at = low.find(b"\n%b:" % name, end)
        return found

    def message_ids(self) -> list[tuple[str, str]]:
        """(`message-id` or `resent-message-id`, its value) of each such field, in order, as the log prints it."""
        found = [(at, "message-id", field) for at, field in self.find(b"message-id")]
        if self.resent:
            found += [(at, "resent-message-id", field) for at, field in self.find(b"resent-message-id")]
            found.sort()
        return [(name, _value(field)) for _, name, field in found]


def _value(field: bytes) -> str:
    return field.partition(b":")[2].strip().replace(b"\r\n", b"\n").decode("utf-8", "replace")


def fields(head: bytes) -> list[bytes]:
    """The fields, each with its continuation lines; the empty line at the end is none."""
    ends = [0, *(match.end() for match in _FIELD_END.finditer(head))]
    return [field for begin, end in pairwise(ends) if (field := head[begin:end]) != b"\r\n"]


def name_of(field: bytes) -> bytes:
    """In lower case."""
    found = _NAME.match(field)
    return found[1].lower() if found else b""


def rejoin(head: bytes, changed: Iterable[bytes]) -> bytes:
    """`changed` fields with the end that `head` has."""
    end = b"\r\n" if head.endswith(b"\r\n\r\n") or head == b"\r\n" else b""
    return b"".join([*changed, end])


def cut_to(field: bytes, limit: int) -> bytes:
    """`field` with at most `limit` bytes, line ends not counted, as header_size_limit has it."""
    kept, left = [], limit
    for line in field.splitlines():
        if left <= 0:
            break
        kept.append(line[:left])
        left -= len(line) + 1
    return b"\r\n".join(kept) + b"\r\n"


def with_fields(head: bytes, added: Iterable[str]) -> bytes:
    """`head` with more fields at its end."""
    block = "".join(f"{field}\r\n" for field in added).encode("utf-8", "surrogateescape")
    if head.endswith(b"\r\n\r\n") or head == b"\r\n":
        return head[:-2] + block + b"\r\n"
    return head + block
