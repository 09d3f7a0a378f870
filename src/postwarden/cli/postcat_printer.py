"""How postcat(1) prints one queue file."""

import re
import sys
import time
from typing import BinaryIO

from msgspec import Struct

from postwarden.spool.postfix_records import ENVELOPE, BadRecord, Record, RecordReader, kind_name, shown

_HEADER = re.compile(rb"[!-9;-~]+[ \t]*:|[ \t]")
_NUMBER = re.compile(rb"[ \t\r\n\v\f]*([+-]?[0-9]+)")
_ATTRIBUTE = re.compile(rb"[ \t\r\n\v\f]*([^ \t\r\n\v\f=]+)[ \t\r\n\v\f]*(=)?[ \t\r\n\v\f]*(.*)", re.DOTALL)
_BLANK = b" \t\r\n\v\f"
_LONG_MAX = (1 << 63) - 1
_MARKERS = {"M": "MESSAGE CONTENTS", "X": "HEADER EXTRACTED", "E": "MESSAGE FILE END"}
_STRANGE = {"M": "message content marker", "X": "extracted segment marker", "E": "message end marker"}
_ENVELOPE, _HEADERS, _BODY = range(3)


class Refusal(Exception):
    """The command fails; the text is said as fatal, and the exit code is 1."""


class Options(Struct):
    program: str
    directory: str = ""
    body: bool = False
    envelope: bool = False
    header: bool = False
    offsets: bool = False
    kinds: bool = False
    queue: bool = False
    raw: bool = False
    verbose: bool = False
    start: int = 0

    def wants(self, part: int) -> bool:
        return (self.envelope, self.header, self.body)[part]


