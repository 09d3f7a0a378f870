"""The PROXY protocol, versions 1 and 2: what a load balancer says of a connection before the client's first byte.

A header that is malformed, or of a family that is not wanted, is an error: whoever let such a client pass would take it
for the balancer itself, which is often in mynetworks.
"""

import ipaddress
import struct
from collections.abc import Collection

from msgspec import Struct

from postwarden.mail.hostname import valid_address

_SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
_MOST = (536, 4096)
"""Bytes of a header of version 1 and 2."""
_LOCAL, _PROXY = 0, 1
_FAMILIES = {0x11: ("ipv4", 4), 0x21: ("ipv6", 16)}
"""Of TCP alone, and the length of an address."""


class BadHeader(Exception):
    """Carries the reason in Postfix's words."""


class Header(Struct, frozen=True):
    size: int
    client: tuple[str, int] | None = None
    """Address and port; None: the balancer speaks for itself (a health check)."""
    server: tuple[str, int] | None = None


def read_header(data: bytes, families: Collection[str]) -> Header | None:
    """The header at the beginning of `data`; None: there is more to come. `families` are "ipv4" and "ipv6", as far as
    they are wanted. Raises BadHeader as soon as it can be none."""
    if data[: len(_SIGNATURE)] == _SIGNATURE[: len(data)]:
        return _second(data, families)
    return _first(data, families)


def _first(data: bytes, families: Collection[str]) -> Header | None:
    end = data.find(b"\n", 0, _MOST[0])
    if end < 0:
        if len(data) >= _MOST[0] or data[:6] != b"PROXY "[: len(data)]:
            raise BadHeader("missing protocol header terminator")
        return None
    words = data[:end].decode("ascii", "replace").rstrip("\r").split(" ")
    words = [word for word in words if word]
    if not words or words[0] != "PROXY":
        raise BadHeader("unexpected protocol header")
    family = {"TCP4": "ipv4", "TCP6": "ipv6"}.get(_word(words, 1), "")
    if family not in families:
        raise BadHeader("bad or missing protocol type")
    client, server = (_address(_word(words, n), family, what) for n, what in ((2, "client"), (3, "server")))
    ports = [_port(_word(words, n), what) for n, what in ((4, "client"), (5, "server"))]
    return Header(end + 1, (client, ports[0]), (server, ports[1]))


def _word(words: list[str], place: int) -> str:
    return words[place] if place < len(words) else ""


def _address(text: str, family: str, what: str) -> str:
    if not valid_address(text) or (":" in text) != (family == "ipv6"):
        raise BadHeader(f"bad or missing {what} address")
    return _standard(ipaddress.ip_address(text))


def _port(text: str, what: str) -> int:
    number = text.isascii() and text.isdigit() and len(text) <= 5 and (text == "0" or text[0] != "0")
    if not number or int(text) > 65535:
        raise BadHeader(f"bad or missing {what} port")
    return int(text)


def _standard(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    """The rules that hold for an IPv4 client must hold for it in the form of IPv6, too."""
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)


def _second(data: bytes, families: Collection[str]) -> Header | None:
    if len(data) < 16:
        return None
    what, kind, length = data[12], data[13], int.from_bytes(data[14:16], "big")
    size = 16 + length
    if what >> 4 != 2:
        raise BadHeader("unrecognized protocol version")
    if what & 15 not in (_LOCAL, _PROXY):
        raise BadHeader("bad command in proxy header")
    if size > _MOST[1]:
        raise BadHeader("protocol header too long")
    if what & 15 == _LOCAL:
        return Header(size) if len(data) >= size else None
    if kind not in _FAMILIES:
        raise BadHeader("unsupported network protocol")
    family, width = _FAMILIES[kind]
    if family not in families:
        raise BadHeader(f"{'IPv4' if family == 'ipv4' else 'IPv6'} support is disabled")
    if length < 2 * width + 4:
        raise BadHeader("short address field")
    if len(data) < size:
        return None
    client, server = (_standard(ipaddress.ip_address(data[at : at + width])) for at in (16, 16 + width))
    ports = struct.unpack_from(">HH", data, 16 + 2 * width)
    return Header(size, (client, ports[0]), (server, ports[1]))
