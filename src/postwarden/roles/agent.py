"""The agent's supervisor: hands jobs to workers, one each, and watches over them. It has no loop, no threads, and reads
neither mail nor tables: a worker that goes wrong takes one delivery with it, never the agent.

Jobs for one recipient follow each other: two workers on one mailbox would only wait for its lock.
"""

import contextlib
import gc
import os
import selectors
import signal
import socket
import struct
import time

import msgspec

from postwarden.config.settings import Settings
from postwarden.ipc.channel import BlockingChannel, ChannelError
from postwarden.ipc.records import (
    Drain,
    FromMaster,
    Handed,
    Job,
    Link,
    Outcome,
    Ready,
    Reconfigure,
    Refused,
    Report,
    Start,
    ToDeliverer,
    Unlinked,
)
from postwarden.mail.events import Failure, Warn
from postwarden.mail.status import Status, Timing
from postwarden.net.log import MailLog
from postwarden.roles.agent_hands import Hand, Killed
from postwarden.roles.agent_pickup import Porter
from postwarden.roles.agent_pickup import work as pick_up
from postwarden.roles.agent_queue import JobQueue, Work
from postwarden.roles.agent_records import Able, Running, Unable
from postwarden.roles.agent_worker import open_log, serve
from postwarden.roles.leash import Leash

EX_CONFIG = 78
_LAST_SECONDS = 8.0
_IDLE_SECONDS = 100.0
_REPORT_SECONDS = 5.0
_PAUSE = 1.0
"""Before the next worker is made when one could not even begin."""
_RELINK_SECONDS = 2.0
_SEND_TIMEOUT = struct.pack("ll", 5, 0)
_MOST_WORKERS = 20
"""They wait for the disk, and few at once are enough to keep it busy."""
_SLOW = 1.0
"""Seconds after which a delivery waits for something else, a program or a home that hangs: it holds up no other."""
_MOST_SLOW = 200
"""Workers in all, but for those that each transport is assured of: two transports that hang must not take them all."""
_GRACE = 5.0
"""Seconds that a worker has to kill a program itself when its time is over."""


