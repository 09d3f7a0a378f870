"""TLS between a stream and its socket, by memory: cipher text in, plain text out, and the other way round.

One layer for both event loops. A session costs what OpenSSL's own state costs, and what TLS has to say beside the
data leaves together with it: the tickets that a TLS 1.3 server owes after the handshake wait for its first reply, the
closing alert goes with its last. Each write that is saved is a wake-up of the peer that is saved.
"""

import contextlib
import ssl
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any

from postwarden.mail.session import PeerCertificate, TlsFacts

_RECORD = 1 << 14
"""The most plain text that one TLS record holds (RFC 8446 5.1)."""
_KEPT = 4096
"""Bytes that may wait for company: two tickets are 500."""


class TlsLayer:
    def __init__(self, context: ssl.SSLContext, *, server_side: bool, server_name: str = "") -> None:
        """`server_name` is sent as SNI by a client; empty: none."""
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._incoming, self._outgoing, server_side=server_side, server_hostname=server_name or None
        )
        self._server = server_side
        self.finished = False
        """The peer has said that it will send no more (close_notify)."""

    def handshake(self, data: bytes = b"") -> bool:
        """Go on with what the peer sent; True when it is over. Raises ssl.SSLError; `take` then gives the alert."""
        if data:
            self._incoming.write(data)
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    @property
    def owes(self) -> bool:
        """After the handshake: the peer waits for what `take` gives. Not so for the tickets of TLS 1.3."""
        return not self._server or self._tls.version() != "TLSv1.3"

    @property
    def full(self) -> bool:
        """So much waits that `take` has to be called now. A peer that asks for new keys again and again and for nothing
        else (RFC 8446 4.6.3) is owed 27 bytes each time: they would grow with no end."""
        return self._outgoing.pending > _KEPT

    def decrypt(self, data: bytes) -> bytes:
        """Plain text that is complete by now. Raises ssl.SSLError."""
        incoming, tls = self._incoming, self._tls
        if data:
            incoming.write(data)
        chunks: list[bytes] = []
        try:
            while incoming.pending or tls.pending():
                chunk = tls.read(_RECORD)
                if not chunk:
                    self.finished = True
                    break
                chunks.append(chunk)
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.finished = True
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def encrypt(self, data: bytes) -> bytes:
        """What to send for it, and for all that TLS itself has to say. Raises ssl.SSLError."""
        self._tls.write(data)
        return self._outgoing.read()

    def take(self) -> bytes:
        """What TLS itself has to say: handshake, tickets, alerts, answers to a change of keys."""
        return self._outgoing.read() if self._outgoing.pending else b""

    def finish(self) -> bytes:
        """The alert that ends what we send (close_notify), and what waited for company."""
        with contextlib.suppress(ssl.SSLError):  # SSLWantReadError: the peer's own is not waited for (RFC 8446 6.1)
            self._tls.unwrap()
        return self.take()

    @property
    def certificate(self) -> PeerCertificate | None:
        """The peer's. Its names are read only of one that OpenSSL has verified."""
        der = self._tls.getpeercert(True)
        return None if der is None else PeerCertificate(der, _names(self._tls.getpeercert() or {}))

    @property
    def facts(self) -> TlsFacts:
        """Of the established layer."""
        cipher, protocol, bits = self._tls.cipher() or ("unknown", "unknown", 0)
        return TlsFacts(self._tls.version() or protocol, cipher, bits)


def _names(certificate: Mapping[str, Any]) -> tuple[str, ...]:
    """Host names and addresses; where there is no host name the common name counts (RFC 6125 6.4.4)."""
    entries = certificate.get("subjectAltName", ())
    names = tuple(value for kind, value in entries if kind == "DNS")
    if not names:
        subject = (pair for part in certificate.get("subject", ()) for pair in part)
        names = tuple(value for kind, value in subject if kind == "commonName")[-1:]
    return names + tuple(_address(value) for kind, value in entries if kind == "IP Address")


def _address(text: str) -> str:
    """OpenSSL writes IPv6 addresses in a form of its own."""
    try:
        return str(ip_address(text.strip()))
    except ValueError:
        return ""
