"""The tls_ parameters, which hold for servers and clients alike."""

from msgspec import Struct

from postwarden.config.settings import Settings
from postwarden.config.view import view
from postwarden.net.tls_settings import TlsLibrary, option_bits, workaround_bits


class TlsLibraryParams(Struct, frozen=True):
    tls_high_cipherlist: str
    tls_medium_cipherlist: str
    tls_low_cipherlist: str
    tls_export_cipherlist: str
    tls_null_cipherlist: str
    tls_ssl_options: tuple[str, ...]
    tls_disable_workarounds: tuple[str, ...]
    tls_preempt_cipherlist: bool
    tls_append_default_CA: bool


def tls_library(settings: Settings, service: str) -> TlsLibrary:
    """Words of tls_ssl_options that OpenSSL has no more are passed over: `check` names them. Raises ConfigError."""
    params = view(TlsLibraryParams, settings, service)
    grades = ("high", "medium", "low", "export", "null")
    return TlsLibrary(
        {grade: getattr(params, f"tls_{grade}_cipherlist") for grade in grades},
        option_bits(params.tls_ssl_options)[0],
        workaround_bits(params.tls_disable_workarounds)[0],
        server_order=params.tls_preempt_cipherlist,
        default_authorities=params.tls_append_default_CA,
    )
