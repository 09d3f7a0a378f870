"""The life of a role's process on an asyncio loop: started by the master, obedient to its channel, gone with it.

A role is a class that takes a `Life` and has the four methods of `Role`. The first record is `Start`; what comes after
it waits until the role is built. A configuration that can't be used is answered with `Refused` and exit code 78
(EX_CONFIG), which the master does not try again. When the master dies the channel closes: the role drains at once and
ends, at the latest after `_LAST_SECONDS`.
"""

import asyncio
import contextlib
import gc
import os
import signal
import socket
from collections.abc import Callable
from typing import Protocol, runtime_checkable

import msgspec

from postwarden.config.errors import ConfigError
from postwarden.config.log_form import log_form
from postwarden.config.settings import Settings
from postwarden.ipc.channel import Channel
from postwarden.ipc.records import (
    Drain,
    Flush,
    FromMaster,
    Handed,
    Link,
    Ready,
    Reconfigure,
    Refused,
    Report,
    Start,
    Unlinked,
)
from postwarden.mail.events import Failure
from postwarden.net.clock import LoopClock
from postwarden.net.log import FileSink, MailLog, Sink, SyslogSink
from postwarden.roles.privileges import become

EX_CONFIG = 78
_LAST_SECONDS = 10.0
_RELINK = 2.0
_GC_THRESHOLDS = (20_000, 20, 50)
"""Values are frozen Structs without cycles: the usual 700 would look through 10,000 sessions for nothing."""


class Role(Protocol):
    def link(self, link: Link, sock: socket.socket) -> None:
        """A channel to another role."""

    def reconfigure(self, settings: Settings) -> None:
        """Swap the configuration in place; ConfigError changes nothing."""

    def drain(self, at_once: bool) -> None:
        """Take nothing new; call `Life.finish` when the last work is done (or soon, if `at_once`)."""

    def flush(self) -> None:
        """Try deferred mail now."""


@runtime_checkable
class RereadsFiles(Protocol):
    def files_changed(self) -> None:
        """`Life.files` names new content: read certificates and the like again."""


