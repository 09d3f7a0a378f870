"""The files of the store. Each writer has its own, appends to it and begins another when it is large; the courier
removes the oldest, so that the whole stays within its bounds.

A record is its size (four bytes, big endian) and its msgpack. A file may end within a record: a crash cuts it off.
"""

import contextlib
import os
import re
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from postwarden.trace.records import Record

FILE_SIZE = 8 << 20
_NAME = re.compile(r"([0-9]{13})-([a-z]+[0-9]*)\.trace")
_LARGEST = 1 << 20
"""Bytes of a record; a size beyond it is damage."""
_PAUSE = 60.0
_PACE = 500
Place = tuple[str, int]
"""Between two records: the file's name, and the byte in it."""
BEGIN: Place = ("", 0)


def directory(spool: str) -> str:
    return os.path.join(spool, "trace")


class Writer:
    """Records of one process. Nothing here ever stops mail: what can't be written is dropped, and `warn` says so."""

    def __init__(self, path: str, name: str, now: Callable[[], float], warn: Callable[[str], None]) -> None:
        """`path`: the directory; `name`: lower case letters, then digits, as in `receiver1`."""
        self._path = path
        self._name = name
        self._now = now
        self._warn = warn
        self._encoder = msgspec.msgpack.Encoder()
        self._records: list[Record] = []
        self._fd = -1
        self._size = 0
        self._quiet_until = 0.0

    def add(self, record: Record) -> None:
        """Keep it; `flush` writes."""
        self._records.append(record)

    @property
    def waiting(self) -> bool:
        return bool(self._records)

    def flush(self) -> None:
        records, self._records = self._records, []
        if not records:
            return
        out = bytearray()
        for record in records:
            try:
                data = self._encoder.encode(record)
            except UnicodeEncodeError:  # a database, or a full name of passwd(5), may have any bytes
                data = self._encoder.encode(_encodable(record))
            if len(data) <= _LARGEST:
                out += len(data).to_bytes(4) + data
        try:
            self._write(bytes(out))
        except OSError as error:
            self._close()
            now = self._now()
            if now >= self._quiet_until:
                self._quiet_until = now + _PAUSE
                self._warn(f"decisions can't be recorded: {error.strerror}: {error.filename or self._path}")

    def close(self) -> None:
        self.flush()
        self._close()

    def _write(self, data: bytes) -> None:
        # `sweep` takes an old file away from who had nothing to write for long.
        if self._fd < 0 or self._size >= FILE_SIZE or not os.fstat(self._fd).st_nlink:
            self._begin()
        written = os.write(self._fd, data)
        self._size += written
        if written < len(data):
            # Half a record is the end of a file.
            self._close()

    def _begin(self) -> None:
        self._close()
        with contextlib.suppress(FileExistsError):
            os.mkdir(self._path)
            os.chmod(self._path, 0o750)  # whatever the umask
        name = f"{int(self._now() * 1000):013d}-{self._name}.trace"
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        self._fd = os.open(os.path.join(self._path, name), flags, 0o640)
        os.fchmod(self._fd, 0o640)
        self._size = os.fstat(self._fd).st_size

    def _close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def read(path: str, wanted: Callable[[bytes], bool] = lambda data: True) -> Iterator[Record]:
    """All records, file by file, the oldest first. `wanted` sees the encoded record: what it does not want is not
    decoded. Passed over: a record that can't be decoded, a file that goes away meanwhile; a size that can't be ends a
    file. Raises OSError for a directory that can't be read."""
    for record, _, _ in scan(path, wanted):
        yield record


def scan(
    path: str,
    wanted: Callable[[bytes], bool] = lambda data: True,
    *,
    file_wanted: Callable[[str, bytes], bool] = lambda file, data: True,
    after: Place = BEGIN,
    pace: Callable[[], None] = lambda: None,
) -> Iterator[tuple[Record, bytes, Place]]:
    """The same with each record as it is written, and where the next one is: from there `after` goes on. `file_wanted`
    is asked for whole files. `pace` is called often: between some hundred records, and between files."""
    decoder: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(Record)
    for name in _names(path):
        if name < after[0]:
            continue
        pace()
        file = os.path.join(path, name)
        try:
            with open(file, "rb") as stream:
                data = stream.read()
        except FileNotFoundError:
            continue
        if not file_wanted(file, data):
            continue
        at = after[1] if name == after[0] else 0
        looked = 0
        while at >= 0 and at + 4 <= len(data):
            size = int.from_bytes(data[at : at + 4])
            part = data[at + 4 : at + 4 + size]
            if not 0 < size <= _LARGEST or len(part) < size:
                break
            at += 4 + size
            if wanted(part):
                try:
                    record = decoder.decode(part)
                except (msgspec.DecodeError, UnicodeDecodeError):
                    pass  # damaged, or of another version; the next begins where this one's size says
                else:
                    yield record, part, (name, at)
            looked += 1
            if looked % _PACE == 0:
                pace()


def _encodable(value: Any) -> Any:
    """With `?` for what is no text."""
    match value:
        case str():
            return value.encode("utf-8", "replace").decode()
        case tuple():
            return tuple(map(_encodable, value))
        case msgspec.Struct():
            return type(value)(*[_encodable(getattr(value, name)) for name in value.__struct_fields__])
    return value


def sweep(path: str, now: float, *, seconds: float, size: int) -> None:
    """Remove what is older than `seconds`, and of the rest the oldest beyond `size` bytes, as far as that is allowed:
    a queue that was copied may have another owner."""
    kept = 0
    try:
        names = _names(path)
    except OSError:
        return
    for name in reversed(names):
        file = os.path.join(path, name)
        try:
            state = os.stat(file)
        except OSError:
            continue
        kept += state.st_size
        if kept > size or state.st_mtime < now - seconds:
            with contextlib.suppress(OSError):
                os.unlink(file)


def _names(path: str) -> list[str]:
    try:
        return sorted(name for name in os.listdir(path) if _NAME.fullmatch(name))
    except FileNotFoundError:
        return []
