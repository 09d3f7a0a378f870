"""Mail addresses in internal form: `local@domain`, the local part without quotes and escapes (RFC 5321 4.1.2).

The domain is what follows the last `@`; the local part may hold anything, further `@` included. External form puts the
quotes back.
"""

import re

_ATOMS = re.compile(
    r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\x80-\U0010ffff-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~\x80-\U0010ffff-]+)*\Z"
)
_TO_ESCAPE = re.compile(r'(["\\\r])')


def split(address: str) -> tuple[str, str]:
    """(`local`, `domain`); the domain is empty where there is no `@`."""
    local, at, domain = address.rpartition("@")
    return (local, domain) if at else (address, "")


def domain_of(address: str) -> str:
    """The domain in lower case; empty where there is none."""
    return address.rpartition("@")[2].lower() if "@" in address else ""


def is_dot_atom(local: str) -> bool:
    """Whether `local` is written without quotes (RFC 5322 3.2.3; bytes above 127 by RFC 6532)."""
    return _ATOMS.match(local) is not None


def quote_local(local: str) -> str:
    """`local` as it must be written: as it is, or as a quoted string."""
    return local if _ATOMS.match(local) else '"' + _TO_ESCAPE.sub(r"\\\1", local) + '"'


def external(address: str) -> str:
    """Internal form -> external form, without angle brackets. The null address stays empty."""
    local, at, domain = address.rpartition("@")
    if not at:
        return quote_local(domain) if domain else ""
    return f"{quote_local(local)}@{domain}"


def internal(address: str) -> str:
    """External form -> internal form: quotes and escapes of the local part are taken off."""
    if '"' not in address and "\\" not in address:
        return address
    out: list[str] = []
    quoted = False
    characters = iter(address)
    for character in characters:
        if character == "\\":
            out.append(next(characters, ""))
        elif character == '"':
            quoted = not quoted
        else:
            out.append(character)
    return "".join(out)