class Life:
    """What a role knows of its process. Attributes of `Start` are valid once the role is built."""

    def __init__(self, control: socket.socket) -> None:
        self.loop = asyncio.get_running_loop()
        self.clock = LoopClock(self.loop)
        self.over: asyncio.Future[int] = self.loop.create_future()
        self.files: dict[str, str] = {}
        """Path in the configuration -> path to open instead, for what only root may read."""
        self.start: Start
        self.settings: Settings
        self.log: MailLog
        self.counters_fd = -1
        self.sockets: list[socket.socket] = []
        self._started: asyncio.Future[None] = self.loop.create_future()
        self._early: list[tuple[FromMaster, list[int]]] = []
        self._role: Role | None = None
        self._control: Channel[FromMaster] = Channel(control, FromMaster, self._received, self._lost)

    async def live(self, build: Callable[["Life"], Role]) -> int:
        """Be started, build the role, and return the exit code when it is over."""
        await self._started
        become(self.start.user)
        try:
            role = build(self)
        except ConfigError as error:
            self._control.send(Refused(str(error)))
            await asyncio.sleep(0)
            return EX_CONFIG
        self.loop.set_exception_handler(self._unexpected)
        gc.collect()
        gc.freeze()
        gc.set_threshold(*_GC_THRESHOLDS)
        self._role = role
        early, self._early = self._early, []
        for record, fds in early:
            self._obey(role, record, fds)
        code = await self.over
        self.log.close()
        return code

    def ready(self) -> None:
        """At work: for a receiver, that it accepts."""
        self._control.send(Ready())

    def report(self, figures: dict[str, int]) -> None:
        self._control.send(Report(figures))

    def unlinked(self, still: Callable[[], bool]) -> None:
        """The channel to the courier is gone. As a rule the courier is, and the next one brings a channel of its own;
        if `still` says in a while that none has come, the master is asked for one."""

        def ask() -> None:
            if not self.over.done() and still():
                self._control.send(Unlinked())
                self.unlinked(still)

        self.loop.call_later(_RELINK, ask)

    def finish(self, code: int = 0) -> None:
        if not self.over.done():
            self.over.set_result(code)

    def _received(self, record: FromMaster, fds: list[int]) -> None:
        if isinstance(record, Start) and not self._started.done():
            self._begin(record, fds)
        elif self._role is None:
            self._early.append((record, fds))
        else:
            self._obey(self._role, record, fds)

    def _begin(self, start: Start, fds: list[int]) -> None:
        self.start = start
        self.settings = msgspec.msgpack.decode(start.settings, type=Settings)
        rest = iter(fds)
        sink = log_sink(self.settings, start.log_to, next(rest) if start.log_to == "fd" else -1)
        form = log_form(self.settings)
        self.log = MailLog(sink, self.settings.text("syslog_name"), self.clock.call_soon, form=form)
        if start.role == "receiver":
            self.counters_fd = next(rest)
        self.sockets = [socket.socket(fileno=next(rest)) for _ in start.listeners]
        self._take_files(start.handed, list(rest))
        self._started.set_result(None)

    def _take_files(self, paths: tuple[str, ...], fds: list[int]) -> None:
        for path, fd in zip(paths, fds, strict=True):
            old = self.files.get(path)
            self.files[path] = f"/proc/self/fd/{fd}"
            if old is not None:
                os.close(int(old.rpartition("/")[2]))

    def _obey(self, role: Role, record: FromMaster, fds: list[int]) -> None:
        match record:
            case Link():
                role.link(record, socket.socket(fileno=fds[0]))
            case Reconfigure():
                self._reconfigure(role, record, fds)
            case Drain():
                role.drain(record.at_once)
            case Flush():
                role.flush()
            case Handed():
                self._take_files(record.paths, fds)
                if isinstance(role, RereadsFiles):
                    role.files_changed()
            case Start():
                pass

    def _reconfigure(self, role: Role, record: Reconfigure, fds: list[int]) -> None:
        settings = msgspec.msgpack.decode(record.settings, type=Settings)
        if record.log_to:
            sink = log_sink(settings, record.log_to, fds[0] if record.log_to == "fd" else -1)
            self.log.reopen(sink, settings.text("syslog_name"), log_form(settings))
        try:
            role.reconfigure(settings)
        except ConfigError as error:
            self._control.send(Refused(str(error)))
            return
        self.settings = settings
        self._control.send(Ready())

    def _lost(self, error: Exception | None) -> None:
        if self._role is None:
            self.finish(1)
            if not self._started.done():
                self._started.cancel()
            return
        self._role.drain(True)
        self.loop.call_later(_LAST_SECONDS, self.finish, 1)

    def _unexpected(self, loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
        """A bug of ours: said in the log with its place, and the process goes on with its other sessions."""
        error = context.get("exception")
        place = ""
        if isinstance(error, BaseException):
            trace = error.__traceback__
            while trace is not None and trace.tb_next is not None:
                trace = trace.tb_next
            if trace is not None:
                place = f" at {os.path.basename(trace.tb_frame.f_code.co_filename)}:{trace.tb_lineno}"
        self.log.emit(self.start.role, Failure(f"internal error: {context.get('message')}: {error!r}{place}"))


def log_sink(settings: Settings, to: str, fd: int) -> Sink:
    """Where `Start.log_to` says; `fd` is the descriptor that came with it."""
    if to == "fd":
        return FileSink(fd, settings.text("myhostname"))
    return SyslogSink(to, settings.text("syslog_facility"))


def new_loop() -> asyncio.AbstractEventLoop:
    """uvloop's loop, or asyncio's own where it is missing."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def run(control: socket.socket, build: Callable[[Life], Role]) -> int:
    """The whole life of a role's process. Signals of the terminal are the master's affair."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)

    async def live() -> int:
        return await Life(control).live(build)

    with asyncio.Runner(loop_factory=new_loop) as runner, contextlib.suppress(asyncio.CancelledError):
        return runner.run(live())
    return 1
