"""Versions of the sources' files, their states, and the history: small files in one directory of root's.

    lock                     held by whoever merges
    history                  what happened: one JSON object a line, synced before it is believed
    state                    JSON: of each source what is in force, what is held, what was refused
    sources/NAME/N           version N of a source, as it came
    installed/N              the merged aliases of install N; installed/N.virtual those with domains

Everything but the history is written beside, synced and renamed: a kill leaves the old or the new.
"""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator

import msgspec
from msgspec import Struct

from postwarden.config.durable import sync_directory

GONE = -1
"""The version number of a source that is not there any more."""
_WAIT = 0.05


class Busy(Exception):
    """Somebody else merges; the text says who."""


class SourceState(Struct):
    good: int = 0
    """The version in force; 0: none has come yet; GONE: that there is none any more was confirmed."""
    held: int = 0
    """The version that waits for `confirm`; GONE: the file has disappeared."""
    why_held: str = ""
    latest: str = ""
    """SHA-256 of what came last, so that the same is not judged again."""
    refused: tuple[str, ...] = ()
    """SHA-256 of versions that a rollback took away: they don't come back by themselves."""
    arrived: float = 0.0
    """When the version in force came; seconds since the epoch, as all times here."""
    seen: float = 0.0
    """When the source was last found, whatever it held."""
    asked: float = 0.0
    """When it was last asked for."""
    fault: str = ""
    """Why it could not be had when it was last asked for."""
    unfit: str = ""
    """Why what came last can't be used."""


class State(Struct):
    sources: dict[str, SourceState] = {}
    install: int = 0
    """Number of the last install."""


class Happening(Struct, frozen=True, omit_defaults=True):
    """A line of the history."""

    time: float
    what: str
    """arrived, held, unfit, confirmed, rolled back, installed."""
    who: str
    why: str = ""
    source: str = ""
    version: int = 0
    entries: int = 0
    sha256: str = ""
    versions: dict[str, int] = {}
    """Of an install: the version of each source."""


class Store:
    """All methods raise OSError; those that change something are for who holds the lock."""

    def __init__(self, directory: str) -> None:
        self.directory = directory

    def prepare(self) -> None:
        """Make what is missing. Who can write here decides who gets whose mail."""
        for path in ("", "sources", "installed"):
            os.makedirs(os.path.join(self.directory, path), mode=0o755, exist_ok=True)
        status = os.stat(self.directory)
        if status.st_uid not in (0, os.geteuid()) or status.st_mode & 0o022:
            raise PermissionError(1, "must be root's, or yours, and nobody else's to write", self.directory)

    @contextlib.contextmanager
    def locked(self, seconds: float) -> Iterator[None]:
        """Raises Busy after `seconds`."""
        fd = os.open(os.path.join(self.directory, "lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            self._lock(fd, time.monotonic() + seconds)
            os.ftruncate(fd, 0)
            os.pwrite(fd, b"%d\n" % os.getpid(), 0)
            yield
        finally:
            os.close(fd)

    def _lock(self, fd: int, until: float) -> None:
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if time.monotonic() >= until:
                    pid = os.pread(fd, 20, 0).decode(errors="replace").strip()
                    raise Busy(f"another merge is at work (process {pid})") from None
                time.sleep(_WAIT)

    def state(self) -> State:
        """Raises OSError, ValueError for a file that nobody of ours has written."""
        try:
            data = _read(os.path.join(self.directory, "state"))
        except FileNotFoundError:
            return State()
        try:
            return msgspec.json.decode(data, type=State)
        except msgspec.DecodeError as error:
            raise ValueError(f"{self.directory}/state: {error}") from error

    def keep_state(self, state: State) -> None:
        write(os.path.join(self.directory, "state"), msgspec.json.format(msgspec.json.encode(state)), 0o644)

    def add_version(self, source: str, data: bytes) -> int:
        """The number of the new version."""
        os.makedirs(os.path.join(self.directory, "sources", source), mode=0o755, exist_ok=True)
        number = max(self.versions(source), default=0) + 1
        write(self._version(source, number), data, 0o644)
        return number

    def version(self, source: str, number: int) -> bytes:
        return _read(self._version(source, number))

    def versions(self, source: str) -> list[int]:
        """In order."""
        try:
            names = os.listdir(os.path.join(self.directory, "sources", source))
        except FileNotFoundError:
            return []
        return sorted(int(name) for name in names if name.isdecimal())

    def forget(self, source: str, keep: int, needed: set[int]) -> None:
        """Remove the oldest versions beyond `keep`, but none of `needed`."""
        for number in self.versions(source)[:-keep]:
            if number not in needed:
                os.unlink(self._version(source, number))

    def add_install(self, number: int, aliases: bytes, virtual: bytes | None) -> None:
        write(self._install(number), aliases, 0o644)
        if virtual is not None:
            write(self._install(number) + ".virtual", virtual, 0o644)

    def install_text(self, number: int) -> bytes:
        """Of the aliases; empty where there is none."""
        try:
            return _read(self._install(number))
        except FileNotFoundError:
            return b""

    def forget_installs(self, last: int, keep: int) -> None:
        for name in os.listdir(os.path.join(self.directory, "installed")):
            number = name.partition(".")[0]
            if number.isdecimal() and int(number) <= last - keep:
                os.unlink(os.path.join(self.directory, "installed", name))

    def note(self, happening: Happening) -> None:
        """Add a line to the history. A half line of a crash before is ended first."""
        path = os.path.join(self.directory, "history")
        fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        try:
            size = os.fstat(fd).st_size
            broken = size and os.pread(fd, 1, size - 1) != b"\n"
            os.write(fd, b"\n" * bool(broken) + msgspec.json.encode(happening) + b"\n")
            os.fsync(fd)
        finally:
            os.close(fd)

    def history(self) -> list[Happening]:
        """In order; a line that a crash has cut is left out."""
        try:
            data = _read(os.path.join(self.directory, "history"))
        except FileNotFoundError:
            return []
        found = []
        for line in data.split(b"\n"):
            with contextlib.suppress(msgspec.DecodeError):
                if line:
                    found.append(msgspec.json.decode(line, type=Happening))
        return found

    def _version(self, source: str, number: int) -> str:
        return os.path.join(self.directory, "sources", source, str(number))

    def _install(self, number: int) -> str:
        return os.path.join(self.directory, "installed", str(number))


def write(path: str, data: bytes, mode: int) -> None:
    """In one step, and durable. Raises OSError."""
    beside = f"{path}.new{os.getpid()}"
    # What has that name is left by a crash, or was laid there by whoever may write in the directory: perhaps another
    # name of a file that is not to be touched.
    with contextlib.suppress(FileNotFoundError):
        os.unlink(beside)
    fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        try:
            _write_all(fd, data)
            os.fchmod(fd, mode)
            os.fsync(fd)
        finally:
            os.close(fd)
        os.rename(beside, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(beside)
        raise
    sync_directory(os.path.dirname(path))


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()
