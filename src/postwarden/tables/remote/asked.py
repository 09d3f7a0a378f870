"""tcp: and socketmap: tables, tcp_table(5) and socketmap_table(5): a server is asked for whole keys."""

from abc import ABC, abstractmethod

from postwarden.config.errors import ConfigError
from postwarden.mail.decision import Origin
from postwarden.tables.remote.peer import Peer, PeerError, endpoint, tcp_endpoint
from postwarden.tables.table import Found, TableError
from postwarden.wire.lookups import Looked, SocketmapReader, TcpReader, socketmap_request, tcp_request

SECONDS = 100.0


class AskedTable(ABC):
    """Base. There is no file behind it: nothing changes."""

    fixed = False
    slow = True

    def __init__(self, name: str, peer: Peer) -> None:
        self.name = name
        self._peer = peer

    @abstractmethod
    def _ask(self, key: str) -> Looked:
        """Raises PeerError."""

    def get(self, key: str) -> Found | None:
        try:
            looked = self._ask(key)
        except PeerError as error:
            raise TableError(self.name, str(error)) from error
        if looked.error:
            raise TableError(self.name, looked.error)
        return None if looked.value is None else Found(looked.value, key, self.name)

    def stale(self) -> bool:
        self._peer.sweep()
        return False

    def reload(self) -> None:
        """There is nothing to read; connections begin anew."""
        self._peer.close()


class TcpTable(AskedTable):
    def __init__(self, name: str, server: str, origin: Origin) -> None:
        """`server`: `host:port`. Raises ConfigError."""
        try:
            peer = Peer(tcp_endpoint(server), SECONDS)
        except ValueError as error:
            raise ConfigError(origin, f"{name}: {error}") from error
        super().__init__(name, peer)

    def _ask(self, key: str) -> Looked:
        return self._peer.ask(tcp_request(key), TcpReader)


class SocketmapTable(AskedTable):
    def __init__(self, name: str, place: str, origin: Origin, directory: str = "") -> None:
        """`place`: `inet:host:port:map` or `unix:path:map`, a relative path being one of `directory`.
        Raises ConfigError."""
        server, colon, self._map = place.rpartition(":")
        try:
            if not colon:
                raise ValueError("socketmap requires server:socketmap argument")
            peer = Peer(endpoint(server, directory), SECONDS)
        except ValueError as error:
            raise ConfigError(origin, f"{name}: {error}") from error
        super().__init__(name, peer)

    def _ask(self, key: str) -> Looked:
        return self._peer.ask(socketmap_request(self._map, key), SocketmapReader)
