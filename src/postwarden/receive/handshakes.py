"""TLS handshakes before any SMTP is said (smtpd_tls_wrappermode): they count against the limits as sessions do.

A handshake costs more than a session's first commands, and a client that begins one and goes silent is no session that
anybody would see. Its name is not looked up before it has shown that it speaks TLS.
"""

from postwarden.mail.decision import Pending
from postwarden.mail.envelope import Client
from postwarden.mail.events import Notice
from postwarden.net.peername import client_address
from postwarden.receive.service import Service


class Handshakes:
    """`net.stream.Gate` of one service."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._key = f"{service.name} TLS"
        self.open = 0

    def begins(self, peer: str) -> bool:
        service, address = self._service, client_address(peer)
        if not service.has_room():
            return False
        if service.counters is not None:
            count, _ = service.counters.connect(self._key, service.network(address), service.clock.now())
            limit = service.mode.params.smtpd_client_connection_count_limit
            if 0 < limit < count and self._limited(address):
                service.counters.disconnect(self._key, service.network(address))
                who = Client("unknown", address)
                service.warn(f"Connection concurrency limit exceeded: {count} from {who} for service {service.name}")
                return False
        self.open += 1
        service.handshaking(1)
        return True

    def _limited(self, address: str) -> bool:
        """Nobody can be kept waiting here: who is exempt by a table that answers later is let in next time."""
        try:
            return self._service.clients.standing("unknown", address).limited
        except Pending:
            return True

    def ends(self, peer: str, error: Exception | None, *, secured: bool) -> None:
        service, address = self._service, client_address(peer)
        self.open -= 1
        service.handshaking(-1)
        if service.counters is not None:
            service.counters.disconnect(self._key, service.network(address))
        if not secured:
            service.emit(Notice(f"SSL_accept error from {Client('unknown', address)}: {error or 'lost connection'}"))
