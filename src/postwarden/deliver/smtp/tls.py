"""The client's side of TLS, from the settings of a transport."""

from collections.abc import Mapping

from postwarden.config.errors import ConfigError
from postwarden.config.settings import Settings
from postwarden.config.values import split
from postwarden.net.tls_client import TlsClient, TlsSettings, TlsSettingsError


def client_tls(settings: Settings, service: str, files: Mapping[str, str]) -> TlsClient | None:
    """The client's side of TLS of one transport; None where it is not wanted. `files` tells what to open in place of a
    file that only root may read. Raises ConfigError."""
    found = settings.find_service(service)
    prefix = f"{found.command if found else 'smtp'}_tls_"

    def text(name: str) -> str:
        return settings.text(prefix + name, service)

    level = text("security_level")
    if level not in ("", "none", "may", "encrypt"):
        # To encrypt without looking whom for would be less than was asked for.
        why = f"{prefix}security_level = {level}: not yet; may and encrypt work"
        raise ConfigError(settings.origin(prefix + "security_level", service), why)
    if level in ("", "none") and not (
        settings.value(prefix.replace("tls_", "use_tls"), service)
        or settings.value(prefix.replace("tls_", "enforce_tls"), service)
    ):
        return None
    cert = text("cert_file")
    key = text("key_file") or cert
    cert, key = files.get(cert, cert), files.get(key, key)
    excluded = split(text("exclude_ciphers"))
    also = split(text("mandatory_exclude_ciphers"))
    may = TlsSettings(split(text("protocols")), text("ciphers"), excluded, cert, key)
    must = TlsSettings(split(text("mandatory_protocols")), text("mandatory_ciphers"), excluded + also, cert, key)
    try:
        return TlsClient(may, must)
    except TlsSettingsError as error:
        raise ConfigError(settings.origin(prefix + "security_level", service), str(error)) from error
