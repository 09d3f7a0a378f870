"""The listening sockets: those of the `inet … smtpd` services, and the one of local users; which addresses they stand
for, and binding them."""

import contextlib
import os
import socket
from collections.abc import Iterator

from postwarden.config.entrances import entrances
from postwarden.config.entries import Service
from postwarden.config.errors import ConfigError
from postwarden.config.settings import Settings
from postwarden.ipc.records import Listener
from postwarden.net.dial import set_window
from postwarden.spool.layout import spool_directory

_BACKLOG = 1024
SUBMIT = "submit"
"""What `Listener.service` is for the socket of local users: no service of master.cf has a name without a type."""


def submission(settings: Settings) -> Listener:
    """The socket at which local users hand in their mail."""
    public = os.path.join(spool_directory(settings.text("queue_directory")), "public")
    return Listener(SUBMIT, os.path.join(public, SUBMIT), 0)


def listeners(settings: Settings) -> list[Listener]:
    """Every socket that the configuration asks for, in master.cf order. Raises ConfigError with the line at fault."""
    found: dict[tuple[str, int], tuple[Listener, Service]] = {}
    window = settings.number("tcp_windowsize")
    for service, rules in entrances(settings):
        patience = _patience(settings, service)
        for address, port in _endpoints(settings, service):
            if (address, port) in found:
                # The two may differ in what they let pass, and the kernel would choose.
                other = found[address, port][1].origin
                raise ConfigError(service.origin, f"{address} port {port} is already that of {other}")
            found[address, port] = Listener(rules.key, address, port, patience, window), service
    return [listener for listener, _ in found.values()]


def _endpoints(settings: Settings, service: Service) -> Iterator[tuple[str, int]]:
    host, _, port_name = service.name.rpartition(":")
    port = _port(service, port_name)
    hosts = [host.strip("[]")] if host else settings.text("inet_interfaces").replace(",", " ").split()
    families = _families(settings.text("inet_protocols"))
    seen = set()
    for name in hosts:
        for address in _addresses(service, name, families):
            if address not in seen:
                seen.add(address)
                yield address, port


def _patience(settings: Settings, service: Service) -> int:
    """`Listener.patience`. Raises ConfigError."""
    name = f"{service.command}_upstream_proxy_protocol"
    protocol = settings.text(name, service.key)
    if not protocol:
        return 0
    if protocol != "haproxy":
        raise ConfigError(settings.origin(name, service.key), f"unsupported {name} value: {protocol}")
    return settings.number(f"{service.command}_upstream_proxy_timeout", service.key)


def _port(service: Service, name: str) -> int:
    if name.isdecimal() and int(name) < 65536:
        return int(name)
    try:
        return socket.getservbyname(name, "tcp")
    except OSError:
        raise ConfigError(service.origin, f"unknown service name or port: {name}") from None


def _families(protocols: str) -> list[socket.AddressFamily]:
    words = protocols.replace(",", " ").split()
    families = []
    if "all" in words or "ipv4" in words:
        families.append(socket.AF_INET)
    if ("all" in words or "ipv6" in words) and _has_ipv6():
        families.append(socket.AF_INET6)
    return families


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def _addresses(service: Service, name: str, families: list[socket.AddressFamily]) -> list[str]:
    if name == "all":
        return [("0.0.0.0" if family == socket.AF_INET else "::") for family in families]
    if name == "loopback-only":
        return [("127.0.0.1" if family == socket.AF_INET else "::1") for family in families]
    try:
        answers = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:  # the second for what can't be an internationalised name
        raise ConfigError(service.origin, f"host not found: {name}: {error}") from None
    return [str(a[4][0]) for a in answers if a[0] in families]


class Sockets:
    """Those that are open, by what they listen for. They are handed to one generation of receivers after the other."""

    def __init__(self) -> None:
        self._open: dict[tuple[str, int], socket.socket] = {}

    def __contains__(self, listener: Listener) -> bool:
        return (listener.address, listener.port) in self._open

    def descriptor(self, listener: Listener) -> int:
        """A new one. Raises OSError."""
        return os.dup(self._open[listener.address, listener.port].fileno())

    def rebind(self, wanted: tuple[Listener, ...]) -> None:
        """Open what is new, then close what is no longer asked for; an address that can't be had changes nothing.
        Raises OSError."""
        keep = {(listener.address, listener.port) for listener in wanted}
        fresh: dict[tuple[str, int], socket.socket] = {}
        try:
            for listener in wanted:
                place = (listener.address, listener.port)
                if place not in self._open and place not in fresh:
                    fresh[place] = bind(listener)
        except OSError:
            for sock in fresh.values():
                sock.close()
            raise
        self._open |= fresh
        for listener in wanted:
            if listener.window:
                set_window(self._open[listener.address, listener.port], listener.window)
        for place in [place for place in self._open if place not in keep]:
            self._open.pop(place).close()

    def close(self) -> None:
        for sock in self._open.values():
            sock.close()


def bind(listener: Listener) -> socket.socket:
    """A listening socket. Raises OSError, whose text names address and port."""
    if listener.service == SUBMIT:
        return _bind_unix(listener.address)
    family = socket.AF_INET6 if ":" in listener.address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if listener.window:
            set_window(sock, listener.window)
        sock.bind((listener.address, listener.port))
        sock.listen(_BACKLOG)
    except OSError as error:
        sock.close()
        raise OSError(error.errno, f"bind {listener.address} port {listener.port}: {error.strerror}") from None
    return sock


def _bind_unix(path: str) -> socket.socket:
    """Open to all: the kernel says who connects. What a former master left there is in the way.

    The directories above belong to the roles, and we may be root: a link that one of them put there must not have us
    remove or open up a file of somebody else. The mode comes from the mask alone, so that none is ever changed.
    """
    public, name = os.path.split(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    directory = -1
    try:
        directory = _open_directory(public)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=directory)
        mask = os.umask(0o111)
        try:
            sock.bind(f"/proc/self/fd/{directory}/{name}")
        finally:
            os.umask(mask)
        sock.listen(_BACKLOG)
    except OSError as error:
        sock.close()
        raise OSError(error.errno, f"bind {path}: {error.strerror or error}") from None
    finally:
        if directory >= 0:
            os.close(directory)
    return sock


def _open_directory(path: str) -> int:
    """`…/postwarden/public`: the last two parts may be no links."""
    flags = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    above, name = os.path.split(path)
    spool = os.open(above, flags)
    try:
        return os.open(name, flags, dir_fd=spool)
    finally:
        os.close(spool)
