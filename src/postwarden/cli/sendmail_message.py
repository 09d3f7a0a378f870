"""The message that `sendmail` is given: its content as it is handed on, and the addresses that its command line and its
header name."""

import os
import re
from collections.abc import Iterable, Iterator
from io import BytesIO
from typing import BinaryIO

from postwarden.cli.tool import Refusal
from postwarden.content.addresses import addresses_in

_READ = 64 << 10
_IN_MEMORY = 1 << 20
_HEAD = 16 << 20
_LINE_END = re.compile(rb"\r+\n")
_FROM = re.compile(rb">*From ")
_MAYBE_FROM = re.compile(rb">*(?:F(?:r(?:om?)?)?)?\Z")
_FIELD = re.compile(rb"([!-9;-~]+)[ \t]*:")
_RECIPIENTS = (b"to", b"cc", b"bcc")
TOO_BIG = "message file too big"


class Content:
    """What standard input gave, kept whole: it is sent from the beginning, perhaps twice."""

    def __init__(self, chunks: Iterable[bytes], limit: int) -> None:
        """`limit`: of its bytes, 0 for none. Raises Refusal for one that is too big, OSError."""
        self._file: BinaryIO = BytesIO()
        try:
            self._take(chunks, limit)
        except BaseException:
            self.close()
            raise

    def _take(self, chunks: Iterable[bytes], limit: int) -> None:
        size = 0
        for data in chunks:
            if size <= _IN_MEMORY < size + len(data):
                self._to_disk()
            size += len(data)
            if 0 < limit < size:
                raise Refusal(TOO_BIG)
            self._file.write(data)

    def _to_disk(self) -> None:
        # Few messages are so large, and each start would pay for it.
        from tempfile import TemporaryFile

        memory, self._file = self._file, TemporaryFile()  # noqa: SIM115
        memory.seek(0)
        while data := memory.read(_READ):
            self._file.write(data)

    def close(self) -> None:
        self._file.close()

    def __iter__(self) -> Iterator[bytes]:
        self._file.seek(0)
        while data := self._file.read(_READ):
            yield data

    def head(self) -> bytes:
        """So much of it that the header is in it, as far as it is not absurdly long."""
        self._file.seek(0)
        data = bytearray()
        while len(data) < _HEAD and (more := self._file.read(_READ)):
            seen = max(len(data) - 1, 0)
            data += more
            if data.find(b"\n\n", seen) >= 0:
                break
        return bytes(data)


def read(fd: int) -> Iterator[bytes]:
    while data := os.read(fd, _READ):
        yield data


def cleaned(chunks: Iterable[bytes], *, dot_ends: bool, fix: str) -> Iterator[bytes]:
    """Without `From ` lines at the top, up to a line that is a dot if `dot_ends`, and with LF line ends as far as `fix`
    (sendmail_fix_line_endings) wants it."""
    hold, begun, at_line = b"", False, True
    strip = {"always": True, "never": False}.get(fix)
    for chunk in chunks:
        data = hold + chunk
        hold = b""
        if strip is None:
            # `strict`: as the first line ends, all do.
            end = data.find(b"\n")
            if end < 0 and len(data) < _READ:
                hold = data
                continue
            strip = data[:end].endswith(b"\r")
        if strip:
            kept = data.rstrip(b"\r")
            hold, data = data[len(kept) :], kept
            if b"\r" in data:
                data = _LINE_END.sub(b"\n", data)
        if not begun:
            data, wait = _without_from_lines(data)
            if wait:
                hold = data + hold
                continue
            begun = True
        if dot_ends and b"." in data:
            data, over, dot = _until_dot(data, at_line=at_line)
            hold = dot + hold
            if over:
                yield data
                return
        if data:
            at_line = data.endswith(b"\n")
            yield data
    if hold and not (dot_ends and at_line and hold.rstrip(b"\r") == b"."):
        yield hold


def _without_from_lines(data: bytes) -> tuple[bytes, bool]:
    """What is left, and whether more must be seen to know."""
    while _FROM.match(data):
        end = data.find(b"\n")
        if end < 0:
            return data, True
        data = data[end + 1 :]
    return data, not data or _MAYBE_FROM.match(data) is not None


def _until_dot(data: bytes, *, at_line: bool) -> tuple[bytes, bool, bytes]:
    """(what comes before, whether that is all, a dot at the end that may be the last line)."""
    if at_line and data.startswith(b".\n"):
        return b"", True, b""
    end = data.find(b"\n.\n")
    if end >= 0:
        return data[: end + 1], True, b""
    if data.endswith(b"\n.") or (at_line and data == b"."):
        return data[:-1], False, b"."
    return data, False, b""


def recipients_in(head: bytes) -> list[str]:
    """The addresses of To, Cc and Bcc, or of their Resent- forms where there is one (sendmail -t)."""
    plain: list[str] = []
    resent: list[str] | None = None
    for name, value in _fields(head):
        again = name.startswith(b"resent-")
        if name.removeprefix(b"resent-") not in _RECIPIENTS:
            continue
        addresses = parse_addresses(value.decode("utf-8", "surrogateescape"))
        if again:
            resent = [*(resent or ()), *addresses]
        else:
            plain += addresses
    return plain if resent is None else resent


def _fields(head: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(name in lower case, value) up to the first line that is no part of a header."""
    name, lines = b"", [b""]
    for line in head.split(b"\n"):
        found = _FIELD.match(line)
        if found is not None:
            if name:
                yield name, b" ".join(lines)
            name, lines = found[1].lower(), [line[found.end() :]]
        elif name and line[:1] in (b" ", b"\t"):
            lines.append(line)
        else:
            break
    if name:
        yield name, b" ".join(lines)


def parse_addresses(text: str) -> list[str]:
    """The addresses of a list as people write it; line breaks are blanks."""
    return addresses_in(text.translate({10: " ", 13: " "}))
