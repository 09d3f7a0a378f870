"""The courier: owns the queue, hands out deliveries, settles what became of them. No network.

What it decides is in `schedule.courier`; this is its process: channels to receivers, carriers and the agent, the
ledger, and its configuration, which is swapped in place.
"""

import asyncio
import contextlib
import os
import socket
import sqlite3
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from postwarden import pipeline
from postwarden.config.settings import Settings
from postwarden.config.view import view
from postwarden.ipc.channel import Channel
from postwarden.ipc.queue_records import socket_path
from postwarden.ipc.records import (
    AddressAsked,
    AddressKnown,
    FromDeliverer,
    FromReceiver,
    Job,
    Link,
    Outcome,
    SiteWanted,
    Stored,
    Troubled,
)
from postwarden.mail.decision import Pending, settle
from postwarden.mail.events import Event, Failure, Fatal, Warn
from postwarden.mail.queue import SpoolError
from postwarden.mail.verified import BOUNCE, DEFER, OK, Verified
from postwarden.net.asking import Threads
from postwarden.roles import lock
from postwarden.roles.decision_reader import DecisionReader
from postwarden.roles.life import Life, run
from postwarden.roles.queue_server import QueueServer
from postwarden.roles.recording import Bounds, open_recorder
from postwarden.schedule.courier import Courier
from postwarden.schedule.message import Delivery
from postwarden.schedule.params import CourierParams
from postwarden.schedule.parts import Parts
from postwarden.schedule.probes import Probed
from postwarden.schedule.receivers import Sender
from postwarden.schedule.scheduler import Scheduler
from postwarden.schedule.transports import transports
from postwarden.schedule.workers import Crew
from postwarden.spool.layout import spool_directory
from postwarden.spool.ledger import Ledger
from postwarden.spool.params import SpoolParams
from postwarden.trace.files import directory
from postwarden.trace.recorder import Recorder
from postwarden.verify.params import VerifyParams
from postwarden.verify.verifier import Finding, Verifier

_CONGESTED = 8 << 20
_REPORT = 10.0
_SUCCESSION = 20.0
"""How long the courier of a master that was killed is waited for: it ends within `life._LAST_SECONDS`."""


