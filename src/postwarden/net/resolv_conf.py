"""Which name servers to ask: resolv.conf(5), or a list that was given."""

import ipaddress
from collections.abc import Callable

from msgspec import Struct

from postwarden.net.watched import WatchedText

Server = tuple[str, int]
_MAX_SERVERS = 3


class ResolverConfig(Struct, frozen=True):
    servers: tuple[Server, ...]
    timeout: float = 5.0
    """Seconds to wait for one server."""
    attempts: int = 2
    """How often each server is asked."""
    search: tuple[str, ...] = ()
    rotate: bool = False
    tcp: bool = False
    trust_ad: bool = False
    """The AD bit may be believed: the resolver is on this host, or the operator said `options trust-ad`. What comes
    over a network could have been forged on it."""


def parse_resolv_conf(text: str) -> ResolverConfig:
    """Read resolv.conf(5). As in the C library, what is not understood is passed over, and without a server
    127.0.0.1 is asked."""
    servers: list[Server] = []
    search: tuple[str, ...] = ()
    options: dict[str, str] = {}
    for line in text.splitlines():
        words = line.partition("#")[0].partition(";")[0].split()
        if len(words) < 2:
            continue
        keyword, values = words[0], words[1:]
        if keyword == "nameserver" and len(servers) < _MAX_SERVERS and _is_address(values[0]):
            servers.append((values[0], 53))
        elif keyword in ("search", "domain"):
            search = tuple(value.strip(".") for value in values if value.strip("."))
        elif keyword == "options":
            options.update((name, value) for name, _, value in (word.partition(":") for word in values))
    return ResolverConfig(
        tuple(servers) or (("127.0.0.1", 53),),
        timeout=float(_number(options.get("timeout"), 5, 1, 30)),
        attempts=_number(options.get("attempts"), 2, 1, 5),
        search=search,
        rotate="rotate" in options,
        tcp="use-vc" in options,
        trust_ad="trust-ad" in options or all(_is_loopback(address) for address, _ in servers or [("127.0.0.1", 53)]),
    )


def given_servers(texts: tuple[str, ...]) -> ResolverConfig:
    """The servers of `address`, `address:port` or `[address]:port`. ValueError names the one that is none."""
    servers = tuple(_server(text) for text in texts)
    return ResolverConfig(servers, trust_ad=all(_is_loopback(address) for address, _ in servers))


def _server(text: str) -> Server:
    address, port = text, "53"
    if text.startswith("["):
        address, bracket, rest = text[1:].partition("]")
        port = (rest[1:] if rest.startswith(":") else "53") if bracket and rest[:1] in (":", "") else ""
    elif text.count(":") == 1:
        address, _, port = text.partition(":")
    if not _is_address(address) or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ValueError(f"not an address of a name server: {text}")
    return address, int(port)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _is_loopback(text: str) -> bool:
    return ipaddress.ip_address(text).is_loopback


def _number(text: str | None, default: int, low: int, high: int) -> int:
    return max(low, min(high, int(text))) if text and text.isdecimal() else default


class ResolvConf:
    """resolv.conf as it is now: looked at once a second. One that can't be read leaves the last one in force."""

    def __init__(self, monotonic: Callable[[], float], path: str = "/etc/resolv.conf") -> None:
        self._file = WatchedText(path, monotonic)
        self._config = parse_resolv_conf("")

    def __call__(self) -> ResolverConfig:
        text = self._file.changed()
        if text is not None:
            self._config = parse_resolv_conf(text)
        return self._config