class Supervisor:
    def __init__(self, control: socket.socket) -> None:
        self._control: BlockingChannel[FromMaster] = BlockingChannel(control, FromMaster)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._control, selectors.EVENT_READ, self._obey)
        self._settings: Settings
        self._log: MailLog
        self._log_to = ""
        self._log_fd = -1
        self._limit = 1.0
        self._pipes: frozenset[str] = frozenset()
        """Transports that run a program and write no mailbox."""
        self._clients: list[BlockingChannel[Job]] = []
        self._hands: list[Hand] = []
        self._queue = JobQueue()
        self._trial: Hand | None = None
        """The first worker of a new configuration, until it has judged it."""
        self._hire_after = 0.0
        self._draining = False
        self._end_by = float("inf")
        self._code: int | None = None
        self._reported = 0.0
        self._relink = float("inf")
        """When the master is to be asked for a channel to the courier."""
        self._porter = Porter()
        self._killed = Killed()

    def run(self) -> int:
        while self._code is None:
            for key, _ in self._selector.select(self._patience()):
                key.data(key.fileobj)
            self._look_after()
        self._porter.end(time.monotonic())
        for hand in self._hands:
            self._killed.add(hand)
        until = time.monotonic() + _PAUSE
        while (self._killed or self._porter.alive) and time.monotonic() < until:
            time.sleep(0.005)
            self._killed.reap()
        self._porter.kill()
        self._log.close()
        return self._code

    # The master

    def _obey(self, control: BlockingChannel[FromMaster]) -> None:
        try:
            records = control.receive()
        except (ChannelError, OSError):
            records = None
        if records is None:
            self._selector.unregister(control)
            self._drain(at_once=True)
            return
        for record, fds in records:
            match record:
                case Start():
                    self._start(record, fds)
                case Link():
                    self._link(socket.socket(fileno=fds[0]))
                case Reconfigure():
                    if record.log_to:
                        self._log_anew(record, fds)
                    self._try(msgspec.msgpack.decode(record.settings, type=Settings))
                case Drain():
                    self._drain(at_once=record.at_once)
                case Handed():
                    _close(fds)
                case _:
                    pass

    def _start(self, start: Start, fds: list[int]) -> None:
        self._log_to = start.log_to
        if start.log_to == "fd":
            self._log_fd = fds.pop(0)
        _close(fds)
        self._settings = msgspec.msgpack.decode(start.settings, type=Settings)
        self._pipes = _pipes(self._settings)
        self._log = open_log(self._settings, self._log_to, self._log_fd, None)
        gc.collect()
        gc.freeze()
        self._try(self._settings)

    def _log_anew(self, record: Reconfigure, fds: list[int]) -> None:
        """Workers that are hired from now on write there, too."""
        old = self._log
        self._log_to, self._log_fd = record.log_to, fds[0] if record.log_to == "fd" else -1
        settings = msgspec.msgpack.decode(record.settings, type=Settings)
        self._log = open_log(settings, self._log_to, self._log_fd, None)
        old.close()

    def _try(self, settings: Settings) -> None:
        """A worker reads the configuration; if it can use it, so do we, and the workers of the old one retire."""
        try:
            self._trial = self._hire(settings)
        except OSError as error:
            self._tell(Refused(f"local delivery: no worker to read the configuration: {error}"))
            if not self._hands:
                self._code = 1
            return
        self._trial.trial = settings

    def _judged(self, hand: Hand, reason: str) -> None:
        settings, hand.trial = hand.trial, None
        if settings is None:
            return
        if self._trial is not hand:
            # A newer configuration came meanwhile, and that one's judge speaks for it.
            hand.retiring = True
            return
        self._trial = None
        if reason:
            self._tell(Refused(reason))
            if not any(h.able for h in self._hands):
                self._code = EX_CONFIG
            return
        self._settings = settings
        self._porter.end(time.monotonic())
        self._hire_after = 0.0
        self._limit = float(settings.number("command_time_limit"))
        self._pipes = _pipes(settings)
        for other in self._hands:
            other.retiring = other is not hand
        self._tell(Ready())

    def _tell(self, record: Ready | Refused | Report | Unlinked) -> None:
        with contextlib.suppress(OSError):
            self._control.send(record)

    def _drain(self, *, at_once: bool) -> None:
        self._draining = True
        self._porter.end(time.monotonic())
        self._end_by = time.monotonic() + _LAST_SECONDS
        if at_once:
            self._queue.clear()

    # The courier

    def _link(self, sock: socket.socket) -> None:
        try:
            client: BlockingChannel[Job] = BlockingChannel(sock, ToDeliverer)
        except OSError:
            # It is gone already. The next one will have a link of its own.
            sock.close()
            self._want_link()
            return
        self._relink = float("inf")
        self._clients.append(client)
        self._selector.register(client, selectors.EVENT_READ, self._take)

    def _take(self, client: BlockingChannel[Job]) -> None:
        try:
            records = client.receive()
        except (ChannelError, OSError):
            records = None
        if records is None:
            # Its jobs that nobody has begun are the next courier's, who gives them to us again.
            self._selector.unregister(client)
            self._clients.remove(client)
            self._queue.forget(client)
            client.close()
            self._want_link()
            return
        for job, fds in records:
            self._queue.add(Work(job, fds, client, free=job.transport in self._pipes))
        self._hand_out()

    def _want_link(self) -> None:
        if not self._clients:
            self._relink = time.monotonic() + _RELINK_SECONDS

    def _answer(self, client: BlockingChannel[Job], record: object) -> None:
        if client in self._clients:
            with contextlib.suppress(OSError):
                client.send(record)

    # Workers

    def _hire(self, settings: Settings) -> Hand:
        """A new worker. Raises OSError."""
        leash = Leash()
        ours, theirs = socket.socketpair()
        # A worker that somebody has stopped must not stop us with it.
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _SEND_TIMEOUT)
        try:
            pid = os.fork()
        except OSError:
            ours.close()
            theirs.close()
            raise
        if pid == 0:
            ours.close()
            self._become_worker(theirs, settings, leash)
        theirs.close()
        hand = Hand(pid, ours, time.monotonic(), leash)
        self._hands.append(hand)
        self._selector.register(hand.channel, selectors.EVENT_READ, lambda _: self._hear(hand))
        return hand

    def _become_worker(self, sock: socket.socket, settings: Settings, leash: Leash) -> None:
        """In the new process: keep nothing of the supervisor's, and never return."""
        code = 1
        try:
            os.setpgid(0, 0)
            self._let_go()
            code = serve(sock, settings, self._log_to, self._log_fd, leash)
        finally:
            os._exit(code)

    def _let_go(self) -> None:
        """In a new process: of all that is the supervisor's."""
        self._selector.close()
        self._control.close()
        for client in self._clients:
            client.close()
        for hand in self._hands:
            hand.channel.close()
            hand.leash.close()
        self._queue.clear()

    def _send_porter(self) -> int:
        """A process for local mail. Raises OSError."""
        parent = os.getpid()
        pid = os.fork()
        if pid:
            return pid
        code = 1
        try:
            self._let_go()
            code = pick_up(self._settings, self._log_to, self._log_fd, parent)
        finally:
            os._exit(code)

    def _hear(self, hand: Hand) -> None:
        try:
            records = hand.channel.receive()
        except (ChannelError, OSError):
            records = None
        if records is None:
            self._bury(hand)
            return
        for record, _ in records:
            match record:
                case Able():
                    hand.able = True
                    hand.since = time.monotonic()
                    self._judged(hand, "")
                case Unable():
                    self._judged(hand, record.reason)
                case Outcome():
                    self._done(hand, record)
                case Running():
                    hand.until = max(hand.until, time.monotonic() + record.limit + self._limit + _GRACE)
                case _:
                    if hand.work is not None:
                        self._answer(hand.work.client, record)
        self._hand_out()

    def _done(self, hand: Hand, outcome: Outcome) -> None:
        work, hand.work = hand.work, None
        hand.since = time.monotonic()
        if work is not None:
            self._answer(work.client, outcome)
            self._queue.done(work)

    def _hand_out(self) -> None:
        """Idle workers get what waits. One is hired when all are busy: the job waits for the first that is free."""
        while (hand := self._idle()) is not None and (work := self._queue.next()) is not None:
            hand.work = work
            hand.since = time.monotonic()
            hand.until = hand.since + self._limit * max(len(work.job.recipients), 1)
            try:
                hand.channel.send(work.job, work.fds)
            except OSError:
                self._bury(hand)
            work.release()
        hired = sum(not hand.able for hand in self._hands)
        wanted = self._queue.assured > hired or (self._queue.waiting > hired and self._few())
        if wanted and self._may_hire():
            try:
                self._hire(self._settings)
            except OSError as error:
                self._log.emit("agent", Failure(f"no new worker: {error}"))
                self._hire_after = time.monotonic() + _PAUSE

    def _may_hire(self) -> bool:
        """Not before the first worker has judged, and not one after the other when they die at once."""
        return self._trial is None and time.monotonic() >= self._hire_after

    def _few(self) -> bool:
        """What hangs does not count, so that it delays nobody else's mail."""
        before = time.monotonic() - _SLOW
        quick = sum(hand.work is None or hand.since > before for hand in self._hands)
        return quick < _MOST_WORKERS and len(self._hands) < _MOST_SLOW

    def _idle(self) -> Hand | None:
        """The one that was busy last: the others may become superfluous."""
        idle = [hand for hand in self._hands if hand.able and hand.work is None and not hand.retiring]
        return max(idle, key=lambda hand: hand.since, default=None)

    def _bury(self, hand: Hand) -> None:
        """A worker's process has ended, or has closed its channel, which comes to the same."""
        self._selector.unregister(hand.channel)
        hand.channel.close()
        self._hands.remove(hand)
        self._killed.add(hand)
        if hand.trial is not None:
            self._judged(hand, "local delivery: the worker that was to read the configuration died")
        elif not hand.able:
            self._hire_after = time.monotonic() + _PAUSE
        work = hand.work
        if work is not None:
            self._log.emit("agent", Warn(f"process local pid {hand.pid} died while delivering {work.job.queue_id}"))
            self._answer(work.client, _lost(work.job, "local delivery agent died unexpectedly"))
            self._queue.done(work)

    # Time

    def _patience(self) -> float:
        return 0.2 if self._draining else 1.0

    def _look_after(self) -> None:
        now = time.monotonic()
        self._killed.reap()
        if self._trial is None and not self._draining:
            with contextlib.suppress(OSError):
                self._porter.look_after(now, self._send_porter)
        if now >= self._relink and not self._draining:
            self._relink = now + _RELINK_SECONDS
            self._tell(Unlinked())
        if self._queue.waiting and not self._draining:
            self._hand_out()
        idle = 0
        for hand in list(self._hands):
            if hand.work is not None:
                if now > hand.until:
                    queue_id, took = hand.work.job.queue_id, now - hand.since
                    self._log.emit("agent", Warn(f"{queue_id}: delivery took longer than {took:.0f} s: killed"))
                    self._bury(hand)
            elif hand.able:
                idle += 1
                if hand.retiring or (idle > 1 and now - hand.since > _IDLE_SECONDS):
                    self._dismiss(hand)
        if self._draining and (now > self._end_by or not (self._queue.busy or self._queue.waiting)):
            self._code = 0
        elif now - self._reported >= _REPORT_SECONDS:
            self._reported = now
            self._tell(Report({"workers": len(self._hands), "delivering": self._queue.busy}))

    def _dismiss(self, hand: Hand) -> None:
        self._selector.unregister(hand.channel)
        hand.channel.close()
        self._hands.remove(hand)
        self._killed.add(hand)


def _pipes(settings: Settings) -> frozenset[str]:
    return frozenset(s.name for s in settings.services if s.command == "pipe" and s.type != "inet")


def _lost(job: Job, text: str) -> Outcome:
    now = time.time()
    return Outcome(job.job_id, (Status("4.3.0", text),) * len(job.recipients), Timing(now, 0, now))


def _close(fds: list[int]) -> None:
    for fd in fds:
        os.close(fd)


def main(control: socket.socket) -> int:
    """Be the agent until the master says otherwise. Signals of the terminal are the master's affair."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    return Supervisor(control).run()