class CourierRole:
    def __init__(self, life: Life, build: Callable[..., Parts]) -> None:
        """`build(settings, ledger, scheduler, …)` is `pipeline.courier`. Raises ConfigError."""
        self._life = life
        self._build = build
        settings = life.settings
        params = view(CourierParams, settings)
        self._tasks: set[asyncio.Task[None]] = set()
        self._threads = Threads(life.loop)
        self._ledger = Ledger(
            view(SpoolParams, settings), life.clock, life.loop.call_soon_threadsafe, partial(self._told, "qmgr")
        )
        self._scheduler: Scheduler[Delivery] = Scheduler(float(params.minimal_backoff_time))
        self._configure(settings)
        parts = self._parts(settings)
        self.courier = Courier(parts, self._scheduler, params)
        self._recorder: Recorder | None = None
        self._record(settings)
        self._over = False
        try:
            spool = spool_directory(settings.text("queue_directory"))
            self._alone(spool)
            _private(spool)
            self.courier.begin()
        except (lock.AlreadyRunning, OSError, sqlite3.Error) as error:
            life.log.emit("qmgr", Fatal(f"the queue can't be opened: {error}"))
            life.log.flush()
            raise SystemExit(1) from error
        self._verifier = Verifier(
            view(VerifyParams, settings), self._probe, life.clock, self._background, partial(self._told, "verify")
        )
        self._door = QueueServer(self.courier, life.log, parts.authorized, DecisionReader(directory(spool)))
        try:
            self._door.open(socket_path(settings.text("queue_directory")))
        except OSError as error:  # mail goes on; the queue's commands can't be answered
            life.log.emit("qmgr", Failure(f"control socket: {error}"))
        self._bounds = Bounds(settings, life.clock)
        life.ready()
        self._report()

    def _alone(self, spool: str) -> None:
        """Two couriers would deliver twice and write over each other's rows. Raises AlreadyRunning, OSError."""
        deadline = time.monotonic() + _SUCCESSION
        while True:
            try:
                self._lock = lock.hold(Path(spool, "courier.lock"))
                return
            except lock.AlreadyRunning:
                if time.monotonic() > deadline:
                    raise
            time.sleep(0.05)

    # settings

    def reconfigure(self, settings: Settings) -> None:
        parts, params = self._parts(settings), view(CourierParams, settings)
        self._configure(settings)
        self.courier.reconfigure(parts, params)
        self._verifier.configure(view(VerifyParams, settings))
        self._bounds.configure(settings)
        self._record(settings)
        self._door.authorized = parts.authorized

    def _record(self, settings: Settings) -> None:
        if self._recorder is not None:
            self._recorder.close()
        self._recorder = open_recorder(settings, "courier", self._life.clock, self._warn)
        self.courier.record(self._recorder)

    def _warn(self, text: str) -> None:
        self._told("qmgr", Warn(text))

    def _configure(self, settings: Settings) -> None:
        for limits in transports(settings):
            self._scheduler.configure(limits)

    def _parts(self, settings: Settings) -> Parts:
        life = self._life
        return self._build(
            settings,
            self._ledger,
            self._scheduler,
            clock=life.clock,
            log=life.log,
            fetch=self._fetch,
            asker=self._threads,
            files=life.files,
        )

    # channels

    def link(self, link: Link, sock: socket.socket) -> None:
        if link.role == "receiver":
            self._link_receiver(link, sock)
        elif link.role in ("carrier", "agent"):
            self._link_worker(link, sock)
        else:
            sock.close()

    def _link_receiver(self, link: Link, sock: socket.socket) -> None:
        courier = self.courier

        def record(record: FromReceiver, fds: list[int]) -> None:
            if isinstance(record, Stored):
                try:
                    courier.stored(sender, record)
                except SpoolError as error:
                    self._told("qmgr", Failure(f"receiver {link.instance}: {error}"))
                    channel.close()
            elif isinstance(record, SiteWanted):
                self._flush_site(record.site)
            elif isinstance(record, AddressAsked):
                self._verifier.ask(record.address, partial(_answer, channel, record.number))
            else:
                courier.sealed(record)

        def close(error: Exception | None) -> None:
            self._lost(link, error)
            courier.receiver_left(sender)

        channel: Channel[FromReceiver] = Channel(sock, FromReceiver, record, close)
        sender = Sender(link.instance, channel.send)
        courier.receiver_joined(sender)

    def _probe(self, address: str, done: Callable[[Finding], None]) -> None:
        self.courier.probe(address, lambda probed: done(_finding(probed)))

    def _background(self, call: Callable[[], Any], done: Callable[[Any, Exception | None], None]) -> None:
        self._threads.ask("verify", call, done)

    def _flush_site(self, site: str) -> None:
        try:
            self.courier.operations.flush_site(site)
        except Pending:
            self._fetch(lambda: self._settle_site(site), lambda: None)

    async def _settle_site(self, site: str) -> None:
        await settle(lambda: self.courier.operations.flush_site(site))

    def _link_worker(self, link: Link, sock: socket.socket) -> None:
        courier = self.courier

        def record(record: FromDeliverer, fds: list[int]) -> None:
            if isinstance(record, Outcome):
                courier.outcome(crew, record)
            elif isinstance(record, Troubled):
                courier.troubled(record)
            else:
                courier.forwarded(crew, record)

        def close(error: Exception | None) -> None:
            self._lost(link, error)
            courier.worker_left(link.role, crew)

        channel: Channel[FromDeliverer] = Channel(sock, FromDeliverer, record, close)
        crew = Crew(_Remote(channel), link.generation)
        courier.worker_joined(link.role, crew)

    def _lost(self, link: Link, error: Exception | None) -> None:
        if error is not None:
            self._told("qmgr", Failure(f"channel to {link.role} {link.instance}: {error}"))

    # life

    def flush(self) -> None:
        self.courier.flush()

    def drain(self, at_once: bool) -> None:
        self._door.close()
        self.courier.drain(self._drained)

    def _drained(self) -> None:
        if not self._over:
            self._over = True
            self._verifier.close()
            self._ledger.close()
            if self._recorder is not None:
                self._recorder.close()
            self._life.finish()

    def _report(self) -> None:
        self._life.report(self.courier.figures)
        self._life.clock.call_later(_REPORT, self._report)

    def _told(self, program: str, event: Event) -> None:
        self._life.log.emit(program, event)

    def _fetch(self, fetch: Callable[[], Awaitable[None]], done: Callable[[], None]) -> None:
        async def run() -> None:
            try:
                await fetch()
            except Exception as error:  # a fetch keeps its errors as facts: this is a bug of ours, and mail goes on
                self._told("qmgr", Failure(f"internal error: {error!r}"))
            done()

        task = self._life.loop.create_task(run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _answer(channel: Channel[FromReceiver], number: int, verified: Verified) -> None:
    channel.send(AddressKnown(number, verified.status, verified.text))


def _finding(probed: Probed) -> Finding:
    status = {"2": OK, "4": DEFER, "5": BOUNCE}[probed.status.code[0]]
    verified = Verified(status, probed.status.text)
    return Finding(verified, probed.lasting, ((probed.address, verified),))


def _private(spool: str) -> None:
    """Everybody may pass through the directory to its sockets: the queue's files are nobody's else."""
    os.umask(0o077)
    for entry in os.scandir(spool):
        if entry.is_file(follow_symlinks=False):
            with contextlib.suppress(OSError):
                os.chmod(entry.path, 0o600)


class _Remote:
    """A carrier or the agent, behind its channel."""

    def __init__(self, channel: Channel[FromDeliverer]) -> None:
        self._channel = channel

    def send(self, job: Job, fds: Sequence[int]) -> None:
        self._channel.send(job, fds)

    def congested(self) -> bool:
        return self._channel.waiting > _CONGESTED


def main(control: socket.socket) -> int:
    """Be the courier until the master says otherwise."""
    return run(control, lambda life: CourierRole(life, pipeline.courier))
