"""TLS when we are the client: opportunistic, enforced, or with a certificate that has to be the right one.

Chains are verified here, by OpenSSL, in the handshake; whose name or fingerprint a certificate must have is the
caller's affair, who looks at `Stream.certificate` before anything is said.
"""

import ssl

from msgspec import Struct

from postwarden.net.stream import Stream
from postwarden.net.tls_settings import (
    TlsSettings,
    TlsSettingsError,
    limit,
    load_authorities,
    load_certificates,
)

_UNVERIFIED = frozenset(("may", "encrypt", "fingerprint"))
_VERIFIED = frozenset(("verify", "secure"))
_MAX_CONTEXTS = 100
"""Each is 100 KB or so; a policy table can ask for any number of combinations."""


class Wanted(Struct, frozen=True):
    """TLS as one destination gets it."""

    level: str
    """none, may, encrypt, fingerprint, verify, secure."""
    protocols: tuple[str, ...] = ()
    """Instead of those of the settings; and so on."""
    ciphers: str = ""
    exclude: tuple[str, ...] | None = None


class TlsClient:
    """`deliver.smtp.protocols.ClientTls`, over one set of settings for `may` and one for the levels that insist."""

    def __init__(self, may: TlsSettings, mandatory: TlsSettings, levels: tuple[str, ...] = ("may", "encrypt")) -> None:
        """`levels`: those that are made now, so that what is wrong with them is known at once. Raises
        TlsSettingsError."""
        self._may, self._mandatory = may, mandatory
        self._contexts: dict[Wanted, ssl.SSLContext] = {}
        for level in levels:
            self._context(Wanted(level))

    def start(self, stream: Stream, wanted: Wanted, server_name: str) -> bool:
        if wanted.level not in _UNVERIFIED | _VERIFIED:
            return False
        try:
            context = self._context(wanted)
        except TlsSettingsError:
            return False
        stream.start_tls(context, server_side=False, server_name=server_name)
        return True

    def _context(self, wanted: Wanted) -> ssl.SSLContext:
        known = self._contexts.get(wanted)
        if known is None:
            if len(self._contexts) >= _MAX_CONTEXTS:
                self._contexts.clear()
            known = self._contexts[wanted] = client_context(self._settings(wanted), wanted.level)
        return known

    def _settings(self, wanted: Wanted) -> TlsSettings:
        base = self._may if wanted.level == "may" else self._mandatory
        return TlsSettings(
            wanted.protocols or base.protocols,
            wanted.ciphers or base.ciphers,
            base.exclude if wanted.exclude is None else wanted.exclude,
            base.cert_file,
            base.key_file,
            base.more,
            base.ca_file,
            base.ca_path,
            base.library,
        )


def client_context(settings: TlsSettings, level: str = "encrypt") -> ssl.SSLContext:
    """Raises TlsSettingsError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    verified = level in _VERIFIED
    context.verify_mode = ssl.CERT_REQUIRED if verified else ssl.CERT_NONE
    context.options |= ssl.OP_NO_COMPRESSION
    try:
        limit(context, settings, anonymous=level in ("may", "encrypt"), weak=level == "may")
    except (OSError, ssl.SSLError) as error:
        raise TlsSettingsError(f"TLS client: {error}") from error
    if verified:
        load_authorities(context, settings, {})
    load_certificates(context, settings.pairs, {}, "TLS client")
    return context
