"""The carrier: takes jobs from the courier, delivers them by SMTP or LMTP, and answers one outcome a recipient.

It keeps nothing. A carrier that dies leaves jobs that the courier gives to another.
"""

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable

from postwarden import pipeline
from postwarden.config.errors import Problem
from postwarden.config.settings import Settings
from postwarden.deliver.body import FileBody
from postwarden.deliver.smtp.tls import client_tls
from postwarden.ipc.channel import Channel
from postwarden.ipc.records import Forward, Job, Link, Outcome, ToDeliverer, Troubled
from postwarden.mail.events import Failure, Warn
from postwarden.mail.status import Status, Timing
from postwarden.net.asking import Threads
from postwarden.net.dial import SocketDial
from postwarden.net.names import open_names
from postwarden.roles.life import Life, run

_WATCH = 60.0
_LOOK_EVERY = 1.0
_LINGER = 0.2
"""How long a drained carrier still reads jobs that were on their way to it."""


class Carrier:
    def __init__(self, life: Life) -> None:
        self._life = life
        self._channels: list[Channel[Job]] = []
        settings = life.settings
        names = open_names(life.loop, life.clock, tuple(settings.text("postwarden_dns_servers").split()))
        dial = SocketDial(life.loop, settings.number("tcp_windowsize"))
        around = pipeline.Surroundings(life.clock, life.log, names, dial, Threads(life.loop))
        carriage = pipeline.carrier(
            settings,
            around,
            lambda service: client_tls(settings, service, life.files, self._without_tls),
            files=life.files,
            fetch=self._fetch,
        )
        self._deliverers = carriage.deliverers
        self._refresh = carriage.refresh
        self._tasks: set[asyncio.Task[None]] = set()
        for deliverer in self._deliverers.values():
            deliverer.troubled = self._troubled
        self._open = 0
        self._draining = False
        life.ready()
        self._watch()
        if carriage.tables:
            self._look()

    def _without_tls(self, problem: Problem) -> None:
        self._life.log.emit("smtp", Warn(f"{problem.origin}: {problem.text}"))

    def link(self, link: Link, sock: socket.socket) -> None:
        """To the courier; after its restart to the new one. There may be two: who asks for a channel while one is on
        its way gets both. A job is answered where it came from: another courier may have given its number to another
        job."""

        def job(job: Job, fds: list[int]) -> None:
            self._job(job, fds, channel.send)

        channel: Channel[Job] = Channel(sock, ToDeliverer, job, lambda _: self._unlinked(channel))
        self._channels.append(channel)

    def reconfigure(self, settings: Settings) -> None:
        """Never asked for: a reload starts new carriers."""

    def drain(self, at_once: bool) -> None:
        self._draining = True
        for deliverer in self._deliverers.values():
            deliverer.close()
            if at_once:
                deliverer.drop_probes()
        self._life.clock.call_later(_LINGER, self._end_if_idle)

    def flush(self) -> None:
        """The courier's affair."""

    def _job(self, job: Job, fds: list[int], answer: Callable[[Outcome | Forward], None]) -> None:
        self._open += 1
        over = False

        def done(outcome: Outcome) -> None:
            nonlocal over
            if over:
                return
            over = True
            self._open -= 1
            answer(outcome)
            if self._draining:
                self._life.clock.call_soon(self._end_if_idle)

        deliverer = self._deliverers.get(job.transport)
        if deliverer is None:
            for fd in fds:
                os.close(fd)
            # Postfix's words for a transport that master.cf does not have.
            why = Status("4.3.0", f"mail transport unavailable: {job.transport}")
            done(_put_off(job, why, self._life.clock.now(), fault=why))
            return
        body = job.body if job.body is not None else FileBody(fds[0], job.body_offset, job.body_size, job.body_crc)
        try:
            deliverer.deliver(job, body, done, answer)
        except Exception as error:  # a bug of ours: the job must not stay open for ever
            self._life.log.emit("smtp", Failure(f"{job.queue_id}: internal error: {error!r}"))
            done(_put_off(job, Status("4.3.0", "internal error in the mail transport"), self._life.clock.now()))

    def _troubled(self, record: Troubled) -> None:
        """For the courier's next one, if there are two."""
        if self._channels:
            self._channels[-1].send(record)

    def _watch(self) -> None:
        """Also while it drains: a job that is stuck would keep the process for ever."""
        self._life.clock.call_later(_WATCH, self._watch)
        for deliverer in self._deliverers.values():
            deliverer.watch()

    def _look(self) -> None:
        self._life.clock.call_later(_LOOK_EVERY, self._look)
        for problem in self._refresh():
            self._life.log.emit("smtp", Warn(str(problem)))

    def _fetch(self, fetch: Callable[[], Awaitable[None]], done: Callable[[], None]) -> None:
        async def run() -> None:
            try:
                await fetch()
            except Exception as error:  # a fetch keeps its errors as facts: this is a bug of ours, and mail goes on
                self._life.log.emit("smtp", Failure(f"internal error: {error!r}"))
            done()

        task = self._life.loop.create_task(run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _unlinked(self, channel: Channel[Job]) -> None:
        self._channels.remove(channel)
        if not self._channels:
            self._life.unlinked(lambda: not self._channels and not self._draining)

    def _end_if_idle(self) -> None:
        if self._open:
            return
        if any(channel.waiting for channel in self._channels):
            self._life.clock.call_later(0.01, self._end_if_idle)
            return
        self._life.finish()


def _put_off(job: Job, why: Status, now: float, *, fault: Status | None = None) -> Outcome:
    """Nothing was tried, for a reason of our own."""
    return Outcome(job.job_id, (why,) * len(job.recipients), Timing(now, 0, now), fault)


def main(control: socket.socket) -> int:
    """Be a carrier until the master says otherwise."""
    return run(control, Carrier)
