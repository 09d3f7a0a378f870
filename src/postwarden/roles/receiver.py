"""The receiver: SMTP sessions in, durable messages out, and word of them to the courier.

The courier is told over a channel with a credit: past it only envelopes go, and the courier reads the bodies from the
segments when it has room. While there is no courier messages are taken all the same: they are durable, and the next
courier finds them.
"""

import asyncio
import os
import socket
from collections.abc import Callable
from functools import partial

from msgspec import structs

from postwarden import pipeline
from postwarden.config.errors import ConfigError
from postwarden.config.settings import Settings
from postwarden.config.view import view
from postwarden.ipc.channel import Channel
from postwarden.ipc.local_socket import login_name
from postwarden.ipc.records import (
    AddressAsked,
    AddressKnown,
    Credit,
    Link,
    Listener,
    SegmentSealed,
    SiteWanted,
    SlowDown,
    Stored,
    ToReceiver,
)
from postwarden.mail.events import Event, Warn
from postwarden.net.asking import Threads
from postwarden.net.dial import SocketDial
from postwarden.net.names import open_names
from postwarden.net.proxied_stream import ProxiedStream
from postwarden.net.stream import SocketStream
from postwarden.net.waiting import LoopWaiting
from postwarden.receive.counters import Counters
from postwarden.receive.handshakes import Handshakes
from postwarden.receive.proxies import Proxies
from postwarden.receive.session import Session
from postwarden.roles.life import Life, run
from postwarden.roles.listeners import SUBMIT
from postwarden.roles.local_door import LocalDoor
from postwarden.roles.recording import open_recorder
from postwarden.roles.verifier import CourierVerifier
from postwarden.spool.appender import Appender
from postwarden.spool.params import SpoolParams

_MESSAGES, _OCTETS = 256, 16 << 20
_LOOK_EVERY = 1.0
_BACKLOG = 1024
_TURN = 0.02
_BEHIND = 24 << 20
"""Bytes that wait for a courier that reads nothing. What it is not told it finds on the disk, a minute later."""


class Told:
    """The courier's channel, and what it may still be sent whole."""

    def __init__(
        self, sock: socket.socket, slow_down: Callable[[float], None], lost: Callable[[], None] = lambda: None
    ) -> None:
        self._messages, self._octets = _MESSAGES, _OCTETS
        self._slow_down = slow_down
        self._gone = lost
        self.known: Callable[[AddressKnown], None] = lambda answer: None
        """Hears what the courier says of an address."""
        self.open = True
        self._channel: Channel[ToReceiver] = Channel(sock, ToReceiver, self._heard, self._lost)

    def stored(self, stored: Stored) -> None:
        if self._channel.waiting > _BEHIND:
            return
        body = stored.body
        if body is not None:  # one with a file of its own needs no credit, and none comes back for it
            if self._messages <= 0 or self._octets < len(body):
                stored = structs.replace(stored, body=None)
            else:
                self._messages -= 1
                self._octets -= len(body)
        self._channel.send(stored)

    def wanted(self, site: str) -> bool:
        if self._channel.waiting > _BEHIND or not self.open:
            return False
        self._channel.send(SiteWanted(site))
        return True

    def asked(self, asked: AddressAsked) -> bool:
        if self._channel.waiting > _BEHIND or not self.open:
            return False
        self._channel.send(asked)
        return True

    def sealed(self, sealed: SegmentSealed) -> None:
        self._channel.send(sealed)

    @property
    def waiting(self) -> int:
        return self._channel.waiting

    def _heard(self, record: ToReceiver, fds: list[int]) -> None:
        if isinstance(record, Credit):
            self._messages += record.messages
            self._octets += record.octets
        elif isinstance(record, SlowDown):
            self._slow_down(record.seconds)
        else:
            self.known(record)

    def _lost(self, error: Exception | None) -> None:
        self.open = False
        # The next courier does not know that this one lagged.
        self._slow_down(0.0)
        self._gone()


