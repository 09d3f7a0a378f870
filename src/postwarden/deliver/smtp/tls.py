"""The client's side of TLS, from the settings of a transport."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from postwarden.config.errors import ConfigError, Problem
from postwarden.config.settings import Settings
from postwarden.config.tls import tls_library
from postwarden.config.values import split
from postwarden.config.view import view
from postwarden.deliver.smtp.params import LmtpTlsParams, SmtpTlsParams
from postwarden.deliver.smtp.policies import TlsPolicies
from postwarden.deliver.smtp.security import INVALID, LEVELS, Security, digests, known_digest
from postwarden.net.tls_client import TlsClient, Wanted
from postwarden.net.tls_settings import TlsSettings, TlsSettingsError, chain_pairs, option_bits, workaround_bits
from postwarden.tables.opening import Tables

_MAY = "may"


class _Tls:
    """The parameters of one transport, by their names without smtp_ or lmtp_."""

    def __init__(self, settings: Settings, service: str) -> None:
        found = settings.find_service(service)
        self.prefix = "lmtp_" if found is not None and found.command == "lmtp" else "smtp_"
        cls = LmtpTlsParams if self.prefix == "lmtp_" else SmtpTlsParams
        self._params: Any = view(cls, settings, service)
        self._settings, self._service = settings, service

    def text(self, name: str) -> str:
        return str(getattr(self._params, self.prefix + name))

    def flag(self, name: str) -> bool:
        return bool(getattr(self._params, self.prefix + name))

    def words(self, name: str) -> tuple[str, ...]:
        found: tuple[str, ...] = getattr(self._params, self.prefix + name)
        return found

    def error(self, name: str, text: str) -> ConfigError:
        return ConfigError(self._settings.origin(self.prefix + name, self._service), text)

    def level(self) -> str:
        """The two old switches count where the level is not set. Raises ConfigError."""
        written = self.text("tls_security_level").lower()
        if written in LEVELS:
            return written
        if written == "dane":
            # Without DNSSEC Postfix's `dane` is `may`, too. `check` says what is not done.
            return _MAY
        if written:
            why = f"{self.prefix}tls_security_level = {written}: not available in this version"
            raise self.error("tls_security_level", f"{why}; one of {', '.join(LEVELS)} works")
        if self.flag("enforce_tls"):
            return "verify" if self.flag("tls_enforce_peername") else "encrypt"
        return _MAY if self.flag("use_tls") else "none"


def tls_warnings(settings: Settings) -> Iterator[Problem]:
    """Where less is done than an operator may think. Raises ConfigError."""
    for service in settings.services:
        if service.type == "inet" or service.command not in ("smtp", "lmtp"):
            continue
        name = f"{service.command}_tls_security_level"
        if settings.text(name, service.key).lower() == "dane":
            text = (
                f"{name} = dane: TLSA records are not looked up in this version; TLS is used where a server offers it"
            )
            yield Problem(settings.origin(name, service.key), "warning", text)
    for name, bits in (("tls_ssl_options", option_bits), ("tls_disable_workarounds", workaround_bits)):
        for word in bits(split(settings.text(name)))[1]:
            yield Problem(settings.origin(name), "warning", f"{name}: OpenSSL has no such option: {word}")


def client_tls(
    settings: Settings, service: str, files: Mapping[str, str], fault: Callable[[Problem], None]
) -> TlsClient | None:
    """The client's side of TLS of one transport; None where it is not wanted, or can't be had, of which `fault` hears:
    then what may go in clear does, and what must not waits, as with smtp(8). `files` tells what to open in place of a
    file that only root may read. Raises ConfigError."""
    try:
        return _client_tls(settings, service, files)
    except _Unusable as error:
        fault(Problem(error.origin, "warning", f"{error.text}: disabling TLS support"))
        return None


class _Unusable(ConfigError):
    """A certificate, or a word for the library."""


def _client_tls(settings: Settings, service: str, files: Mapping[str, str]) -> TlsClient | None:
    tls = _Tls(settings, service)
    level = tls.level()
    if level == "none" and not tls.words("tls_policy_maps"):
        return None
    base = TlsSettings(
        tls.words("tls_protocols"),
        tls.text("tls_ciphers"),
        tls.words("tls_exclude_ciphers"),
        ca_file=tls.text("tls_CAfile"),
        ca_path=tls.text("tls_CApath"),
        library=tls_library(settings, service),
        more=_certificates(tls, files),
    )
    must = TlsSettings(
        tls.words("tls_mandatory_protocols"),
        tls.text("tls_mandatory_ciphers"),
        base.exclude + tls.words("tls_mandatory_exclude_ciphers"),
        ca_file=base.ca_file,
        ca_path=base.ca_path,
        library=base.library,
        more=base.more,
    )
    try:
        return TlsClient(base, must, tuple({_MAY, "encrypt", level} - {"none"}))
    except TlsSettingsError as error:
        raise _Unusable(tls.error("tls_security_level", "").origin, str(error)) from error


def _certificates(tls: _Tls, files: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """(certificates, key) files as they are to be opened. Raises ConfigError."""
    chain = tls.words("tls_chain_files")
    try:
        pairs = chain_pairs(chain, files) if chain else [
            (tls.text(f"tls_{kind}cert_file"), tls.text(f"tls_{kind}key_file")) for kind in ("", "ec", "d")
        ]  # fmt: skip
    except TlsSettingsError as error:
        raise _Unusable(tls.error("tls_chain_files", "").origin, str(error)) from error
    return tuple((files.get(cert, cert), files.get(key, key)) for cert, key in pairs if cert not in ("", "none"))


def tls_policies(settings: Settings, service: str, tables: Tables, warn: Callable[[str], None]) -> TlsPolicies:
    """How the connections of one transport are to be secured. Raises ConfigError."""
    tls = _Tls(settings, service)
    digest = tls.text("tls_fingerprint_digest")
    several = bool(settings.value("tls_wildcard_matches_multiple_labels", service))
    patterns = {
        "verify": _patterns(tls, "tls_verify_cert_match"),
        "secure": _patterns(tls, "tls_secure_cert_match"),
        "fingerprint": digests(tls.words("tls_fingerprint_cert_match")),
    }
    defaults = {
        level: Security(Wanted(level), patterns.get(level, ()), tls.text("tls_servername"), digest, several)
        for level in LEVELS
    }
    if not known_digest(digest):
        if tls.level() == "fingerprint":
            raise tls.error("tls_fingerprint_digest", f"no such digest: {digest}")
        defaults["fingerprint"] = INVALID
    names = tls.words("tls_policy_maps")
    origin = settings.origin(f"{tls.prefix}tls_policy_maps", service)
    maps = tables.maps(names, origin)
    fallbacks = tuple(word for item in tls.words("fallback_relay") for word in split(item))
    return TlsPolicies(defaults[tls.level()], defaults, maps, fallbacks=fallbacks, warn=warn)


def _patterns(tls: _Tls, name: str) -> tuple[str, ...]:
    return tuple(part for word in tls.words(name) for part in word.split(":") if part)