class Printer:
    def __init__(self, options: Options, name: str, file: BinaryIO, out: BinaryIO | None = None) -> None:
        """`file` is seekable; `out` is standard output, if it is not given."""
        self._options = options
        self._name = name
        self._file = file
        self._reader = RecordReader(file)
        self._part = _ENVELOPE
        self._part_of_line = False
        """What was printed last has no end of line yet."""
        self._size: tuple[int, int] | None = None
        """Of the content: how long it is, and where it begins."""
        self._out = out or sys.stdout.buffer
        self._waiting = b""
        """The first line, which comes with the first record and not without one."""

    def run(self) -> None:
        """Raises Refusal; damage is told where it is met, behind what could be read."""
        options = self._options
        if options.start:
            self._seek(options.start)
        else:
            first = self._file.read(1)
            self._file.seek(0)
            if first and chr(first[0]) not in ENVELOPE:
                self._warn("input is not a valid queue file")
                return
            if options.envelope:
                self._waiting = f"*** ENVELOPE RECORDS {self._name} ***\n".encode("utf-8", "surrogateescape")
        try:
            while (found := self._next()) is not None and self._show(*found):
                pass
        finally:
            self._out.flush()

    def _next(self) -> tuple[int, Record] | None:
        """The next record, and the offset that is told of it: of the pointer that led to it, where one did."""
        reader = self._reader
        at = reader.offset
        try:
            while (record := reader.next()) is not None:
                if self._options.verbose or record.kind not in "pw":
                    return at, record
                if record.kind == "p":
                    reader.follow(record)
        except (BadRecord, OSError) as error:
            self._warn(str(error))
            raise Refusal("record read error") from error
        return None

    def _show(self, at: int, record: Record) -> bool:
        """Print it, if it is wanted; False: no more is."""
        kind, options = record.kind, self._options
        if kind in _MARKERS:
            return self._marker(at, record)
        if kind == "C":
            if options.wants(self._part):
                self._print(at, record, self._plain(record))
            self._measure(record)
            return True
        if kind == "p":
            if options.wants(self._part):
                self._print(at, record, self._plain(record))
            self._jump(record)
            return True
        if kind in "NL" and self._part == _HEADERS and not self._part_of_line and not _HEADER.match(record.data):
            if not (options.header or options.body):
                return True
            self._part = _BODY
            if not options.body:
                if not options.envelope:
                    return False
                self._skip_content()
        if options.wants(self._part):
            self._print(at, record, self._text(record))
            self._part_of_line = kind == "L" and not (options.verbose or options.offsets or self._part == _ENVELOPE)
        return True

    # what is more than a line

    def _marker(self, at: int, record: Record) -> bool:
        kind, options = record.kind, self._options
        if (self._part == _ENVELOPE) == (kind == "X"):
            self._warn(f"out-of-order {_STRANGE[kind]}")
        if kind == "X" and options.wants(self._part) and self._part_of_line:
            self._write(b"\n")
        if options.envelope:
            line = f"*** {_MARKERS[kind]} {self._name} ***\n"
            self._print(at, record, line.encode("utf-8", "surrogateescape"))
        if kind == "E":
            return options.raw and options.verbose
        if kind == "X":
            self._part = _ENVELOPE
            return options.envelope
        if not (options.header or options.body):
            self._skip_content()
        self._part = _HEADERS
        return True

    def _measure(self, record: Record) -> None:
        """Note how long the content is and where it begins; go there if only it is wanted."""
        if self._size is not None:
            self._complain("file contains multiple size records")
            return
        size, offset = _two_numbers(record.text)
        self._size = (size, offset)
        if offset <= 0 or size <= 0:
            self._complain(f"invalid size record: {shown(record.text[:100])}")
        if not self._options.envelope:
            self._seek(offset)
            self._part = _HEADERS

    def _skip_content(self) -> None:
        # Forwards only: a damaged size would lead to the same records again and again.
        if self._size is not None and sum(self._size) > self._reader.offset and self._size[0] >= 0:
            self._seek(sum(self._size))

    def _jump(self, record: Record) -> None:
        if self._options.raw:
            return
        try:
            self._reader.follow(record)
        except (BadRecord, OSError) as error:
            self._warn(str(error))
            raise Refusal("bad pointer record, or input is not seekable") from error

    def _seek(self, offset: int) -> None:
        try:
            self._reader.seek(offset)
        except (OSError, ValueError, OverflowError) as error:
            raise Refusal("seek error: Invalid argument") from error

    # lines

    def _text(self, record: Record) -> bytes:
        """What is printed of a record, with the end of its line unless it has none."""
        kind, verbose = record.kind, self._options.verbose
        name = f"{kind_name(kind)}: ".encode()
        if kind == "L":
            if self._part == _ENVELOPE:
                return name + record.data + b"\n"
            if verbose:
                return b"unterminated_text: " + record.data + b"\n"
            return record.data + (b"\n" if self._options.offsets else b"")
        if kind in "Nw":
            return (name if verbose or kind == "w" else b"") + record.data + b"\n"
        if kind in "TW":
            return name + _when(record.text)
        if kind == "A":
            return self._attribute(record)
        return self._plain(record)

    def _attribute(self, record: Record) -> bytes:
        found = _ATTRIBUTE.match(record.text)
        if found is None or not found[2]:
            what = "missing attribute name" if found is None else "missing '=' after attribute name"
            self._warn(f"malformed attribute: {what}: {shown(record.text[:100])}")
            return b""
        if found[1] == b"create_time":
            return b"create_time: " + _when(found[3])
        return f"{kind_name('A')}: ".encode() + found[1] + b"=" + found[3].rstrip(_BLANK) + b"\n"

    @staticmethod
    def _plain(record: Record) -> bytes:
        return f"{kind_name(record.kind)}: ".encode() + record.text + b"\n"

    # output

    def _print(self, at: int, record: Record, text: bytes) -> None:
        options = self._options
        where = f"{at:9d} " if options.offsets else ""
        kind = f"{ord(record.kind):3d} " if options.kinds else ""
        self._write((where + kind).encode() + text)

    def _write(self, data: bytes) -> None:
        if self._waiting:
            data, self._waiting = self._waiting + data, b""
        self._out.write(data)

    def _warn(self, text: str) -> None:
        self._complain(f"{self._name}: {text}")

    def _complain(self, text: str) -> None:
        self._out.flush()
        print(f"{self._options.program}: warning: {text}", file=sys.stderr)


def _two_numbers(text: bytes) -> tuple[int, int]:
    """-1 for what is none."""
    first = _NUMBER.match(text)
    if first is None:
        return -1, -1
    second = _NUMBER.match(text, first.end())
    return _long(first[1]), _long(second[1]) if second is not None else -1


def _long(digits: bytes) -> int:
    return max(min(int(digits[:20]), _LONG_MAX), -_LONG_MAX)


def _when(text: bytes) -> bytes:
    """Seconds since the epoch as asctime(3) writes them."""
    number = _NUMBER.match(text)
    try:
        return time.asctime(time.localtime(int(number[1]) if number else 0)).encode() + b"\n"
    except (OverflowError, ValueError, OSError):
        return text + b"\n"
