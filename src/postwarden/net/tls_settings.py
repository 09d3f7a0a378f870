"""What TLS may be, of either side: versions, ciphers, OpenSSL's options, certificates and authorities."""

import os
import ssl
import warnings
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from msgspec import Struct

_VERSIONS = {
    "tlsv1": ssl.TLSVersion.TLSv1,
    "tlsv1.0": ssl.TLSVersion.TLSv1,
    "tlsv1.1": ssl.TLSVersion.TLSv1_1,
    "tlsv1.2": ssl.TLSVersion.TLSv1_2,
    "tlsv1.3": ssl.TLSVersion.TLSv1_3,
}
_ORDERED = sorted(set(_VERSIONS.values()))
_OLDER = frozenset(("sslv2", "sslv3"))
"""Postfix's configurations still exclude them; no OpenSSL that we meet has them."""

CIPHER_LISTS: Mapping[str, str] = MappingProxyType(
    {
        "high": "aNULL:-aNULL:HIGH:@STRENGTH",
        "medium": "aNULL:-aNULL:HIGH:MEDIUM:+RC4:@STRENGTH",
        "low": "aNULL:-aNULL:HIGH:MEDIUM:LOW:+RC4:@STRENGTH",
        "export": "aNULL:-aNULL:HIGH:MEDIUM:LOW:+RC4:@STRENGTH",
        "null": "eNULL:!aNULL",
    }
)
"""Defaults of Postfix's tls_high_cipherlist and the like, in OpenSSL's names."""

_OPTIONS = {
    # ssl(3), SSL_CTX_set_options; Python has names for some of them only.
    "ENABLE_MIDDLEBOX_COMPAT": 1 << 20,
    "LEGACY_SERVER_CONNECT": 1 << 2,
    "NO_COMPRESSION": 1 << 17,
    "NO_RENEGOTIATION": 1 << 30,
    "NO_SESSION_RESUMPTION_ON_RENEGOTIATION": 1 << 16,
    "NO_TICKET": 1 << 14,
    "PRIORITIZE_CHACHA": 1 << 21,
}
_WORKAROUNDS = {
    "CRYPTOPRO_TLSEXT_BUG": 1 << 31,
    "CVE-2005-2969": 0,
    "CVE-2010-4180": 0,
    "DONT_INSERT_EMPTY_FRAGMENTS": 1 << 11,
    "LEGACY_SERVER_CONNECT": 1 << 2,
    "MICROSOFT_BIG_SSLV3_BUFFER": 0,
    "MICROSOFT_SESS_ID_BUG": 0,
    "MSIE_SSLV2_RSA_PADDING": 0,
    "NETSCAPE_CHALLENGE_BUG": 0,
    "NETSCAPE_REUSE_CIPHER_CHANGE_BUG": 0,
    "SSLEAY_080_CLIENT_DH_BUG": 0,
    "SSLREF2_REUSE_CERT_TYPE_BUG": 0,
    "TLS_BLOCK_PADDING_BUG": 0,
    "TLS_D5_BUG": 0,
    "TLS_ROLLBACK_BUG": 1 << 23,
    "TLSEXT_PADDING": 1 << 4,
}
"""0: OpenSSL has no such work-around any more."""


_MAX_FILE = 1 << 20


class TlsSettingsError(ValueError):
    """A setting that makes no sense, or a certificate that can't be loaded."""


class TlsLibrary(Struct, frozen=True):
    """Postfix's tls_ parameters, the same for servers and clients."""

    cipher_lists: Mapping[str, str] = CIPHER_LISTS
    """By grade, as OpenSSL writes them."""
    options: int = 0
    """OpenSSL's bits to set (tls_ssl_options)."""
    strict: int = 0
    """Bits of work-arounds to do without (tls_disable_workarounds)."""
    server_order: bool = False
    """The server's order of ciphers counts, not the client's (tls_preempt_cipherlist)."""
    default_authorities: bool = False
    """The system's authorities, beside those that are named (tls_append_default_CA)."""


class TlsSettings(Struct, frozen=True):
    """Postfix's parameters of that meaning. Files are PEM."""

    protocols: tuple[str, ...] = (">=TLSv1",)
    ciphers: str = "medium"
    exclude: tuple[str, ...] = ()
    cert_file: str = ""
    key_file: str = ""
    more: tuple[tuple[str, str], ...] = ()
    """(certificates, key) of further kinds of key."""
    ca_file: str = ""
    ca_path: str = ""
    library: TlsLibrary = TlsLibrary()

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """(certificates, key) files."""
        first = ((self.cert_file, self.key_file),) if self.cert_file not in ("", "none") else ()
        return first + tuple((cert, key) for cert, key in self.more if cert not in ("", "none"))


def option_bits(words: Iterable[str]) -> tuple[int, list[str]]:
    """Of tls_ssl_options: the bits, and the words that mean nothing."""
    return _bits(words, _OPTIONS)


