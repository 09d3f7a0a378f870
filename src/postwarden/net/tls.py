"""TLS when we are the server: certificates, what is allowed, and a renewed certificate without a restart.

Each service has contexts of its own, and so session tickets of its own: a ticket that the submission port gave out
resumes nothing on port 25 (Postfix shared them until August 2026).
"""

import contextlib
import os
import re
import ssl
from collections.abc import Callable, Iterator, Mapping, Sequence

from msgspec import Struct

from postwarden.net.clock import Clock
from postwarden.net.tls_settings import (
    TlsSettings,
    TlsSettingsError,
    chain_pairs,
    limit,
    load_authorities,
    load_certificates,
)
from postwarden.net.watched import Version, version

_LOOK_EVERY = 1.0
_MAX_NAMED = 500
"""Contexts for names, 100 KB each."""
_KEY = re.compile(rb"^-----BEGIN [A-Z ]*PRIVATE KEY-----", re.MULTILINE)


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
        named: Callable[[str], bytes | None] | None = None,
    ) -> None:
        """`named`: keys with their chains, as PEM, for the name that a client asks for; None: the usual ones."""
        self._settings = settings
        self._clock = clock
        self._on_problem = on_problem
        self._where: Mapping[str, str] = {} if where is None else where
        self._named = named
        self._by_pem: dict[bytes, ssl.SSLContext] = {}
        self.fault = ""
        """Why there was no TLS at the last look at the files; its text names the file."""
        self._seen = self._versions()
        self._context: ssl.SSLContext | None = None
        try:
            self._context = self._make()
        except TlsSettingsError as error:
            self.fault = str(error)
        self._look_again = 0.0

    @property
    def context(self) -> ssl.SSLContext | None:
        """For the next handshake. Looks at the files once a second; a certificate that can't be loaded is reported,
        and the old one stays. None: none could be loaded so far, and TLS, which may be mandatory, can't be had."""
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
            self._context = self._make()
            self.fault = ""
        except TlsSettingsError as error:
            if self._context is None:
                self.fault = str(error)
                self._on_problem(f"{error}: disabling TLS support")
            else:
                self._on_problem(f"{error}; the certificate that was loaded before stays in use")

    def _make(self) -> ssl.SSLContext:
        context = server_context(self._settings, self._where)
        self._by_pem.clear()
        if self._named is not None:
            context.sni_callback = self._choose
        return context

    def _choose(self, connection: ssl.SSLObject | ssl.SSLSocket, name: str | None, usual: ssl.SSLContext) -> None:
        """In the midst of a handshake: nothing may be raised here."""
        pem = self._named(name) if name and self._named is not None else None
        if pem is None:
            return
        context = self._by_pem.get(pem)
        if context is None:
            try:
                with pem_files(pem) as pairs:
                    context = server_context(self._settings, self._where, pairs)
            except (TlsSettingsError, OSError) as error:
                self._on_problem(f"TLS certificate of {name}: {error}")
                return
            if len(self._by_pem) >= _MAX_NAMED:
                self._by_pem.clear()
            self._by_pem[pem] = context
        connection.context = context

    def _versions(self) -> tuple[Version, ...]:
        settings = self._settings
        files = settings.chain_files or tuple(file for pair in settings.settings.pairs for file in pair)
        return tuple(version(self._where.get(file, file)) for file in (*files, settings.settings.ca_file) if file)


def server_context(
    settings: ServerTlsSettings, where: Mapping[str, str], pairs: Sequence[tuple[str, str]] = ()
) -> ssl.SSLContext:
    """`pairs`: (certificates, key) files instead of those of the settings. Raises TlsSettingsError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    if not settings.settings.library.server_order:
        context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    context.num_tickets = 1  # a mail client keeps one session a server; each ticket costs 30 µs
    try:
        limit(context, settings.settings, weak=settings.opportunistic)
    except (OSError, ssl.SSLError) as error:
        raise TlsSettingsError(f"TLS server: {error}") from error
    pairs = pairs or _pairs(settings, where)
    if not pairs:
        raise TlsSettingsError("TLS server: no certificate is configured")
    load_authorities(context, settings.settings, where)
    load_certificates(context, pairs, where, "TLS certificate")
    if settings.dh_file:
        # Without them the library uses its own, which are no worse; Postfix goes on, too.
        with contextlib.suppress(OSError, ssl.SSLError):
            context.load_dh_params(where.get(settings.dh_file, settings.dh_file))
    return context


def _pairs(settings: ServerTlsSettings, where: Mapping[str, str]) -> list[tuple[str, str]]:
    """(certificates, key) files. Raises TlsSettingsError."""
    if not settings.chain_files:
        return list(settings.settings.pairs)
    return chain_pairs(settings.chain_files, where)


@contextlib.contextmanager
def pem_files(pem: bytes) -> Iterator[list[tuple[str, str]]]:
    """Each key of `pem` and the chain behind it as a file in memory, which is what OpenSSL reads. Raises OSError."""
    starts = [found.start() for found in _KEY.finditer(pem)] or [0]
    with contextlib.ExitStack() as stack:
        pairs = []
        for start, end in zip(starts, [*starts[1:], len(pem)], strict=True):
            fd = os.memfd_create("certificate", os.MFD_CLOEXEC)
            stack.callback(os.close, fd)
            os.write(fd, pem[start:end])
            pairs.append((f"/proc/self/fd/{fd}", ""))
        yield pairs
