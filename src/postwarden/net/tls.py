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
from postwarden.net.tls_settings import (
    TlsSettings,
    TlsSettingsError,
    chain_pairs,
    limit,
    load_authorities,
    load_certificates,
)

_LOOK_EVERY = 1.0


class ServerTlsSettings(Struct, frozen=True):
    """Postfix's smtpd_tls_ parameters of that meaning. Files are PEM."""

    settings: TlsSettings = TlsSettings()
    opportunistic: bool = False
    """Clients that can't do better are served in clear."""
    chain_files: tuple[str, ...] = ()
    """Each with a key and its chain, or the key and the chain in two files that follow each other. Instead of the
    certificates of `settings`."""
    dh_file: str = ""
    """Parameters of finite-field Diffie-Hellman; empty: no such ciphers (but those of TLS 1.3)."""


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
        files = settings.chain_files or tuple(file for pair in settings.settings.pairs for file in pair)
        return tuple(_version(self._where.get(file, file)) for file in files if file)


def server_context(settings: ServerTlsSettings, where: Mapping[str, str]) -> ssl.SSLContext:
    """Raises TlsSettingsError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    if not settings.settings.library.server_order:
        context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    context.num_tickets = 1  # a mail client keeps one session a server; each ticket costs 30 µs
    try:
        limit(context, settings.settings, weak=settings.opportunistic)
    except (OSError, ssl.SSLError) as error:
        raise TlsSettingsError(f"TLS server: {error}") from error
    pairs = _pairs(settings, where)
    if not pairs:
        raise TlsSettingsError("TLS server: no certificate is configured")
    load_authorities(context, settings.settings)
    load_certificates(context, pairs, where, "TLS certificate")
    if settings.dh_file:
        try:
            context.load_dh_params(where.get(settings.dh_file, settings.dh_file))
        except (OSError, ssl.SSLError) as error:
            raise TlsSettingsError(f"TLS parameters: {settings.dh_file}: {error}") from error
    return context


def _pairs(settings: ServerTlsSettings, where: Mapping[str, str]) -> list[tuple[str, str]]:
    """(certificates, key) files. Raises TlsSettingsError."""
    if not settings.chain_files:
        return list(settings.settings.pairs)
    return chain_pairs(settings.chain_files, where)


def _version(path: str) -> tuple[int, int, int]:
    try:
        status = os.stat(path)
    except OSError:
        return (0, 0, 0)
    return (status.st_mtime_ns, status.st_ino, status.st_size)
