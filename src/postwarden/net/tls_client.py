"""TLS when we are the client. Opportunistic and enforced encryption without a look at the certificate: whom we talk to
is not known, what we say is not heard by others (smtp_tls_security_level may and encrypt)."""

import ssl
import warnings

from msgspec import Struct

from postwarden.net.stream import Stream

_VERSIONS = {
    "tlsv1": ssl.TLSVersion.TLSv1,
    "tlsv1.0": ssl.TLSVersion.TLSv1,
    "tlsv1.1": ssl.TLSVersion.TLSv1_1,
    "tlsv1.2": ssl.TLSVersion.TLSv1_2,
    "tlsv1.3": ssl.TLSVersion.TLSv1_3,
}
_GRADES = {
    # OpenSSL's names; Postfix's tls_medium_cipherlist and the like, in what they mean.
    "high": "aNULL:-aNULL:HIGH:@STRENGTH",
    "medium": "aNULL:-aNULL:HIGH:MEDIUM:+RC4:@STRENGTH",
    "low": "aNULL:-aNULL:HIGH:MEDIUM:LOW:+RC4:@STRENGTH",
    "export": "aNULL:-aNULL:HIGH:MEDIUM:LOW:+RC4:@STRENGTH",
    "null": "eNULL:!aNULL",
}


class TlsSettings(Struct, frozen=True):
    """Postfix's parameters of that meaning. Files are PEM."""

    protocols: tuple[str, ...] = (">=TLSv1",)
    ciphers: str = "medium"
    exclude: tuple[str, ...] = ()
    cert_file: str = ""
    key_file: str = ""


class TlsSettingsError(ValueError):
    """A setting that makes no sense, or a certificate that can't be loaded."""


class TlsClient:
    """`deliver.smtp.protocols.ClientTls`: one context for `may`, one for the levels that insist."""

    def __init__(self, may: TlsSettings, mandatory: TlsSettings) -> None:
        self._may = client_context(may)
        self._mandatory = client_context(mandatory)

    def start(self, stream: Stream, level: str, server_name: str) -> bool:
        if level not in ("may", "encrypt"):
            return False
        context = self._may if level == "may" else self._mandatory
        stream.start_tls(context, server_side=False, server_name=server_name)
        return True


def client_context(settings: TlsSettings) -> ssl.SSLContext:
    """A context that checks no certificate. Raises TlsSettingsError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.options |= ssl.OP_NO_COMPRESSION
    try:
        limit(context, settings)
    except (OSError, ssl.SSLError) as error:
        raise TlsSettingsError(f"TLS client: {error}") from error
    if settings.cert_file and settings.cert_file != "none":
        try:
            context.load_cert_chain(settings.cert_file, settings.key_file or settings.cert_file)
        except (OSError, ssl.SSLError) as error:
            names = ", ".join(dict.fromkeys(name for name in (settings.cert_file, settings.key_file) if name))
            raise TlsSettingsError(f"TLS client: {names}: {error}") from error
    return context


def limit(context: ssl.SSLContext, settings: TlsSettings) -> None:
    """Allow the protocols and ciphers that `settings` names. Raises TlsSettingsError, ssl.SSLError."""
    _limit_versions(context, settings.protocols)
    grade = _GRADES.get(settings.ciphers.lower())
    if grade is None:
        raise TlsSettingsError(f"no such cipher grade: {settings.ciphers}")
    context.set_ciphers(":".join([grade, *(f"!{name}" for name in settings.exclude)]))


def _limit_versions(context: ssl.SSLContext, protocols: tuple[str, ...]) -> None:
    """`>=TLSv1.2`, `<=TLSv1.3`, or the older form: names to use, `!name` for those not to use."""
    low, high = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_3
    chosen, refused = set(), set()
    for word in protocols:
        name = word.lstrip("!<>=").lower()
        if name in ("sslv2", "sslv3"):
            continue
        version = _VERSIONS.get(name)
        if version is None:
            raise TlsSettingsError(f"no such TLS protocol: {word}")
        if word.startswith(">="):
            low = version
        elif word.startswith("<="):
            high = version
        elif word.startswith("!"):
            refused.add(version)
        else:
            chosen.add(version)
    allowed = [v for v in sorted(_VERSIONS.values()) if low <= v <= high and v not in refused]
    if chosen:
        allowed = [v for v in allowed if v in chosen]
    if not allowed:
        raise TlsSettingsError(f"no TLS protocol is left by: {' '.join(protocols)}")
    with warnings.catch_warnings():
        # TLS 1.0 and 1.1 are deprecated, and better than the clear text that opportunistic TLS falls back to.
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version, context.maximum_version = allowed[0], allowed[-1]
