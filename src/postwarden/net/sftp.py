"""Fetching files by SFTP with the system's OpenSSH client: keys only, one pinned host key, nothing else of what ssh can
do. The client runs as the owner of its key, so that a key of an unprivileged user keeps root out of the conversation.
"""

import contextlib
import os
import pwd
import resource
import shutil
import signal
import subprocess
import tempfile
import time
from typing import Protocol

from msgspec import Struct

_AT_ONCE = 8
_LATE = 5.0
"""Seconds beyond its own time-outs after which a client is killed."""
_SAID = 400


class Failed(Exception):
    """The file could not be had; the text says why."""


class NoSuchFile(Failed):
    """The server is there and does not have the file."""


class HostKey(Protocol):
    @property
    def type(self) -> str: ...
    @property
    def data(self) -> str:
        """base64."""


class Place(Protocol):
    """Where a file is, and who may answer. Its texts are checked: none can be taken for an option or a pattern."""

    @property
    def user(self) -> str: ...
    @property
    def host(self) -> str: ...
    @property
    def port(self) -> int: ...
    @property
    def path(self) -> str: ...
    @property
    def key(self) -> str: ...
    @property
    def host_keys(self) -> "tuple[HostKey, ...]": ...


class _Client(Struct):
    process: "subprocess.Popen[bytes]"
    directory: str
    until: float


def fetch(places: "list[tuple[str, Place]]", limit: int, seconds: int) -> "dict[str, bytes | Failed]":
    """The content of each file by its name, or why not. Several are fetched at once; a server that hangs costs its own
    time only. `limit`: bytes; `seconds`: for one file."""
    waiting = list(reversed(places))
    at_work: dict[str, _Client] = {}
    done: dict[str, bytes | Failed] = {}
    try:
        while waiting or at_work:
            while waiting and len(at_work) < _AT_ONCE:
                name, place = waiting.pop()
                try:
                    at_work[name] = _start(place, limit, seconds)
                except (OSError, Failed) as error:
                    done[name] = error if isinstance(error, Failed) else Failed(f"sftp: {error}")
            for name, client in list(at_work.items()):
                result = _look(client, limit)
                if result is not None:
                    done[name] = result
                    _end(at_work.pop(name))
            time.sleep(0.02)
    finally:
        for client in at_work.values():
            _end(client)
    return done


def options(known_hosts: str, key: str, seconds: int) -> list[str]:
    """Of ssh(1): no configuration file, no agent, no password, no forwarding, no other host key than the pinned."""
    settings = {
        "BatchMode": "yes", "StrictHostKeyChecking": "yes", "UserKnownHostsFile": known_hosts,
        "GlobalKnownHostsFile": "/dev/null", "UpdateHostKeys": "no", "CheckHostIP": "no", "VerifyHostKeyDNS": "no",
        "HostKeyAlias": "source", "IdentitiesOnly": "yes", "IdentityFile": key, "IdentityAgent": "none",
        "PreferredAuthentications": "publickey", "PasswordAuthentication": "no",
        "KbdInteractiveAuthentication": "no", "ForwardAgent": "no", "ForwardX11": "no", "ClearAllForwardings": "yes",
        "PermitLocalCommand": "no", "ControlMaster": "no", "ControlPath": "none", "ProxyCommand": "none",
        "ConnectTimeout": str(seconds), "ConnectionAttempts": "1", "ServerAliveInterval": str(max(seconds // 3, 1)),
        "ServerAliveCountMax": "2", "LogLevel": "ERROR",
    }  # fmt: skip
    words = ["-F", "none"]
    for name, value in settings.items():
        words += ["-o", f"{name}={value}"]
    return words


def _start(place: Place, limit: int, seconds: int) -> _Client:
    """Raises OSError, Failed."""
    try:
        status = os.stat(place.key)
        owner = pwd.getpwuid(status.st_uid)
    except OSError as error:
        raise Failed(f"key {place.key}: {error.strerror}") from error
    except KeyError:
        raise Failed(f"key {place.key}: nobody has its uid") from None
    if status.st_mode & 0o077:
        raise Failed(f"key {place.key}: others can read it: chmod go= {place.key}")
    directory = tempfile.mkdtemp(prefix="pw-sftp-")
    try:
        hosts = os.path.join(directory, "known_hosts")
        with open(hosts, "w") as file:
            file.writelines(f"source {key.type} {key.data}\n" for key in place.host_keys)
        other = os.geteuid() == 0 and status.st_uid != 0
        if other:
            os.chown(directory, status.st_uid, owner.pw_gid)
            os.chmod(hosts, 0o644)
        command = ["sftp", *options(hosts, place.key, seconds), "-P", str(place.port), "-b", "-"]
        host = f"[{place.host}]" if ":" in place.host else place.host
        with open(os.path.join(directory, "said"), "wb") as said:
            process = subprocess.Popen(
                [*command, f"{place.user}@{host}"],
                cwd=directory,
                env={"PATH": os.defpath, "HOME": directory, "LC_ALL": "C"},
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=said,
                start_new_session=True,
                user=status.st_uid if other else None,
                group=owner.pw_gid if other else None,
                extra_groups=[] if other else None,
                # A server that never ends its file must not fill the disk.
                preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit + 1, limit + 1)),
            )
    except BaseException:
        shutil.rmtree(directory, ignore_errors=True)
        raise
    if process.stdin is not None:
        with contextlib.suppress(OSError):
            process.stdin.write(f"get {place.path} got\n".encode())
            process.stdin.close()
    return _Client(process, directory, time.monotonic() + seconds + _LATE)


def _look(client: _Client, limit: int) -> bytes | Failed | None:
    """None: it is not done yet."""
    code = client.process.poll()
    if code is None:
        return Failed("no answer in time") if time.monotonic() > client.until else None
    got = os.path.join(client.directory, "got")
    if code == 0:
        try:
            fd = os.open(got, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            return Failed(f"sftp: {error}")
        with open(fd, "rb") as file:
            data = file.read(limit + 1)
        return data if len(data) <= limit else Failed(f"larger than {limit} bytes")
    return _why(client, got, limit)


def _why(client: _Client, got: str, limit: int) -> Failed:
    said = ""
    with contextlib.suppress(OSError), open(os.path.join(client.directory, "said"), "rb") as file:
        said = file.read(4000).decode("utf-8", "replace")
    lines = [line.strip() for line in said.splitlines() if line.strip() and "@@@" not in line]
    # The reason comes last; before it, ssh may be eloquent.
    text = "".join(c if c.isprintable() else "?" for c in "; ".join(lines[-3:]))[-_SAID:]
    if ("not found" in text and "File " in text) or "No such file" in text:
        return NoSuchFile(text)
    with contextlib.suppress(OSError):
        if os.path.getsize(got) > limit:
            return Failed(f"larger than {limit} bytes")
    return Failed(text or f"sftp: exit status {client.process.returncode}")


def _end(client: _Client) -> None:
    if client.process.poll() is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(client.process.pid, signal.SIGKILL)
    client.process.wait()
    shutil.rmtree(client.directory, ignore_errors=True)
