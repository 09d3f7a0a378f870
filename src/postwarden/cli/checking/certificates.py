"""Certificates and keys: whether they are there, fit together, hold today, and are nobody else's to read."""

import errno
import os
import ssl
import stat
import time
from collections.abc import Iterator

from postwarden.cli.checking.findings import Finding, error, warning
from postwarden.config.settings import Settings
from postwarden.mail.decision import Origin

_SOON = 14 * 86400
"""Seconds before its end in which a certificate that renews itself should have been renewed."""
_NO_TLS = "TLS can't be used: clients that need it are refused, and others talk in clear"
_NO_CLIENT_TLS = "TLS can't be used: mail that has to be encrypted waits, and other mail goes in clear text"
_FIRST = "-----BEGIN CERTIFICATE-----"
_LAST = "-----END CERTIFICATE-----"


def findings(settings: Settings, now: float | None = None) -> Iterator[Finding]:
    seen: set[tuple[str, Origin]] = set()
    for prefix, service in _users(settings):
        for name in ("cert_file", "key_file", "chain_files", "eccert_file", "eckey_file", "dcert_file", "dkey_file"):
            parameter = f"{prefix}_tls_{name}"
            origin = settings.origin(parameter, service)
            for file in settings.text(parameter, service).replace(",", " ").split():
                known = (file, origin) in seen if origin.file else any(file == other for other, _ in seen)
                if file != "none" and not known:  # by default the key is in the certificate's file
                    seen.add((file, origin))
                    yield from _file(parameter, file, origin, time.time() if now is None else now)
        for name in ("CAfile", "CApath"):
            yield from _there(settings, f"{prefix}_tls_{name}", service, seen)


def _users(settings: Settings) -> Iterator[tuple[str, str]]:
    """(prefix, service) of everything that speaks TLS."""
    for service in settings.services:
        if service.command == "smtpd" and service.type != "unix":
            yield "smtpd", service.key
        elif service.command in ("smtp", "lmtp") and service.type != "inet":
            yield service.command, service.key


def _there(settings: Settings, name: str, service: str, seen: set[tuple[str, Origin]]) -> Iterator[Finding]:
    path, origin = settings.text(name, service), settings.origin(name, service)
    if not path.startswith("/") or (path, origin) in seen:
        return
    seen.add((path, origin))
    if os.path.exists(path):
        return
    if name == "smtpd_tls_CAfile":
        yield error(
            origin, what=f"{name}: {path}: {os.strerror(errno.ENOENT)}", why=_NO_TLS,
            cure="correct the path, or remove the line",
        )  # fmt: skip
    else:
        yield warning(
            origin, what=f"{name}: {path} does not exist", why="who shows a certificate can't be known",
            cure="correct the path, or remove the line",
        )  # fmt: skip


def _file(name: str, file: str, origin: Origin, now: float) -> Iterator[Finding]:
    try:
        state = os.stat(file)
        with open(file, encoding="ascii", errors="replace") as stream:
            text = stream.read(1 << 20)
    except PermissionError:
        return  # for another user; root reads it at start
    except OSError as reason:
        yield error(
            origin, what=f"{name}: {file}: {reason.strerror}",
            why=_NO_TLS if name.startswith("smtpd") else _NO_CLIENT_TLS,
            cure="correct the path, or have the certificate made",
        )  # fmt: skip
        return
    if "PRIVATE KEY-----" in text and state.st_mode & (stat.S_IROTH | stat.S_IWOTH):
        deed = "read" if state.st_mode & stat.S_IROTH else "replace"
        yield warning(
            origin, what=f"{name}: everybody on this machine may {deed} the private key in {file}",
            why="whoever has it can pass for this server", cure=f"chmod o-rwx {file}",
        )  # fmt: skip
    if _FIRST in text:
        yield from _dates(name, file, origin, now)


def _dates(name: str, file: str, origin: Origin, now: float) -> Iterator[Finding]:
    begins, ends = validity(file)
    cure = "renew it"
    if ends and now > ends:
        why = "clients that look at it refuse to talk to this server"
        yield error(origin, what=f"{name}: {file} expired on {_day(ends)}", why=why, cure=cure)
    elif ends and now > ends - _SOON:
        why = "a renewal that runs by itself would have been here"
        yield warning(origin, what=f"{name}: {file} expires on {_day(ends)}", why=why, cure=cure)
    elif now < begins:
        why = "clients that look at it refuse to talk to this server"
        yield error(origin, what=f"{name}: {file} is valid from {_day(begins)} on", why=why, cure="set the clock right")


def validity(file: str) -> tuple[float, float]:
    """Beginning and end of the first certificate of a PEM file, seconds since the epoch; zeros where OpenSSL can't
    read it, which is said when it is loaded."""
    try:
        # The standard library decodes a certificate's dates only in this place, which its own tests use.
        decoded = ssl._ssl._test_decode_cert(file)  # type: ignore[attr-defined]
        return ssl.cert_time_to_seconds(decoded["notBefore"]), ssl.cert_time_to_seconds(decoded["notAfter"])
    except (OSError, ValueError, KeyError, ssl.SSLError):
        return 0.0, 0.0


def _day(moment: float) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(moment))