class Receiver:
    def __init__(self, life: Life) -> None:
        self._life = life
        settings = life.settings
        self._told: Told | None = None
        self._draining = self._hurried = self._closed = False
        start = life.start
        self._counters = Counters(life.counters_fd, start.instance, settings.number("anvil_rate_time_unit"))
        hourly = Counters(life.counters_fd, start.instance, 3600)
        post = life.loop.call_soon_threadsafe
        try:
            self._store = Appender(view(SpoolParams, settings), start.instance, life.clock, post, self._spool_says)
        except OSError as error:
            raise ConfigError(settings.origin("queue_directory"), str(error)) from error
        self._store.on_stored = self._stored
        self._store.on_sealed = self._sealed
        names = open_names(life.loop, life.clock, tuple(settings.text("postwarden_dns_servers").split()))
        self._verifier = CourierVerifier(life.clock)
        dial, asker = SocketDial(life.loop, settings.number("tcp_windowsize")), Threads(life.loop)
        around = pipeline.Surroundings(life.clock, life.log, names, dial, asker, verifier=self._verifier)
        self._reception = pipeline.receiver(
            settings,
            around,
            self._store,
            keys=tuple(dict.fromkeys(x.service for x in start.listeners if x.service != SUBMIT)),
            waiting=LoopWaiting(life.loop),
            counters=self._counters,
            files=life.files,
            users=pipeline.LocalUsers(login_name, os.geteuid(), hourly, life.log.relay),
        )
        self._gates = {key: Handshakes(service) for key, service in self._reception.services.items()}
        self._proxies = {key: Proxies(service) for key, service in self._reception.services.items()}
        self._recorder = open_recorder(settings, f"receiver{start.instance}", life.clock, self._warn)
        self._reception.submit.recorder = self._recorder
        for service in self._reception.services.values():
            service.flush_site = self._flush_site
            service.recorder = self._recorder
        self._doors: list[LocalDoor] = []
        self._servers: list[asyncio.Server] = []
        life.loop.create_task(self._listen())

    def link(self, link: Link, sock: socket.socket) -> None:
        self._verifier.lost()
        told = self._told = Told(sock, self._slow_down, lambda: self._left(told))
        told.known, self._verifier.tell = self._verifier.known, told.asked

    def _left(self, told: Told) -> None:
        if told is self._told:
            self._verifier.lost()
        self._life.unlinked(self._untold)

    def _untold(self) -> bool:
        return self._told is None or not self._told.open

    def _slow_down(self, seconds: float) -> None:
        """in_flow_delay: the courier lags, each new transaction waits."""
        for service in self._reception.services.values():
            service.delay = seconds

    def reconfigure(self, settings: Settings) -> None:
        """Never asked for: a reload starts new receivers."""

    def files_changed(self) -> None:
        """A key that only root may read was renewed: services look at their certificates themselves."""

    def drain(self, at_once: bool) -> None:
        self._draining = True
        self._close_doors()
        if at_once:
            for service in self._reception.services.values():
                service.leaving = True
            for session in self._sessions():
                session.leave()
        self._hurried = at_once
        # What was accepted before is no session yet: for a turn of the loop, or until its TLS handshake is over.
        self._life.clock.call_later(_TURN, self._end_if_idle)

    def flush(self) -> None:
        """The courier's affair."""

    async def _listen(self) -> None:
        life = self._life
        for listener, sock in zip(life.start.listeners, life.sockets, strict=True):
            if self._draining:
                return  # a younger generation was ready before us
            if listener.service == SUBMIT:
                self._doors.append(LocalDoor(sock, self._reception.submit, life.loop))
                continue
            accept = partial(self._accept, listener)
            server = await life.loop.create_server(accept, sock=sock, backlog=_BACKLOG)
            self._servers.append(server)
        if self._draining:
            self._close_doors()
            return
        life.ready()
        self._look()

    def _close_doors(self) -> None:
        for server in self._servers:
            server.close()
        for door in self._doors:
            door.close()

    def _accept(self, listener: Listener) -> SocketStream:
        key, loop = listener.service, self._life.loop
        service = self._reception.services[key]
        tls = service.tls.context if service.tls is not None and service.wrapper else None
        session, gate = Session(service), self._gates[key]
        if not listener.patience:
            return SocketStream(session, loop, tls, gate)
        families, seconds = service.families, float(listener.patience)
        return ProxiedStream(session, loop, tls, gate, self._proxies[key], families=families, seconds=seconds)

    def _look(self) -> None:
        if not self._draining:
            # First, so that a fault in one look is not the last of all looks.
            self._life.clock.call_later(_LOOK_EVERY, self._look)
        for problem in self._reception.refresh():
            self._life.log.emit("smtpd", Warn(f"{problem.origin}: {problem.text}; the old text stays in effect"))

    def _flush_site(self, site: str) -> bool:
        return self._told is not None and self._told.wanted(site)

    def _stored(self, stored: Stored) -> None:
        if self._told is not None:
            self._told.stored(stored)

    def _sealed(self, sealed: SegmentSealed) -> None:
        if self._told is not None:
            self._told.sealed(sealed)

    def _warn(self, text: str) -> None:
        self._life.log.emit("smtpd", Warn(text))

    def _spool_says(self, event: Event) -> None:
        self._life.log.emit("cleanup", event)

    def _sessions(self) -> list[Session]:
        return [session for service in self._reception.services.values() for session in service.sessions]

    def _end_if_idle(self) -> None:
        if self._closed:
            return
        begun = sum(gate.open for gate in self._gates.values()) + sum(one.open for one in self._proxies.values())
        handshakes = not self._hurried and begun
        sessions = self._reception.submit.sessions or any(s.sessions for s in self._reception.services.values())
        if handshakes or sessions:
            self._life.clock.call_later(_TURN, self._end_if_idle)
            return
        self._closed = True
        self._store.close()
        self._life.clock.call_later(0.02, self._end_when_told)

    def _end_when_told(self) -> None:
        if self._told is not None and self._told.open and self._told.waiting:
            self._life.clock.call_later(0.01, self._end_when_told)
            return
        if self._recorder is not None:
            self._recorder.close()
        self._life.finish()


def main(control: socket.socket) -> int:
    """Be a receiver until the master says otherwise."""
    return run(control, Receiver)
