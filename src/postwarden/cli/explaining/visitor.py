"""The other end of a session that is only played: a stream without a network, names that were given, a store that
keeps nothing."""

import asyncio
import ssl
from collections.abc import Callable

from postwarden.mail.decision import Fact
from postwarden.mail.envelope import Envelope
from postwarden.mail.reply import Reply
from postwarden.mail.session import PeerCertificate, TlsFacts
from postwarden.net.resolver import Done, Resolver, as_coroutine
from postwarden.net.stream import Handler
from postwarden.wire.dns import Kind, Record, reverse_name
from postwarden.wire.dns_answer import Answer, Outcome

PLAYED_TLS = TlsFacts("TLSv1.3", "TLS_AES_256_GCM_SHA384", 256)


class Visitor:
    """A `net.stream.Stream` to the server; `heard` is what it has said, `spoke` is set each time."""

    def __init__(self, handler: Handler, peer: tuple[str, int], local: tuple[str, int], *, tls: bool) -> None:
        self._handler = handler
        self.peer = peer
        self.local = local
        self.tls: TlsFacts | None = PLAYED_TLS if tls else None
        self.certificate: PeerCertificate | None = None
        self.heard = b""
        self.spoke = asyncio.Event()
        self.gone = False

    def connect(self) -> None:
        self._handler.opened(self)

    def say(self, data: bytes) -> None:
        if not self.gone:
            self._handler.received(data)

    def leave(self) -> None:
        if not self.gone:
            self.gone = True
            self.spoke.set()
            self._handler.closed(None)

    # Stream

    def write(self, data: bytes) -> None:
        self.heard += data
        self.spoke.set()

    def pause(self) -> None:
        """Nothing waits to be taken."""

    def resume(self) -> None:
        """Nothing waits to be taken."""

    def start_tls(self, context: ssl.SSLContext, *, server_side: bool, server_name: str = "") -> None:
        self.tls = PLAYED_TLS
        self._handler.secured(PLAYED_TLS)

    def close(self) -> None:
        self.leave()

    abort = close


class Told(Resolver):
    """A resolver that notes what it was asked. Of the client's own name it may know more than DNS; without another
    behind it, it knows nothing else."""

    def __init__(self, behind: Resolver | None, facts: list[Fact], client: str, name: str) -> None:
        """`name`: what the address `client` is called; empty: ask."""
        self._behind = behind
        self._facts = facts
        self._given: dict[tuple[str, int], Answer] = {}
        if name:
            kind = Kind.AAAA if ":" in client else Kind.A
            reverse = reverse_name(client)
            self._given[reverse, Kind.PTR] = _found(reverse, Kind.PTR, name)
            self._given[name.lower(), kind] = _found(name, kind, client)

    def lookup(self, name: str, kind: Kind, done: Done) -> None:
        given = self._given.get((name.lower(), kind))

        def answered(answer: Answer) -> None:
            said = " ".join(str(record.data) for record in answer.records) or answer.outcome.value
            if given is None and self._behind is None:
                said = "not asked"
            self._facts.append(Fact(f"DNS {kind.name}", name, "was given" if given is not None else said))
            done(answer)

        if given is not None:
            answered(given)
        elif self._behind is None:
            answered(Answer(Outcome.TEMPFAIL, name, kind))
        else:
            self._behind.lookup(name, kind, answered)

    async def query(self, name: str, kind: Kind) -> Answer:
        return await as_coroutine(self, name, kind)


def _found(name: str, kind: Kind, data: str) -> Answer:
    return Answer(Outcome.FOUND, name, kind, (Record(name, kind, 60, data),), name, ttl=60)


class Forgetful:
    """A `receive.ports.Store` that keeps nothing but the envelopes."""

    def __init__(self, call_soon: Callable[[Callable[[], None]], object]) -> None:
        self._call_soon = call_soon
        self.envelopes: list[Envelope] = []

    def new_queue_id(self) -> str:
        return "EXPLAINED"

    def room(self, size: int) -> Reply | None:
        return None

    def draft(self) -> "_Draft":
        return _Draft(self)


class _Draft:
    on_drained: Callable[[], None] | None = None
    congested = False

    def __init__(self, store: Forgetful) -> None:
        self._store = store

    def write(self, data: bytes) -> None:
        """Nobody reads it."""

    def commit(self, envelope: Envelope, head: bytes, done: Callable[[Reply | None], None]) -> None:
        self._store.envelopes.append(envelope)
        self._store._call_soon(lambda: done(None))

    def abandon(self) -> None:
        """Nothing was kept."""
