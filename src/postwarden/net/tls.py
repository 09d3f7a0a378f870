"""TLS when we are the server: certificates, what is allowed, and a renewed certificate without a restart.

Each service has contexts of its own, and so session tickets of its own: a ticket that the submission port gave out
resumes nothing on port 25 (Postfix shared them until August 2026).
"""

import os
import ssl
from collections.abc import Callable, Mapping

from msgspec import Struct

from postwarden.net.clock import Clock
from postwarden.net.stream import Stream
from postwarden.net.tls_client import TlsSettings, TlsSettingsError, limit

_LOOK_EVERY = 1.0
_MAX_FILE = 1 << 20


class ServerTlsSettings(Struct, frozen=True):
    """Postfix's smtpd_tls_ parameters of that meaning. Files are PEM."""

    policy: TlsSettings = TlsSettings()
    """Protocols, ciphers, exclusions; its certificate is not used."""
    cert_file: str = ""
    key_file: str = ""
    chain_files: tuple[str, ...] = ()
    """Each with a key and its chain, or the key and the chain in two files that follow each other. Instead of
    cert_file and key_file."""


class ServerTls:
    """One service's TLS. `where` translates a path of the configuration into the one to open (`Life.files`)."""

    def __init__(
        self,
        settings: ServerTlsSettings,
        clock: Clock,
        on_problem: Callable[[str], None],
        where: Mapping[str, str] | None = None,
    ) -> None:
        """Raises TlsSettingsError, whose text names the file."""
        self._settings = settings
        self._clock = clock
        self._on_problem = on_problem
        self._where: Mapping[str, str] = {} if where is None else where
        self._seen = self._versions()
        self._context = server_context(settings, self._where)
        self._look_again = 0.0

    @property
    def context(self) -> ssl.SSLContext:
        """For the next handshake. Looks at the files once a second; a certificate that can't be loaded is reported,
        and the old one stays."""
        if self._clock.monotonic() >= self._look_again:
            self._look_again = self._clock.monotonic() + _LOOK_EVERY
            versions = self._versions()
            if versions != self._seen:
                self._seen = versions
                self.reload()
        return self._context

    def reload(self) -> None:
        """Load the files again. A problem is reported, and the old certificate stays."""
        try:
            self._context = server_context(self._settings, self._where)
        except TlsSettingsError as error:
            self._on_problem(f"{error}; the certificate that was loaded before stays in use")

    def start(self, stream: Stream) -> None:
        stream.start_tls(self.context, server_side=True)

    def _versions(self) -> tuple[tuple[int, int, int], ...]:
        settings = self._settings
        files = settings.chain_files or (settings.cert_file, settings.key_file)
        return tuple(_version(self._where.get(file, file)) for file in files if file)


def server_context(settings: ServerTlsSettings, where: Mapping[str, str]) -> ssl.SSLContext:
    """Raises TlsSettingsError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.num_tickets = 1  # a mail client keeps one session a server; each ticket costs 30 µs
    try:
        limit(context, settings.policy)
    except (OSError, ssl.SSLError) as error:
        raise TlsSettingsError(f"TLS server: {error}") from error
    pairs = _pairs(settings, where)
    if not pairs:
        raise TlsSettingsError("TLS server: no certificate is configured")
    for cert_file, key_file in pairs:
        try:
            context.load_cert_chain(where.get(cert_file, cert_file), where.get(key_file, key_file) or None)
        except (OSError, ssl.SSLError) as error:
            names = cert_file if key_file in ("", cert_file) else f"{cert_file}, {key_file}"
            raise TlsSettingsError(f"TLS certificate: {names}: {error}") from error
    return context


def _pairs(settings: ServerTlsSettings, where: Mapping[str, str]) -> list[tuple[str, str]]:
    """(certificates, key) files. Raises TlsSettingsError."""
    if not settings.chain_files:
        return [(settings.cert_file, settings.key_file)] if settings.cert_file else []
    pairs, key = [], ""
    for file in settings.chain_files:
        text = _read(where.get(file, file), file)
        has_key = b"PRIVATE KEY-----" in text
        if b"-----BEGIN CERTIFICATE-----" in text:
            if not has_key and not key:
                raise TlsSettingsError(f"TLS certificate: {file}: no private key in it, nor in a file before it")
            pairs.append((file, file if has_key else key))
            key = ""
        elif has_key:
            key = file
        else:
            raise TlsSettingsError(f"TLS certificate: {file}: neither a certificate nor a private key")
    if key:
        raise TlsSettingsError(f"TLS certificate: {key}: no certificate for this key")
    return pairs


def _read(path: str, name: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(_MAX_FILE)
    except OSError as error:
        raise TlsSettingsError(f"TLS certificate: {name}: {error.strerror}") from error


def _version(path: str) -> tuple[int, int, int]:
    try:
        status = os.stat(path)
    except OSError:
        return (0, 0, 0)
    return (status.st_mtime_ns, status.st_ino, status.st_size)
