"""How a connection is to be encrypted: a level, and whose certificate will do. Pure: the handshake is net's."""

import hashlib
from collections.abc import Mapping

from msgspec import Struct

from postwarden.mail.host import Host
from postwarden.mail.session import PeerCertificate
from postwarden.net.tls_client import Wanted
from postwarden.wire.x509 import public_key

LEVELS = ("none", "may", "encrypt", "fingerprint", "verify", "secure")
AUTHENTIC = frozenset(("fingerprint", "verify", "secure"))
"""Levels at which a server has to be the right one."""


class Security(Struct, frozen=True):
    wanted: Wanted
    match: tuple[str, ...] = ()
    """At `verify` and `secure` names, `.domain` for those below it, and `hostname`, `nexthop`, `dot-nexthop`; at
    `fingerprint` digests in lower case without colons."""
    server_name: str = ""
    """For SNI; `hostname` and `nexthop` as above, empty: none."""
    digest: str = "sha256"
    wildcards: bool = True
    """`*.example.com` in a certificate stands for more than one label (tls_wildcard_matches_multiple_labels)."""

    @property
    def level(self) -> str:
        return self.wanted.level


PLAIN = Security(Wanted("none"))
INVALID = Security(Wanted("invalid"))
"""What the operator wrote makes no sense: nothing is sent this way."""


def sni(security: Security, host: Host, own: str) -> str:
    """The name to send; `own` is myhostname."""
    names = {"hostname": _hostname(host, own), "nexthop": _nexthop(host, own)}
    return names.get(security.server_name.lower(), security.server_name)


def matches(security: Security, certificate: PeerCertificate | None, host: Host, own: str) -> bool:
    """Whether `certificate` is one that the level accepts. That its chain was verified is taken for granted."""
    if certificate is None:
        return False
    if security.level == "fingerprint":
        return any(digest in security.match for digest in fingerprints(certificate.der, security.digest))
    return any(_name_matches(security, name, host, own) for name in certificate.names)


def fingerprints(der: bytes, digest: str) -> tuple[str, ...]:
    """Of the certificate and of its public key."""
    key = public_key(der)
    return tuple(hashlib.new(digest, data).hexdigest() for data in (der, key) if data)


def known_digest(name: str) -> bool:
    try:
        return hashlib.new(name).digest_size > 0
    except ValueError:
        return False


def digests(words: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(word.replace(":", "").lower() for word in words)


def parse_policy(text: str, defaults: Mapping[str, Security]) -> Security:
    """A value of smtp_tls_policy_maps; `defaults` is what main.cf says for each level. ValueError says what is
    wrong."""
    words = text.replace(",", " ").split()
    level = words[0].lower() if words else ""
    level = "may" if level == "dane" else level
    default = defaults.get(level)
    if default is None or default is INVALID:
        raise ValueError(f"invalid security level {words[0]!r}" if words else "no security level")
    wanted, match, name = default.wanted, list[str](), default.server_name
    for word in words[1:]:
        attribute, equals, value = word.partition("=")
        if not equals or not value or level == "none":
            raise ValueError(f"malformed attribute/value pair {word!r}")
        parts = tuple(part for part in value.split(":") if part)
        match attribute.lower():
            case "protocols":
                wanted = Wanted(wanted.level, parts, wanted.ciphers, wanted.exclude)
            case "ciphers":
                wanted = Wanted(wanted.level, wanted.protocols, value, wanted.exclude)
            case "exclude":
                wanted = Wanted(wanted.level, wanted.protocols, wanted.ciphers, parts)
            case "match" if level == "fingerprint":
                match += digests(tuple(value.split("|")))
            case "match" if level in AUTHENTIC:
                match += parts
            case "servername":
                name = value
            case "connection_reuse":
                pass  # connections with TLS are kept as others are
            case _:
                raise ValueError(f"invalid attribute {word!r} at level {level}")
    return Security(wanted, tuple(match) or default.match, name, default.digest, default.wildcards)


def _hostname(host: Host, own: str) -> str:
    return own if host.path else host.name


def _nexthop(host: Host, own: str) -> str:
    return own if host.path else host.domain


def _name_matches(security: Security, name: str, host: Host, own: str) -> bool:
    name = name.lower()
    for pattern in security.match:
        below = False
        match pattern.lower():
            case "hostname":
                domain = _hostname(host, own)
            case "nexthop":
                domain = _nexthop(host, own)
            case "dot-nexthop":
                domain, below = _nexthop(host, own), True
            case written:
                below = written.startswith(".")
                domain = written.removeprefix(".")
        domain = domain.lower()
        if not domain:
            continue
        if below:
            if name.endswith("." + domain) and len(name) > len(domain) + 1:
                return True
        elif name == domain or (name.startswith("*.") and _wildcard_matches(name[1:], domain, security.wildcards)):
            return True
    return False


def _wildcard_matches(suffix: str, domain: str, several: bool) -> bool:
    """`suffix` is what follows the star, dot and all. As OpenSSL has it, `*.com` stands for nothing."""
    first, dot, rest = domain.partition(".")
    parent = dot + rest
    if not first or suffix.count(".") < 2:
        return False
    return parent == suffix or (several and parent.endswith(suffix))
