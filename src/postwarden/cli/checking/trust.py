"""Who may relay: networks that are too wide, strangers who look like friends, lists that let forged names through."""

import ipaddress
import os
import re
from collections.abc import Iterator
from itertools import pairwise

from postwarden.cli.checking.advice import advised
from postwarden.cli.checking.findings import Finding, error, note, warning
from postwarden.cli.checking.rows import elements, is_table, items, rows, type_of
from postwarden.config.errors import Problem
from postwarden.config.settings import Settings
from postwarden.mail.decision import Origin
from postwarden.tables.network import Network, NetworkError, address_bits

Net = ipaddress.IPv4Network | ipaddress.IPv6Network
_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")
_WIDE = {4: 16, 6: 32}
"""Shortest prefix of public addresses that one site may well own."""
CLOSING = ("reject_unauth_destination", "defer_unauth_destination", "reject", "defer", "defer_if_permit")
"""What keeps strangers from relaying, unless `permit` comes before it or warn_if_reject right before."""
_LISTS = ("smtpd_relay_restrictions", "smtpd_recipient_restrictions")
_FORGED = frozenset(("check_sender_access", "check_helo_access"))
_PERMITS = re.compile(r"(?:ok|permit|relay|[0-9]+)(?:\s.*)?", re.IGNORECASE | re.DOTALL)
_BRIDGES = ("docker", "br-", "podman", "cni", "lxcbr", "lxdbr", "virbr", "nerdctl")
_CONTAINER = ("/.dockerenv", "/run/.containerenv", "/run/systemd/container")


def findings(settings: Settings, root: str = "/") -> Iterator[Finding]:
    """`root`: where /proc and the marks of a container are looked for."""
    bridges = tuple(bridge_addresses(settings, root))
    for service in ("", *(s.key for s in settings.services if s.command == "smtpd" and s.type != "unix")):
        if not service or settings.find_override("mynetworks", service):
            yield from _networks(settings, service, bridges)
        if service:
            yield from _lists(settings, service)
    if settings.text("soft_bounce") == "yes" and settings.entry("soft_bounce"):
        yield note(
            settings.origin("soft_bounce"),
            what="soft_bounce = yes",
            why="nothing is refused or returned for good: senders and spammers try for days",
            cure="remove it after the test that it is meant for",
        )


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
    for address, why in bridges:
        ip = ipaddress.ip_address(address)
        if any(net.version == ip.version and ip in net for net in nets):
            yield warning(
                origin, what=f"mynetworks trusts {address}, {why}",
                why="connections that come through its NAT or its proxy, from the internet too where a port is"
                " published, have this address: all of them could relay",
                cure="leave the address out of mynetworks (`!address` before the network), or give the containers that"
                " send mail networks and addresses of their own",
            )  # fmt: skip
    yield from _loopback(settings, service, nets, bad)


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


def _wide(element: str, net: Net, origin: Origin) -> Iterator[Finding]:
    if net.prefixlen == 0:
        yield _everybody(origin, element)
    elif not (net.is_private or net.is_loopback or net.is_link_local) and net.prefixlen < _WIDE[net.version]:
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
        elif words[0].startswith(_BRIDGES) and int(mask):
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


def _lists(settings: Settings, service: str) -> Iterator[Finding]:
    """Every list has its say: one clean list that ends in a refusal is enough."""
    faults: list[Finding] = []
    closed = False
    for name in _LISTS:
        words = _flat(settings, name, service)
        closing = next((at for at, word in enumerate(words) if word == "permit" or _closes(words, at)), None)
        if closing is None or words[closing] == "permit":
            continue
        closed = True
        found = list(_forged(settings, name, service, words[:closing]))
        if not found:
            return
        faults += found
    if not closed:
        faults = [_open(settings, service)]
    yield from faults


def _open(settings: Settings, service: str) -> Finding:
    """In the judge's own words, so that it is said once."""
    origin = settings.origin(_LISTS[0], service)
    text = f"in parameter {' or '.join(_LISTS)}, specify at least one working instance of: {', '.join(CLOSING)}"
    return advised(Problem(origin, "error", text), settings)


def _closes(words: list[str], at: int) -> bool:
    return words[at] in CLOSING and (at == 0 or words[at - 1] != "warn_if_reject")


def _flat(settings: Settings, name: str, service: str, depth: int = 0) -> list[str]:
    """The words of a list with its restriction classes replaced by theirs."""
    found: list[str] = []
    classes = items(settings, "smtpd_restriction_classes", service)
    for word in items(settings, name, service):
        if word in classes and depth < 20:
            found += _flat(settings, word, service, depth + 1)
        else:
            found.append(word if ":" in word else word.lower())
    return found


def _forged(settings: Settings, name: str, service: str, words: list[str]) -> Iterator[Finding]:
    """Tables before the refusal that let strangers relay."""
    origin = settings.origin(name, service)
    for word, table in pairwise(words):
        if not word.startswith("check_") or not word.endswith("_access") or ":" not in table:
            continue
        for row in rows(settings, table, origin):
            if not _PERMITS.fullmatch(row.value):
                continue
            if row.key == "*":
                yield error(
                    origin, what=f"{name}: {word} {table} permits everybody, before anything is refused",
                    why="this is an open relay", cure="answer DUNNO instead of OK, or put it behind the refusal",
                )  # fmt: skip
            elif word in _FORGED:
                yield warning(
                    row.origin, what=f"{word} {table}: {row.key} {row.value} lets mail be relayed, by {name}",
                    why=f"anybody can claim that {'sender' if 'sender' in word else 'HELO name'}, and then send to"
                    " everybody through this machine",
                    cure=f"answer DUNNO, or use it in another list than {name}",
                )  # fmt: skip
                break
