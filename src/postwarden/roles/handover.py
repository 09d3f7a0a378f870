"""What the master opens for roles that may not: the log, and files that only root may read.

A file goes as a memfd, a copy in memory without a path: the role reads `/proc/self/fd/N` and never gets the right to
open anything beside it. `changed` looks at the files once in a while; a renewed key is handed over without a restart.
"""

import contextlib
import errno
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from postwarden.config.errors import ConfigError
from postwarden.config.settings import Settings
from postwarden.net.watched import version
from postwarden.spool.layout import spool_directory

_SECRETS = ("key_file", "cert_file", "chain_files", "eckey_file", "eccert_file", "dkey_file", "dcert_file", "CAfile")
_SECRET_PARAMETERS = {
    command: tuple(f"{command}_tls_{name}" for name in _SECRETS) for command in ("smtpd", "smtp", "lmtp")
}
_SYSLOG = "/dev/log"
_DEFINED = re.compile(r"\b(?:mysql|pgsql|ldap|sqlite|memcache|mongodb):([./][^\s,{}]+)")
_DEPTH = 4
_LONGEST = 1 << 20


class Handover:
    """The files that `settings` names and that others than root may not read: keys, and definitions of tables, which
    hold the passwords of data bases."""

    def __init__(self, settings: Settings) -> None:
        keys: dict[str, None] = {}
        self._missing: dict[str, None] = {}
        """Certificates and keys that are yet to be made."""
        for command, names in _SECRET_PARAMETERS.items():
            services = ["", *(s.key for s in settings.services if s.command == command)]
            for path in _files(settings, names, services):
                if path.startswith("/") and _is_private(path):
                    keys[path] = None
                elif path.startswith("/") and not os.path.exists(path):
                    self._missing[path] = None
        self.tables = tuple(_definitions(settings))
        """What a role needs that has no business with keys."""
        self.paths = tuple(keys | dict.fromkeys(self.tables))
        self._seen = {path: version(path) for path in self.paths}

    def descriptors(self, paths: tuple[str, ...] | None = None) -> list[int]:
        """A memfd for each path. A file that is gone by now is handed over empty: whoever reads it says so.
        Raises OSError."""
        fds: list[int] = []
        try:
            for path in self.paths if paths is None else paths:
                fds += [_copy(path)]
        except OSError:
            for fd in fds:
                os.close(fd)
            raise
        return fds

    def changed(self) -> tuple[str, ...]:
        """The paths whose file is another than at the last call. One that was not there counts once it is."""
        for path in [path for path in self._missing if os.path.exists(path)]:
            del self._missing[path]
            if _is_private(path):
                self.paths += (path,)
                self._seen[path] = (0, 0, 0)
        now = {path: version(path) for path in self.paths}
        changed = tuple(path for path in self.paths if now[path] != self._seen[path])
        self._seen = now
        return changed


class LogTarget:
    """Where the log goes: `maillog_file`, syslog's socket, or, where neither is to be had, a file in our directory."""

    def __init__(self, settings: Settings) -> None:
        name = settings.text("maillog_file")
        self.path = ""
        self.fd = -1
        if not name and _is_socket(_SYSLOG):
            self.to = _SYSLOG
            return
        self.to = "fd"
        self.path = name or os.path.join(spool_directory(settings.text("queue_directory")), "maillog")
        if self.path in ("/dev/stdout", "/dev/stderr"):
            self.fd = _own(1 if self.path == "/dev/stdout" else 2)
        else:
            self.fd = _open_log(self.path, trusted=bool(name))

    def descriptors(self) -> list[int]:
        """For `Start`, which closes what it is given."""
        return [os.dup(self.fd)] if self.to == "fd" else []

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def _files(settings: Settings, names: tuple[str, ...], services: list[str]) -> Iterator[str]:
    for name in names:
        for service in services:
            yield from settings.text(name, service).replace(",", " ").split()


def _own(fd: int) -> int:
    """Standard output or error, opened anew where that is possible (a socket can't be): O_NONBLOCK belongs to the open
    file, and whoever started us may have the same one."""
    try:
        return os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return os.dup(fd)


def _open_log(path: str, *, trusted: bool) -> int:
    """`trusted`: the operator named it. Else it is in the spool's directory, which belongs to the roles: a link that
    one of them put there must not have root write, and hand over, a file of somebody else."""
    # O_NONBLOCK is for a FIFO: one that nobody reads is an error at start and a failed write later, and no standstill.
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
    if trusted:
        return os.open(path, flags, 0o640)
    fd = os.open(path, flags | os.O_NOFOLLOW, 0o640)
    state = os.fstat(fd)
    if not stat.S_ISREG(state.st_mode) or state.st_nlink != 1:
        os.close(fd)
        raise PermissionError(errno.EPERM, "not a regular file with one name", path)
    return fd


def _definitions(settings: Settings) -> dict[str, None]:
    """Private files that define a table, those that such a file names among them."""
    found: dict[str, None] = {}
    names = {("", name) for name in settings.entries}
    names |= {(service.key, name) for service in settings.services for name in service.overrides}
    for service, name in sorted(names):
        with contextlib.suppress(ConfigError):
            _gather(settings.text(name, service), settings.config_directory, found)
    return found


def _gather(text: str, directory: str, found: dict[str, None], depth: int = 0) -> None:
    for match in _DEFINED.finditer(text):
        path = os.path.join(directory, match[1])
        if path in found or depth > _DEPTH or not _is_private(path):
            continue
        found[path] = None
        try:
            with open(path, encoding="utf-8", errors="replace") as stream:
                _gather(stream.read(_LONGEST), directory, found, depth + 1)
        except OSError:
            continue


def _is_private(path: str) -> bool:
    try:
        return not os.stat(path).st_mode & stat.S_IROTH
    except OSError:
        return False


def _is_socket(path: str) -> bool:
    try:
        return stat.S_ISSOCK(os.stat(path).st_mode)
    except OSError:
        return False


def _copy(path: str) -> int:
    fd = os.memfd_create(os.path.basename(path) or "file", os.MFD_CLOEXEC)
    try:
        os.write(fd, Path(path).read_bytes())
    except OSError:
        os.ftruncate(fd, 0)
    return fd
