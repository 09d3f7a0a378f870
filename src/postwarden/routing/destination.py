"""Next hops as text: `example.com`, `[mx.example.com]`, `example.com:2525`, `[192.0.2.1]:587`, `[2001:db8::1]`."""

from collections.abc import Collection, Mapping

from msgspec import Struct

from postwarden.mail.hostname import valid_address, valid_hostname


class Destination(Struct, frozen=True):
    """One place to go to."""

    host: str
    """Domain, host name or address, without brackets and without `IPv6:`."""
    port: int
    literal: bool
    """It was in brackets: a host, not a domain that may have MX records."""
    service: str = ""
    """Its port was the name of a service that SRV records are to be looked up for; `port` may then be 0."""


def split_nexthop(nexthop: str) -> tuple[str, ...]:
    """The destinations of a next hop, to be tried in order; they are parted by commas or blanks."""
    return tuple(nexthop.replace(",", " ").split())


def parse_destination(
    text: str, default_port: str, ports: Mapping[str, int], services: Collection[str] = ()
) -> Destination:
    """ValueError says what is wrong with `text`. `ports` are the names that a port may have; of `services` the ports
    are found out later."""
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise ValueError("missing ']', or something other than a port after it")
        port = rest[1:] if rest else default_port
    else:
        host, colon, port = text.partition(":")
        if ":" in port:
            raise ValueError("an IPv6 address needs brackets")
        if not colon:
            port = default_port
    if host[:5].lower() == "ipv6:":
        host = host[5:]
    if host.isascii() and not valid_hostname(host) and not valid_address(host):
        raise ValueError("valid hostname or network address required")
    literal = text.startswith("[")
    if port in services and not literal:
        return Destination(host, ports.get(port, 0), literal, port)
    return Destination(host, _port(port, ports), literal)


def _port(text: str, ports: Mapping[str, int]) -> int:
    if text.isascii() and text.isdecimal():
        number = int(text)
    else:
        number = ports.get(text, 0)
    if not 0 < number < 65536:
        raise ValueError(f"unknown port {text!r}")
    return number
