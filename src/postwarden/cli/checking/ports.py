"""Listening sockets: addresses that this machine does not have, and ports that somebody else has."""

import contextlib
import ipaddress
import os
import queue
import threading
from collections.abc import Iterator

from msgspec import Struct

from postwarden.cli.checking.findings import Finding, error
from postwarden.config.errors import ConfigError
from postwarden.config.settings import Settings
from postwarden.ipc.records import Listener
from postwarden.mail.decision import Origin
from postwarden.roles import lock
from postwarden.roles.listeners import listeners

_LISTENS = "0A"
_PATIENCE = 3.0
"""Seconds for the names in inet_interfaces and master.cf to be looked up."""


class Socket(Struct, frozen=True):
    address: str
    port: int
    inode: str


def findings(settings: Settings, proc: str = "/proc") -> Iterator[Finding]:
    try:
        wanted = _listeners(settings)
    except ConfigError as fault:
        yield error(fault.origin, what=fault.text, why="the gateway can't start", cure="correct the line")
        return
    taken = list(listening(proc))
    own = {str(ipaddress.ip_interface(text).ip) for text in settings.system.interfaces}
    master = lock.running(settings.text("queue_directory"))
    for listener in wanted:
        service = settings.find_service(listener.service)
        origin = settings.origin("inet_interfaces") if service is None else service.origin
        if own and listener.address not in own and not ipaddress.ip_address(listener.address).is_unspecified:
            yield error(
                _named(settings, listener, origin),
                what=f"this machine does not have the address {listener.address}",
                why=f"nothing can listen on it, port {listener.port}",
                cure="correct inet_interfaces or the name of the service",
            )
            continue
        yield from _taken(listener, origin, taken, master, proc)


def _named(settings: Settings, listener: Listener, origin: Origin) -> Origin:
    """Where the address was written: in the service's name, or in inet_interfaces."""
    name = listener.service.rpartition("/")[0]
    return origin if ":" in name else settings.origin("inet_interfaces")


def _taken(listener: Listener, origin: Origin, taken: list[Socket], master: int, proc: str) -> Iterator[Finding]:
    for found in taken:
        if found.port == listener.port and _collide(found.address, listener.address):
            holder = owner(found.inode, proc)
            # Who may not see whose it is must take it for ours while we run.
            if master and (holder is None or holder[0] == master or _parent(holder[0], proc) == master):
                continue
            who = f" {holder[1]} (process {holder[0]})" if holder else " another program"
            yield error(
                origin,
                what=f"port {listener.port} of {listener.address} is taken by{who}",
                why="the gateway can't start",
                cure="stop that program, or choose another port",
            )
            return


def _listeners(settings: Settings) -> list[Listener]:
    """`listeners`, for no longer than the system's resolver may take. Raises ConfigError."""
    answer: queue.Queue[list[Listener] | ConfigError] = queue.Queue()

    def ask() -> None:
        try:
            answer.put(listeners(settings))
        except ConfigError as fault:
            answer.put(fault)

    threading.Thread(target=ask, daemon=True).start()
    try:
        found = answer.get(timeout=_PATIENCE)
    except queue.Empty:
        raise ConfigError(
            settings.origin("inet_interfaces"), f"a host name in it was not found within {_PATIENCE:.0f} seconds"
        ) from None
    if isinstance(found, ConfigError):
        raise found
    return found


def _collide(one: str, other: str) -> bool:
    """Two sockets on one port. We set IPV6_V6ONLY; others seldom do, so that their `::` takes IPv4's port too."""
    if one == other:
        return True
    first, second = ipaddress.ip_address(one), ipaddress.ip_address(other)
    if first.version == second.version:
        return first.is_unspecified or second.is_unspecified
    return False


def listening(proc: str) -> Iterator[Socket]:
    for name in ("tcp", "tcp6"):
        try:
            with open(f"{proc}/net/{name}", encoding="ascii") as stream:
                lines = stream.readlines()[1:]
        except OSError:
            continue
        for line in lines:
            words = line.split()
            if len(words) > 9 and words[3] == _LISTENS:
                address, _, port = words[1].partition(":")
                with contextlib.suppress(ValueError):
                    yield Socket(_address(address), int(port, 16), words[9])


def _address(text: str) -> str:
    """Four bytes each in the order of a little-endian machine."""
    packed = bytes.fromhex(text)
    words = [packed[at : at + 4][::-1] for at in range(0, len(packed), 4)]
    return str(ipaddress.ip_address(b"".join(words)))


def owner(inode: str, proc: str) -> tuple[int, str] | None:
    """(process id, name) of a socket's owner, the oldest; None where we may not see it."""
    for pid in sorted(int(name) for name in os.listdir(proc) if name.isdigit()):
        with contextlib.suppress(OSError):
            for fd in os.listdir(f"{proc}/{pid}/fd"):
                if os.readlink(f"{proc}/{pid}/fd/{fd}") == f"socket:[{inode}]":
                    with open(f"{proc}/{pid}/comm", encoding="utf-8", errors="replace") as stream:
                        return pid, stream.read().strip()
    return None


def _parent(pid: int, proc: str) -> int:
    try:
        with open(f"{proc}/{pid}/stat", encoding="utf-8", errors="replace") as stream:
            return int(stream.read().rpartition(")")[2].split()[1])
    except (OSError, ValueError, IndexError):
        return 0
