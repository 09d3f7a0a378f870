"""What postconf(1) lists without a configuration: -a, -A, -l, -m, -T."""

import ssl

from postwarden.tables.opening import NOT_HERE

_TYPES = frozenset((
    "btree", "cdb", "cidr", "dbm", "debug", "environ", "fail", "hash", "inline", "ldap", "lmdb", "memcache", "mysql",
    "pcre", "pgsql", "pipemap", "proxy", "randmap", "regexp", "socketmap", "sqlite", "static", "tcp", "texthash",
    "unionmap", "unix",
))  # fmt: skip


def listed(option: str) -> tuple[str, ...]:
    """The lines of -a, -A, -l or -m. No login is available yet, neither as a server nor as a client."""
    if option == "l":
        return ("flock", "fcntl", "dotlock")
    return tuple(sorted(_TYPES - NOT_HERE.keys())) if option == "m" else ()


def tls(mode: str) -> tuple[str, ...]:
    """The lines of `-T mode`. Raises KeyError."""
    if mode in ("compile-version", "run-version"):
        return (ssl.OPENSSL_VERSION,)
    if mode == "public-key-algorithms":
        return ("dsa", "ecdsa", "rsa")
    raise KeyError(mode)
