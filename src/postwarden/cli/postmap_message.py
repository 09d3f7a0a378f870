"""`postmap -b`, `-h`, `-m`: a message as header_checks(5) and body_checks(5) see it, one key a header or line."""

import re
from collections.abc import Iterable, Iterator

_HEADER = re.compile(rb"([!-9;-~]+)[ \t]*:")
_TYPE = re.compile(rb"content-type[ \t]*:\s*([^\s;/]+)\s*/\s*([^\s;]+)", re.IGNORECASE)
_BOUNDARY = re.compile(rb';\s*boundary\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;]+))', re.IGNORECASE)

DEPTH = 100
"""mime_nesting_limit: deeper parts are a body."""


def message_keys(lines: Iterable[bytes], *, headers: bool, body: bool, mime: bool) -> Iterator[bytes]:
    """The keys of a message. A header of several lines is one key. `mime`: attachments have headers, too; else all
    that follows the first header is body."""
    for is_header, key in _Scanner(mime).run(lines):
        if headers if is_header else body:
            yield key


class _Scanner:
    def __init__(self, mime: bool) -> None:
        self._mime = mime
        self._boundaries: list[tuple[bytes, bool]] = []
        self._digest = False

    def run(self, lines: Iterable[bytes]) -> Iterator[tuple[bool, bytes]]:
        """(is it a header, the key without its last newline)."""
        header: list[bytes] | None = []
        primary = True
        for line in lines:
            boundary = self._boundary(line) if self._mime and not primary else None
            if header is not None and boundary is None:
                if header and line[:1] in (b" ", b"\t"):
                    header[-1] += b"\n" + line
                    continue
                if found := _HEADER.match(line):
                    if header:
                        yield True, header[-1]
                    header.append(found[1] + line[found.end() - 1 :])
                    continue
            if header is not None:
                if header:
                    yield True, header[-1]
                if primary and line:
                    yield False, b""
                nested = self._mime and self._enter(header) and not line
                primary, header = False, [] if nested else None
            yield False, line
            if boundary is not None:
                header = [] if boundary else None
        if header:
            yield True, header[-1]

    def _enter(self, headers: list[bytes]) -> bool:
        """What the headers of a part say of its body; True: a message with headers of its own."""
        kind, digest = None, self._digest
        self._digest = False
        for header in headers:
            if found := _TYPE.match(header):
                kind = found[1].lower(), found[2].lower()
                if kind[0] == b"multipart" and len(self._boundaries) < DEPTH and (mark := _BOUNDARY.search(header)):
                    text = re.sub(rb"\\(.)", rb"\1", mark[1]) if mark[1] is not None else mark[2]
                    self._boundaries.append((b"--" + text, kind[1] == b"digest"))
        return kind == (b"message", b"rfc822") or (kind is None and digest)

    def _boundary(self, line: bytes) -> bool | None:
        """True where a part begins, False where the last has ended; None: no boundary."""
        if not line.startswith(b"--"):
            return None
        for at in range(len(self._boundaries) - 1, -1, -1):
            mark, digest = self._boundaries[at]
            if line.startswith(mark):
                last = line[len(mark) :].startswith(b"--")
                del self._boundaries[at if last else at + 1 :]
                self._digest = digest and not last
                return not last
        return None
