"""The master: binds the ports, starts, watches, restarts, reloads and stops the other roles. It parses nothing that
comes from the network and has no threads.

Order of life: hold the locks, read the configuration, bind, start the roles, say that we are ready. SIGHUP reloads,
SIGTERM and SIGINT stop, SIGQUIT aborts, SIGUSR1 flushes, SIGUSR2 has the log opened anew.

A reload starts a new generation of receivers and carriers on the same sockets and lets the old one end with its last
session, once the new one accepts: no connection is refused, none is cut. A configuration that can't be used changes
nothing. Courier and agent swap their configuration in place.
"""

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Callable

import msgspec

from postwarden import rehearsal
from postwarden.config.errors import ConfigError
from postwarden.config.settings import Settings, load
from postwarden.federation.sources import configured
from postwarden.ipc.records import (
    Flush,
    Handed,
    Link,
    Ready,
    Reconfigure,
    Refused,
    Report,
    Start,
    ToMaster,
    Unlinked,
)
from postwarden.mail.events import Failure, Fatal, Notice, Warn
from postwarden.net.log import FileSink, MailLog, Sink, SyslogSink
from postwarden.receive.counters import Counters
from postwarden.roles.children import Child, Phase
from postwarden.roles.generations import KEPT, Generations, Plan
from postwarden.roles.handover import Handover, LogTarget
from postwarden.roles.listeners import Sockets, listeners, submission
from postwarden.roles.notify import notify
from postwarden.roles.restarts import Restarts
from postwarden.tables.check import problems

_FIXED = ("queue_directory", "data_directory", "mail_owner")
_AGAIN = 1.0
"""Seconds until what the machine had no room for (processes, descriptors, memory) is tried again."""
_OLD_SECONDS = 600.0
"""What a client of a receiver that says 421 has left to finish what it is sending."""
_STOP_SECONDS = {"receiver": 10.0, "courier": 60.0, "carrier": 5.0, "agent": 10.0, "aliases": 10.0}
_ORDER_OF_STOP = (("receiver",), ("courier",), ("carrier", "agent", "aliases"))
_IN_PLACE = ("courier", "agent", "aliases")
"""Roles that swap their configuration at a reload."""
EX_CONFIG = 78

ORDERS = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
"""Signals of the commands, which may be blocked until `Master.run` hears them."""


