"""What the machine says of itself: names and addresses that defaults are made of."""

import ipaddress
from collections.abc import Iterable

from msgspec import Struct

STYLES = ("class", "subnet", "host")
"""Values of mynetworks_style."""

Address = ipaddress.IPv4Interface | ipaddress.IPv6Interface


class System(Struct, frozen=True, array_like=True):
    """Read once when the configuration is loaded, so that all roles see the same."""

    hostname: str
    """As gethostname says it."""
    interfaces: tuple[str, ...] = ()
    """`address/prefix length` of each address of this machine, loopback too."""


def hostname(system: System, domain: str) -> str:
    """Default of myhostname. `domain` is mydomain where the operator set it."""
    return system.hostname if "." in system.hostname else f"{system.hostname}.{domain or 'localdomain'}"


def domain(name: str) -> str:
    """Default of mydomain: what follows the first dot of myhostname."""
    return name.partition(".")[2] or "localdomain"


def networks(system: System, style: str, chosen: tuple[str, ...], protocols: tuple[str, ...]) -> str:
    """Default of mynetworks: by mynetworks_style, of the addresses of inet_interfaces and inet_protocols."""
    found = {_network(address, style): None for address in _own(system, chosen, protocols)}
    return " ".join(f"[{n.network_address}]/{n.prefixlen}" if n.version == 6 else str(n) for n in found)


def own_addresses(system: System, chosen: tuple[str, ...], protocols: tuple[str, ...]) -> tuple[str, ...]:
    """The addresses that inet_interfaces (`all`, `loopback-only`, addresses) and inet_protocols choose."""
    return tuple(str(address.ip) for address in _own(system, chosen, protocols))


def _own(system: System, chosen: tuple[str, ...], protocols: tuple[str, ...]) -> list[Address]:
    versions = {4, 6} if "all" in protocols else {int(p[-1]) for p in protocols if p in ("ipv4", "ipv6")}
    every = sorted({_interface(text) for text in system.interfaces}, key=lambda a: (a.version, a.ip.packed))
    every = [address for address in every if address.version in versions]
    if chosen == ("loopback-only",):
        return [address for address in every if address.ip.is_loopback]
    if "all" in chosen:
        return every
    wanted = set(_addresses(chosen))
    return [address for address in every if str(address.ip) in wanted]


def _addresses(chosen: Iterable[str]) -> Iterable[str]:
    for text in chosen:
        if text == "localhost":
            yield from ("127.0.0.1", "::1")
        else:
            yield text.removeprefix("[").removesuffix("]")


def _interface(text: str) -> Address:
    return ipaddress.ip_interface(text)


def _network(address: Address, style: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    if address.version == 4 and style == "class":
        first = address.ip.packed[0]
        return ipaddress.ip_network(f"{address.ip}/{8 if first < 128 else 16 if first < 192 else 24}", strict=False)
    if style == "host":
        return ipaddress.ip_network(address.ip)
    return address.network
