"""mynetworks: networks that are too wide, strangers who look like friends, friends who do not."""

import ipaddress
import os
import re
from collections.abc import Callable, Iterator
from functools import partial

from postwarden.cli.checking.findings import Finding, error, note, warning
from postwarden.cli.checking.rows import elements, is_table, items, type_of
from postwarden.config.settings import Settings
from postwarden.mail.decision import Origin
from postwarden.tables.network import Network, NetworkError, address_bits

Net = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")
_WIDE = {4: 16, 6: 32}
"""Shortest prefix of public addresses that one site may well own."""
_BRIDGES = re.compile(r"(?:docker|podman|cni|nerdctl|lxcbr|lxdbr)\w*|br-[0-9a-f]{12}")
_POOLS = tuple(ipaddress.IPv4Network(text) for text in ("172.16.0.0/12", "10.88.0.0/16"))
"""From which Docker and Podman take the networks of their bridges; the gateway is the first address of each."""
_USUAL = tuple(ipaddress.IPv4Address(text) for text in ("172.17.0.1", "10.88.0.1"))
_CONTAINER = ("/.dockerenv", "/run/.containerenv", "/run/systemd/container")


def findings(settings: Settings, root: str = "/") -> Iterator[Finding]:
    """`root`: where /proc and the marks of a container are looked for."""
    bridges = tuple(bridge_addresses(settings, root))
    for service in ("", *(s.key for s in settings.services if s.command == "smtpd" and s.type != "unix")):
        if not service or settings.find_override("mynetworks", service):
            yield from _networks(settings, service, bridges)


def _networks(settings: Settings, service: str, bridges: tuple[tuple[str, str], ...]) -> Iterator[Finding]:
    origin = settings.origin("mynetworks", service)
    nets: list[Net] = []
    for item in items(settings, "mynetworks", service):
        if is_table(item) and type_of(item)[0] == "static":
            yield _everybody(origin, item)
    bad = 0
    for element, where in elements(settings, "mynetworks", service):
        net = network(element)
        if net is None:
            bad += _looks_like_one(element)
            continue
        nets.append(net)
        yield from _wide(element, net, where)
    yield from _translated(partial(_trusted, items(settings, "mynetworks", service), nets), nets, origin, bridges)
    yield from _loopback(settings, service, nets, bad)


def _trusted(written: tuple[str, ...], nets: list[Net], ip: Address) -> bool:
    """The first element that fits decides; `nets` are those of files and tables, too."""
    for item in written:
        net = network(item.lstrip("!"))
        if net is not None and net.version == ip.version and ip in net:
            return not item.startswith("!")
    return any(net.version == ip.version and ip in net for net in nets)


def _translated(
    trusted: Callable[[Address], bool], nets: list[Net], origin: Origin, bridges: tuple[tuple[str, str], ...]
) -> Iterator[Finding]:
    """Strangers that come with an address of ours."""
    why = (
        "connections that come through its NAT or its proxy, from the internet too where a port is published, have this"
        " address: all of them could relay"
    )
    cure = "leave the address out (`!address` before the network), or give senders networks and addresses of their own"
    known = [(ipaddress.ip_address(address), what) for address, what in bridges]
    for ip, what in known:
        if trusted(ip):
            yield warning(origin, what=f"mynetworks trusts {ip}, {what}", why=why, cure=cure)
    for ip in _USUAL:
        pools = [net for net in nets if net.version == 4 and ip in net and any(net.subnet_of(pool) for pool in _POOLS)]
        if pools and trusted(ip) and ip not in [address for address, _ in known]:
            what = f"mynetworks trusts {ip}, by its usual meaning the gateway of a bridge for containers"
            yield note(origin, what=what, why=f"if there is such a bridge, {why}", cure=cure)


def _loopback(settings: Settings, service: str, nets: list[Net], bad: int) -> Iterator[Finding]:
    """Programs on this machine that send by SMTP to 127.0.0.1 are the oldest users there are."""
    tables = any(is_table(item) for item in items(settings, "mynetworks", service))
    local = ipaddress.ip_address("127.0.0.1")
    if service or tables or not settings.entry("mynetworks") or any(n.version == 4 and local in n for n in nets):
        return
    yield (error if bad else note)(
        settings.origin("mynetworks"),
        what="mynetworks does not trust 127.0.0.1",
        why="programs on this machine that send by SMTP are answered 454 Relay access denied"
        + (", since the pattern that would hold it can't be read" if bad else ""),
        cure="begin it with 127.0.0.0/8" + (" [::ffff:127.0.0.0]/104 [::1]/128" if bad else ""),
    )


def network(text: str) -> Net | None:
    """The network of a pattern, an IPv4-mapped one as IPv4; None for a name and for what can't be read."""
    try:
        parsed = Network.parse(text)
    except NetworkError:
        return None
    if parsed.version == 4:
        return ipaddress.IPv4Network((parsed.bits, bin(parsed.mask).count("1")))
    net = ipaddress.IPv6Network((parsed.bits, bin(parsed.mask).count("1")))
    if net.subnet_of(_MAPPED):
        return ipaddress.IPv4Network((parsed.bits & 0xFFFFFFFF, net.prefixlen - 96))
    return net


def _looks_like_one(element: str) -> bool:
    return element.startswith("[") or "/" in element or address_bits(element) is not None


def foreign(net: Net) -> bool:
    """It holds addresses of many others."""
    return net.prefixlen < _WIDE[net.version] and not (net.is_private or net.is_loopback or net.is_link_local)


def _wide(element: str, net: Net, origin: Origin) -> Iterator[Finding]:
    if net.prefixlen == 0:
        yield _everybody(origin, element)
    elif foreign(net):
        yield warning(
            origin,
            what=f"mynetworks: {element} is wider than what one site has",
            why="everybody in it may relay through this machine",
            cure="name the networks that are yours",
        )


def _everybody(origin: Origin, element: str) -> Finding:
    return error(
        origin,
        what=f"mynetworks: {element} is the whole internet",
        why="this is an open relay: everybody may send to everybody through it",
        cure="name the networks that are yours, such as 127.0.0.0/8",
    )


def bridge_addresses(settings: Settings, root: str = "/") -> Iterator[tuple[str, str]]:
    """(address, what it is): the gateway of the container that we are in, and our own address on a bridge for
    containers."""
    try:
        with open(os.path.join(root, "proc/net/route"), encoding="ascii", errors="replace") as stream:
            routes = [line.split() for line in stream.readlines()[1:]]
    except OSError:
        return
    contained = any(os.path.exists(os.path.join(root, mark.lstrip("/"))) for mark in _CONTAINER)
    for words in routes:
        if len(words) < 8:
            continue
        target, gateway, mask = (_from_hex(words[at]) for at in (1, 2, 7))
        if contained and int(mask) == 0 and int(gateway):
            yield str(gateway), "the gateway of the container that this runs in"
        elif _BRIDGES.fullmatch(words[0]) and int(mask):
            net = ipaddress.IPv4Network(f"{target}/{mask}", strict=False)
            for text in settings.system.interfaces:
                address = ipaddress.ip_interface(text).ip
                if address.version == 4 and address in net:
                    yield str(address), f"this machine's address on the bridge {words[0]}"


def _from_hex(text: str) -> ipaddress.IPv4Address:
    """The kernel shows the bytes of an address in the order of a little-endian machine."""
    try:
        return ipaddress.IPv4Address(bytes.fromhex(text)[::-1])
    except ValueError:
        return ipaddress.IPv4Address(0)
