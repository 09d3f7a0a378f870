"""Connections that a load balancer has made and not yet explained (smtpd_upstream_proxy_protocol): they count as
sessions do, and who brings no header that can be used is sent away."""

from postwarden.mail.events import Connected, Disconnected
from postwarden.net.peername import UNKNOWN, client_address
from postwarden.receive.service import Service

_SHOWN = 100


class Proxies:
    """`net.proxied_stream.ProxyGate` of one service."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self.open = 0

    def begins(self) -> bool:
        if not self._service.has_room():
            return False
        self.open += 1
        self._service.handshaking(1)
        return True

    def ends(self, peer: tuple[str, int], fault: str, data: bytes) -> bytes:
        service = self._service
        self.open -= 1
        service.handshaking(-1)
        if not fault:
            return b""
        came = repr(data[:_SHOWN])[2:-1]
        service.warn(f"haproxy read: {fault}{f': {came}' if came else ''}")
        client = service.client(UNKNOWN, client_address(peer[0]), peer[1])
        service.emit(Connected(client))
        service.emit(Disconnected(client, ()))
        return b"" if service.wrapper else f"421 4.3.0 {service.hostname} Server local error\r\n".encode()