class Master:
    """One mail system. `run` returns the exit code; `ready` is called once, when every role is at work."""

    def __init__(self, settings: Settings, ready: Callable[[], None]) -> None:
        self.settings = settings
        self._on_ready = ready
        self._loop = asyncio.get_running_loop()
        self._over: asyncio.Future[int] = self._loop.create_future()
        self._children: dict[int, Child] = {}
        self._sockets = Sockets()
        self._restarts = Restarts()
        self._stopping = -1
        self._announced = False
        self._code = 0
        self._sources = configured(settings)
        self._user = settings.text("mail_owner") if os.geteuid() == 0 else ""
        self._target = LogTarget(settings)
        self.log = MailLog(_sink(self._target, settings), settings.text("syslog_name"))
        plan = Plan(0, settings, (*listeners(settings), submission(settings)), Handover(settings))
        self._generations = Generations(plan)
        self._counters = Counters.create()

    # Life

    async def run(self) -> int:
        """Start everything, and return when everything has ended."""
        for number, action in (
            (signal.SIGHUP, self.reload),
            (signal.SIGTERM, self.stop),
            (signal.SIGINT, self.stop),
            (signal.SIGQUIT, self.abort),
            (signal.SIGUSR1, self.flush),
            (signal.SIGUSR2, self.reopen_log),
            (signal.SIGCHLD, self._reap),
        ):
            self._loop.add_signal_handler(number, action)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ORDERS)
        self._loop.set_exception_handler(self._unexpected)
        self._sockets.rebind(self._generations.latest.listeners)
        self._announce("daemon started")
        for role, count in self._wanted().items():
            for _ in range(count):
                if self._stopping < 0:
                    self._start(role)
        self._watch()
        return await self._over

    def reload(self) -> None:
        """Read the configuration again; one that can't be used is logged, and the running one stays. While the last
        reload's processes start, further ones wait and become one."""
        wait = self._generations.wait(self._loop.time())
        if wait:
            self._loop.call_later(wait, self._reload_late)
        elif wait is not None:
            self._reload()

    def _reload_late(self) -> None:
        if self._generations.due():
            self._reload()

    def _reload(self) -> None:
        if self._stopping >= 0:
            return
        notify("RELOADING=1")
        try:
            settings = load(self.settings.config_directory)
            self._same_place(settings)
            wanted = (*listeners(settings), submission(settings))
            errors = [p for p in (*problems(settings), *rehearsal.problems(settings)) if p.severity == "error"]
            if errors:
                raise ConfigError(errors[0].origin, errors[0].text)
            handover, target = Handover(settings), LogTarget(settings)
            try:
                sink = _sink(target, settings)
                self._sockets.rebind(wanted)
            except OSError:
                target.close()
                raise
        except Exception as error:  # ConfigError, OSError, or a bug of ours: what runs goes on
            self.log.emit("master", Failure(f"reload: {error}; the running configuration stays"))
            notify("READY=1")
            return
        self.settings = settings
        self._target.close()
        self._target = target
        self.log.reopen(sink, settings.text("syslog_name"))
        plan = Plan(self._generations.latest.number + 1, settings, wanted, handover)
        self._generations.begin(plan, self._loop.time())
        self._announce("reload")
        packed = msgspec.msgpack.encode(settings)
        for child in list(self._children.values()):
            if child.role == "courier":
                # First: the new configuration may name some, and what changed a moment ago `changed` no longer says.
                self._hand_over(child, handover, handover.tables)
            if child.role in _IN_PLACE:
                self._reconfigure(child, packed)
        self._sources_changed()
        for role in ("carrier", "receiver"):
            for _ in range(self._wanted()[role]):
                self._start(role, plan)

    def _sources_changed(self) -> None:
        """The timer of alias sources lives while there is a file that names some."""
        self._sources = configured(self.settings)
        timers = [child for child in self._children.values() if child.role == "aliases"]
        if self._sources and all(child.phase is Phase.DRAINING for child in timers):
            self._start("aliases")
        if not self._sources:
            for child in timers:
                child.drain(at_once=True)

    def reopen_log(self) -> None:
        """The file was moved away (logrotate): every role writes to a new one."""
        try:
            target = LogTarget(self.settings)
            sink = _sink(target, self.settings)
        except OSError as error:
            self.log.emit("master", Failure(f"the log can't be opened anew: {error}"))
            return
        self._target.close()
        self._target = target
        self.log.reopen(sink, self.settings.text("syslog_name"))
        packed = msgspec.msgpack.encode(self.settings)
        for child in list(self._children.values()):
            self._reconfigure(child, packed)

    def _reconfigure(self, child: Child, settings: bytes) -> None:
        try:
            child.send(Reconfigure(settings, self._target.to), self._target.descriptors())
        except OSError as error:
            self.log.emit("master", Failure(f"{child.role} pid {child.pid}: keeps the old log: {error}"))
            child.send(Reconfigure(settings))

    def _same_place(self, settings: Settings) -> None:
        """Raises ConfigError for what a running system can't change: our locks, the courier's queue, who owns it."""
        for name in _FIXED:
            if settings.text(name) != self.settings.text(name):
                raise ConfigError(settings.origin(name), f"{name} can't be changed by a reload: stop and start")

    def stop(self) -> None:
        """End in an orderly way: receivers first, then the courier when its deliveries are done, then the rest."""
        if self._stopping < 0:
            notify("STOPPING=1")
            self._next_step_of_stop()

    def abort(self) -> None:
        """End at once. What was answered with 250 is on disk; deliveries in progress may happen again."""
        self._stopping = len(_ORDER_OF_STOP)
        for child in self._children.values():
            child.kill()
        self._finish_if_alone()

    def _give_up(self, why: str) -> None:
        """The first start has failed. Somebody waits for it, and is better told than kept waiting."""
        self.log.emit("master", Fatal(why))
        self._code = 1
        self.abort()

    def flush(self) -> None:
        for child in self._children.values():
            if child.role == "courier":
                child.send(Flush())

    def _next_step_of_stop(self) -> None:
        self._stopping += 1
        if self._stopping >= len(_ORDER_OF_STOP):
            self._finish_if_alone()
            return
        roles = _ORDER_OF_STOP[self._stopping]
        ending = [child for child in self._children.values() if child.role in roles]
        for child in ending:
            child.drain(at_once=True)
        if not ending:
            self._next_step_of_stop()
            return
        self._loop.call_later(max(_STOP_SECONDS[role] for role in roles), self._kill_late, ending)

    def _kill_late(self, children: list[Child]) -> None:
        for child in children:
            if self._children.get(child.pid) is child:
                self.log.emit("master", Warn(f"{child.role} pid {child.pid} did not end in time: killed"))
                child.kill()

    def _finish_if_alone(self) -> None:
        if self._children or self._over.done():
            return
        self._sockets.close()
        self.log.emit("master", Notice("terminating"))
        self.log.close()
        self._over.set_result(self._code)

    # Roles

    def _wanted(self) -> dict[str, int]:
        cores = len(os.sched_getaffinity(0))
        wanted = {"courier": 1, "agent": 1, "carrier": cores, "receiver": cores}
        return wanted | {"aliases": 1} if self._sources else wanted

    def _start(self, role: str, plan: Plan | None = None) -> None:
        """Start a process of a role, by default of the latest generation. Where the machine has no room for it now, it
        is tried again, but not while somebody waits for the first start."""
        fds: list[int] = []
        plan = plan or self._generations.latest
        try:
            child = Child(self._describe(role, fds, plan), fds, self._heard)
        except OSError as error:
            for fd in fds:
                os.close(fd)
            if not self._announced:
                self._give_up(f"{role}: can't be started: {error}")
                return
            self.log.emit("master", Failure(f"{role}: can't be started now: {error}"))
            self._loop.call_later(_AGAIN, self._restart, role, plan.number)
            return
        self._children[child.pid] = child
        try:
            self._join(child)
        except OSError as error:
            # Without its channel it would be of no use, and nobody would notice.
            self.log.emit("master", Failure(f"{role} pid {child.pid}: no channel: {error}"))
            child.kill()

    def _describe(self, role: str, fds: list[int], plan: Plan) -> Start:
        """What a new process is told; its descriptors are added to `fds`. Raises OSError."""
        taken = {c.instance for c in self._children.values() if c.role == role}
        handed = plan.handover.paths if role != "courier" else plan.handover.tables
        handed = () if role == "aliases" else handed
        mine = plan.listeners if role == "receiver" else ()
        # An address that a reload took away stays away, for those that are replaced in the generation before, too.
        mine = tuple(one for one in mine if one in self._sockets)
        fds += self._target.descriptors()
        if role == "receiver":
            fds.append(os.dup(self._counters.fileno()))
        for listener in mine:
            fds.append(self._sockets.descriptor(listener))
        fds += plan.handover.descriptors(handed)
        return Start(
            role=role,
            instance=next(n for n in range(len(taken) + 1) if n not in taken),
            generation=plan.number,
            settings=msgspec.msgpack.encode(plan.settings),
            user="" if role in ("agent", "aliases") else self._user,
            listeners=mine,
            log_to=self._target.to,
            handed=handed,
        )

    def _join(self, child: Child) -> None:
        """Give the courier and a new process a channel between them (all of them, when it is the courier)."""
        courier = (
            child
            if child.role == "courier"
            else next((c for c in self._children.values() if c.role == "courier"), None)
        )
        if courier is None:
            return
        others = [c for c in self._children.values() if c is not courier] if child is courier else [child]
        for other in (c for c in others if c.role != "aliases"):
            here, there = socket.socketpair()
            courier.send(Link(other.role, other.instance, other.generation), [here.detach()])
            other.send(Link("courier", courier.instance, courier.generation), [there.detach()])

    def _heard(self, child: Child, record: ToMaster) -> None:
        match record:
            case Ready():
                if child.phase is Phase.STARTING:
                    child.phase = Phase.READY
                    self._generation_is_ready()
            case Refused():
                self.log.emit("master", Fatal(f"{child.role}: {record.reason}"))
            case Report():
                child.figures = record.figures
            case Unlinked():
                if child.role != "courier":
                    self._join(child)

    def _generation_is_ready(self) -> None:
        generations, latest = self._generations, self._generations.latest
        roles = ("receiver", "carrier") if latest.number else tuple(self._wanted())
        current = [c for c in self._children.values() if c.generation == latest.number and c.role in roles]
        wanted = self._wanted()
        if any(c.phase is Phase.STARTING for c in current) or len(current) < sum(wanted[role] for role in roles):
            return
        for child in self._children.values():
            if child.role in ("receiver", "carrier") and child.generation < latest.number:
                self._retire(child, latest.number)
        notify("READY=1", f"STATUS=generation {latest.number}")
        if not self._announced:
            self._announced = True
            self._on_ready()
        if generations.took_over():
            self._loop.call_soon(self._reload)

    def _retire(self, child: Child, latest: int) -> None:
        """It ends with its last session; one of an old generation at the next command of each, and not never."""
        if child.phase is not Phase.DRAINING:
            child.drain()
        if child.generation <= latest - KEPT and not child.hurried:
            child.drain(at_once=True)
            if child.role == "receiver":
                self._loop.call_later(_OLD_SECONDS, self._kill_late, [child])

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                child = self._children.pop(pid, None)
                if child is not None:
                    self._ended(child, os.waitstatus_to_exitcode(status))

    def _ended(self, child: Child, code: int) -> None:
        child.gone()
        if child.role == "receiver":
            self._counters.clear(child.instance)
        if self._stopping >= 0:
            roles = _ORDER_OF_STOP[self._stopping] if self._stopping < len(_ORDER_OF_STOP) else ()
            if not any(c.role in roles for c in self._children.values()):
                self._next_step_of_stop()
            return
        if child.phase is Phase.DRAINING:
            return
        how = f"killed by signal {-code}" if code < 0 else f"exit status {code}"
        self.log.emit("master", Warn(f"process {child.role} pid {child.pid} {how}"))
        if code == EX_CONFIG and not self._announced:
            self._give_up(f"{child.role}: the configuration can't be used")
            return
        if child.role in ("receiver", "carrier") and self._generations.plan_of(child.generation) is None:
            return
        wait = self._restarts.after_death(child.role, self._loop.time() - child.began)
        if wait and not self._announced:
            self._give_up(f"{child.role}: died again before the mail system was ready")
            return
        if wait:
            self.log.emit("master", Warn(f"{child.role}: bad command startup -- throttling for {wait:.0f} s"))
        self._loop.call_later(wait, self._restart, child.role, child.generation)

    def _restart(self, role: str, generation: int) -> None:
        if self._stopping >= 0:
            return
        plan: Plan | None = self._generations.latest
        living = [c for c in self._children.values() if c.role == role]
        if role in ("receiver", "carrier"):
            plan = self._generations.plan_of(generation)
            living = [c for c in living if c.generation == generation]
        if plan is not None and len(living) < self._wanted().get(role, 0):
            self._start(role, plan)

    # Files, log

    def _watch(self) -> None:
        """Once a second: have files that only root may read been renewed?"""
        self._loop.call_later(1.0, self._watch)
        handover = self._generations.latest.handover
        changed = handover.changed()
        if not changed:
            return
        for child in self._children.values():
            paths = changed
            if child.role == "courier":
                paths = tuple(path for path in changed if path in handover.tables)
            self._hand_over(child, handover, paths)

    def _hand_over(self, child: Child, handover: Handover, paths: tuple[str, ...]) -> None:
        if not paths:
            return
        try:
            child.send(Handed(paths), handover.descriptors(paths))
        except OSError as error:
            self.log.emit("master", Failure(f"{child.role} pid {child.pid}: renewed files: {error}"))

    def _unexpected(self, loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
        """A bug of ours in a callback. The roles go on, and so must we."""
        self.log.emit("master", Failure(f"internal error: {context.get('message')}: {context.get('exception')!r}"))

    def _announce(self, what: str) -> None:
        version, directory = self.settings.text("mail_version"), self.settings.config_directory
        self.log.emit("master", Notice(f"{what} -- version {version}, configuration {directory}"))


def _sink(target: LogTarget, settings: Settings) -> Sink:
    """For the master itself. Raises OSError."""
    if target.to == "fd":
        return FileSink(os.dup(target.fd), settings.text("myhostname"))
    return SyslogSink(target.to, settings.text("syslog_facility"))
