"""Attributes of XCLIENT and XFORWARD: `name=value`, in xtext (RFC 3461 4), and what each may be."""

import ipaddress
import re

from msgspec import Struct

from postwarden.mail.envelope import Client
from postwarden.mail.hostname import valid_address, valid_hostname
from postwarden.receive.received import safe_name

_XTEXT = re.compile(r"(?:[^+]|\+[0-9A-Fa-f]{2})*\Z")
_ESCAPE = re.compile(rb"\+([0-9A-Fa-f]{2})")
_UNAVAILABLE, _TEMPORARY = "[UNAVAILABLE]", "[TEMPUNAVAIL]"
_MOST = 255


class BadAttribute(Exception):
    """Carries the reply's text."""


class Forwarded(Struct, frozen=True):
    """What XFORWARD said of the message to come."""

    client: Client | None = None
    """None: nothing that names the client. What was not said of one is unknown: nothing of this session is mixed in."""
    ident: str = ""
    context: str = ""
    """Whose mail it is for rewriting: "local", "remote"; empty: as this session's."""


class Attribute:
    """One of them, decoded. Raises BadAttribute from every method. `families` are those of inet_protocols."""

    def __init__(self, argument: str, command: str, names: tuple[str, ...], families: tuple[str, ...]) -> None:
        self._families = families
        name, _, encoded = argument.partition("=")
        self.name = name.upper()
        if not encoded:
            raise BadAttribute("Error: attribute=value expected")
        if len(encoded) > _MOST:
            raise BadAttribute("Error: attribute value too long")
        if self.name not in names:
            raise BadAttribute(f"Bad {command} attribute name: {name}")
        # XFORWARD is for headers and the log alone; XCLIENT's login may well have a blank in it.
        self.value = safe_name(decoded(encoded)) if command == "XFORWARD" else decoded(encoded)
        self.known = self.value.upper() not in (_UNAVAILABLE, _TEMPORARY)
        self.status = 2 if self.known else 4 if self.value.upper() == _TEMPORARY else 5
        """As that of a name that was looked up."""

    def bad(self) -> BadAttribute:
        return BadAttribute(f"Bad {self.name} syntax: {self.value}")

    def hostname(self) -> str:
        if self.known and not valid_hostname(self.value):
            raise self.bad()
        return self.value if self.known else "unknown"

    def address(self) -> str:
        """In standard form. An IPv6 address has a prefix, as in SMTP (RFC 5321 4.1.3)."""
        if not self.known:
            return "unknown"
        prefixed = self.value[:5].upper() == "IPV6:"
        text = self.value[5:] if prefixed else self.value
        if prefixed != (":" in text) or not valid_address(text):
            raise self.bad()
        if not prefixed:
            if not self._families_have("ipv4"):
                raise self.bad()
            return text
        address = ipaddress.IPv6Address(text)
        if address.ipv4_mapped is not None:
            # The rules that hold for an IPv4 client must hold for it in this form, too.
            return str(address.ipv4_mapped)
        if not self._families_have("ipv6"):
            raise self.bad()
        return address.compressed

    def port(self) -> int:
        """0: not known."""
        if not self.known:
            return 0
        if not self.value.isascii() or not self.value.isdigit() or len(self.value) > 5:
            raise self.bad()
        return int(self.value)

    def _families_have(self, family: str) -> bool:
        return "all" in self._families or family in self._families


def decoded(encoded: str) -> str:
    """Text of xtext; what is none stands for itself, since Postfix before 2.3 sent it bare. Control characters and what
    is no UTF-8 become `?`: it is for the log and for headers."""
    if "+" in encoded and _XTEXT.match(encoded):
        raw = _ESCAPE.sub(lambda match: bytes([int(match[1], 16)]), encoded.encode())
        encoded = raw.decode("utf-8", "replace")
    return "".join(c if c.isprintable() and c != "\ufffd" else "?" for c in encoded)
