"""The header block: what is missing is added, what must not travel is taken out. Bytes in, bytes out; never parsed
further than to its field names, and returned as the same object when nothing is to be done."""

import re
from collections.abc import Iterable

from msgspec import Struct

_NAME = re.compile(rb"([!-9;-~]+)[ \t]*:")
_FIELD = re.compile(rb"(?:^|(?<=\n))[^\n]*+\n(?:[ \t][^\n]*+\n)*+")
_MESSAGE_ID = re.compile(rb"(?:^|\n)message-id[ \t]*:[ \t]*(?:\r\n[ \t]+)*([^\r\n]*)", re.IGNORECASE)
_LOOSE = re.compile(rb"^([!-9;-~]++)[ \t]++:", re.MULTILINE)
_RECEIVED = re.compile(rb"(?:^|\n)received[ \t]*:", re.IGNORECASE)


class Look(Struct, frozen=True):
    """What one pass over the block finds."""

    names: frozenset[bytes]
    """Field names in lower case."""
    message_id: str
    hops: int


def look(head: bytes) -> Look:
    names = frozenset(
        [line.partition(b":")[0].rstrip().lower() for line in head.split(b"\n") if line[:1] not in b" \t\r"]
    )
    found = _MESSAGE_ID.search(head) if b"message-id" in names else None
    message_id = found[1].decode("utf-8", "replace").strip() if found else ""
    return Look(names, message_id, len(_RECEIVED.findall(head)) if b"received" in names else 0)


def fields(head: bytes) -> list[bytes]:
    """The fields, each with its continuation lines; the empty line at the end is none."""
    return [field for field in _FIELD.findall(head) if not field.startswith((b"\r\n", b"\n"))]


def name_of(field: bytes) -> bytes:
    found = _NAME.match(field)
    return found[1].lower() if found else b""


def without(head: bytes, names: frozenset[bytes]) -> bytes:
    """`head` without the fields of these names."""
    end = b"\r\n" if head.endswith(b"\r\n\r\n") or head == b"\r\n" else b""
    return b"".join([field for field in fields(head) if name_of(field) not in names]) + end


def tight(head: bytes) -> bytes:
    """`head` without white space between a field's name and its colon (RFC 5322 4.5 reads it, 3.6 never writes it)."""
    return _LOOSE.sub(rb"\1:", head) if b" :" in head or b"\t:" in head else head


def cut_to(head: bytes, limit: int) -> bytes:
    """Each field cut at `limit` bytes, as header_size_limit has it."""
    end = b"\r\n" if head.endswith(b"\r\n\r\n") or head == b"\r\n" else b""
    return b"".join([f if len(f) <= limit else f[:limit].rstrip(b"\r\n") + b"\r\n" for f in fields(head)]) + end


def with_fields(head: bytes, added: Iterable[str]) -> bytes:
    """`head` with more fields at its end."""
    block = "".join(f"{field}\r\n" for field in added).encode("utf-8", "surrogateescape")
    if head.endswith(b"\r\n\r\n") or head == b"\r\n":
        return head[:-2] + block + b"\r\n"
    return head + block
