"""xtext: how DSN parameters write what is no plain ASCII (RFC 3461 4, RFC 6533 3)."""

import re

from postwarden.mail.address import external

_SAFE = re.compile(r"[!-*,-<>-~]*\Z")
_UNICODE = re.compile(r"\\x\{([0-9A-Fa-f]{1,6})\}")


def to_xtext(text: str) -> str:
    if _SAFE.match(text):
        return text
    raw = text.encode("utf-8", "surrogateescape")
    return "".join(chr(c) if 33 <= c <= 126 and c not in b"+=" else f"+{c:02X}" for c in raw)


def from_xtext(text: str) -> str:
    """Bytes that are no UTF-8 come as surrogates."""
    if "+" not in text:
        return text
    raw = re.sub(rb"\+([0-9A-F]{2})", lambda found: bytes([int(found[1], 16)]), text.encode("utf-8", "surrogateescape"))
    return raw.decode("utf-8", "surrogateescape")


def to_orcpt(kind: str, address: str) -> str:
    """`kind;address` as ORCPT has it."""
    if kind.lower() != "utf-8":
        return f"{kind};{to_xtext(address)}"
    return f"{kind};" + "".join(c if "!" <= c <= "~" and c not in "+=\\" else f"\\x{{{ord(c):X}}}" for c in address)


def orcpt_of(address: str) -> str:
    """The ORCPT of an address (internal form) for which none was given (RFC 3461 4.2, RFC 6533 3)."""
    written = external(address)
    return to_orcpt("rfc822" if written.isascii() else "utf-8", written)


def from_orcpt(orcpt: str) -> tuple[str, str]:
    """(type, address) of an ORCPT."""
    kind, _, address = orcpt.partition(";")
    if kind.lower() != "utf-8":
        return kind, from_xtext(address)
    return kind, _UNICODE.sub(_character, address)


def _character(found: re.Match[str]) -> str:
    code = int(found[1], 16)
    return chr(code) if code < 0xD800 or 0xDFFF < code < 0x110000 else found[0]