def workaround_bits(words: Iterable[str]) -> tuple[int, list[str]]:
    """Of tls_disable_workarounds, likewise."""
    return _bits(words, _WORKAROUNDS)


def _bits(words: Iterable[str], names: Mapping[str, int]) -> tuple[int, list[str]]:
    bits, unknown = 0, []
    for word in words:
        known = names.get(word.upper())
        if known is not None:
            bits |= known
        elif word[:2].lower() == "0x" and word[2:].isalnum():
            try:
                bits |= int(word, 16) & 0xFFFFFFFFFFFFFFF
            except ValueError:
                unknown.append(word)
        else:
            unknown.append(word)
    return bits, unknown


def limit(context: ssl.SSLContext, settings: TlsSettings, *, anonymous: bool = True, weak: bool = False) -> None:
    """Allow the protocols and ciphers that `settings` names. `anonymous`: ciphers without a certificate, too; `weak`:
    whatever they allow, where the alternative is clear text. Raises TlsSettingsError, ssl.SSLError."""
    library = settings.library
    _limit_versions(context, settings.protocols)
    grade = library.cipher_lists.get(settings.ciphers.lower())
    if grade is None:
        raise TlsSettingsError(f"no such cipher grade: {settings.ciphers}")
    without = [word for item in settings.exclude for word in item.split(":") if word]
    rules = [grade, *(f"!{name}" for name in (*without, *(() if anonymous else ("aNULL",))))]
    if weak:
        rules.append("@SECLEVEL=0")  # OpenSSL 3 speaks TLS 1.0 and 1.1 at no other level
    context.set_ciphers(":".join(rules))
    context.options |= library.options
    context.options &= ~library.strict


def load_certificates(
    context: ssl.SSLContext, pairs: Iterable[tuple[str, str]], where: Mapping[str, str], what: str
) -> None:
    """`where` translates a path of the configuration into the one to open. Raises TlsSettingsError, whose text names
    the files after `what`."""
    for cert_file, key_file in pairs:
        try:
            context.load_cert_chain(where.get(cert_file, cert_file), where.get(key_file, key_file) or None)
        except (OSError, ssl.SSLError) as error:
            files = dict.fromkeys(file for file in (cert_file, key_file) if file)
            closed = [file for file in files if not os.access(where.get(file, file), os.R_OK, effective_ids=True)]
            names = ", ".join(closed or files)  # OpenSSL does not say which
            raise TlsSettingsError(f"{what}: {names}: {error.strerror or error}") from error


def chain_pairs(files: tuple[str, ...], where: Mapping[str, str]) -> list[tuple[str, str]]:
    """(certificates, key) of chain files: each has a key and its chain, or these are in two files that follow each
    other. Raises TlsSettingsError."""
    pairs, key = [], ""
    for file in files:
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


def load_authorities(context: ssl.SSLContext, settings: TlsSettings, where: Mapping[str, str]) -> None:
    """Whom to believe, and what completes our own chain. Raises TlsSettingsError."""
    for name, file, path in (
        (settings.ca_file, where.get(settings.ca_file, settings.ca_file) or None, None),
        (settings.ca_path, None, settings.ca_path or None),
    ):
        if not name:
            continue
        try:
            context.load_verify_locations(file, path)
        except (OSError, ssl.SSLError) as error:
            raise TlsSettingsError(f"TLS authorities: {name}: {error.strerror or error}") from error
    if settings.library.default_authorities:
        context.load_default_certs()


def _limit_versions(context: ssl.SSLContext, protocols: tuple[str, ...]) -> None:
    """`>=TLSv1.2`, `<=TLSv1.3`, or the older form: names to use, `!name` for those not to use. The versions that are
    left are one range: as in Postfix, what is above the first gap does not count."""
    low, high = _ORDERED[0], _ORDERED[-1]
    chosen, refused = set(), set()
    for word in (word for item in protocols for word in item.split(":") if word):
        name = word.lstrip("!<>=")
        if name.lower() in _OLDER:
            continue
        version = _version(name, hexadecimal=word[0] in "<>")
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
    allowed = [v for v in _ORDERED if low <= v <= high and v not in refused and (not chosen or v in chosen)]
    if not allowed:
        raise TlsSettingsError(f"no TLS protocol is left by: {' '.join(protocols)}")
    last = allowed[0]
    while last + 1 in allowed:
        last = ssl.TLSVersion(last + 1)
    with warnings.catch_warnings():
        # TLS 1.0 and 1.1 are deprecated, and better than the clear text that opportunistic TLS falls back to.
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version, context.maximum_version = allowed[0], last


def _version(name: str, *, hexadecimal: bool) -> ssl.TLSVersion | None:
    known = _VERSIONS.get(name.lower())
    if known is not None or not hexadecimal:
        return known
    try:
        return next((v for v in _ORDERED if v == int(name, 16)), None)
    except ValueError:
        return None
