"""A worker of the agent: one process, one thread, one job at a time.

It reads the configuration itself. A job names a transport of master.cf and recipients; never a path, a user or a
command, so that whoever sends jobs can't make it write where the configuration does not.
"""

import os
import socket
import time
from collections.abc import Callable
from typing import Protocol

from postwarden.addressing.resolve import open_resolver
from postwarden.config.errors import ConfigError
from postwarden.config.log_form import log_form
from postwarden.config.settings import Service, Settings
from postwarden.config.view import view
from postwarden.deliver.body import Body, FileBody
from postwarden.deliver.local.deliverer import local_deliverer
from postwarden.deliver.local.params import LocalParams, VirtualParams
from postwarden.deliver.local.ports import Identity, Surroundings
from postwarden.deliver.local.tables import open_tables
from postwarden.deliver.local.virtual import virtual_deliverer
from postwarden.deliver.pipe.deliverer import pipe_deliverer
from postwarden.deliver.status_filter import StatusFilter
from postwarden.ipc.channel import BlockingChannel, ChannelError
from postwarden.ipc.records import Forward, Job, Outcome, ToDeliverer
from postwarden.mail.events import Event, Failure, Notice, Warn
from postwarden.mail.status import Status, Timing
from postwarden.net.log import FileSink, MailLog, Sink, SyslogSink
from postwarden.roles.agent_programs import SystemPrograms
from postwarden.roles.agent_records import Able, Running, Unable
from postwarden.roles.identity import OwnIdentity, RootIdentity, SystemAccounts
from postwarden.roles.leash import Leash
from postwarden.roles.privileges import NoSuchUser, look_up
from postwarden.tables.maps import Maps
from postwarden.tables.opening import Tables

COMMANDS = ("local", "virtual", "pipe")
"""master.cf commands that the agent has."""
_WATCH_SECONDS = 1.0


class Deliverer(Protocol):
    def deliver(self, job: Job, body: Body, forwarded: Callable[[Forward], None]) -> Outcome: ...


class Worker:
    """Raises ConfigError for a configuration that mail can't be delivered by."""

    def __init__(
        self,
        settings: Settings,
        log: MailLog,
        running: Callable[[float], None] = lambda limit: None,
        leash: Leash | None = None,
    ) -> None:
        """`running` hears how many seconds a program may take that is about to be run, `leash` which process it is."""
        self._leash = leash
        self._log = log
        self._running = running
        self._tables = Tables.of(settings, lambda text: log.emit("agent", Notice(text)))
        self._looked = time.monotonic()
        # Tables are opened with the rights that the agent was started with: some are root's alone.
        self._filters: dict[str, StatusFilter | None] = {}
        build = [self._prepare(settings, s) for s in settings.services if s.type != "inet" and s.command in COMMANDS]
        self._resolver = open_resolver(settings, self._tables)
        self._identity = identity(settings)
        self._deliverers = {service.name: make(self._surroundings(settings, service)) for service, make in build}

    def _prepare(self, settings: Settings, service: Service) -> tuple[Service, Callable[[Surroundings], Deliverer]]:
        """Opens what the service needs; the rest is done when it is clear who we are."""
        key, tables = service.key, self._tables
        self._filters[service.name] = self._status_filter(settings, service)
        if service.command == "pipe":
            return service, lambda around: pipe_deliverer(settings, service, around)
        if service.command == "virtual":
            virtual = view(VirtualParams, settings, key)

            def opened_maps(name: str) -> Maps:
                origin = settings.origin(name, key)
                return tables.maps(getattr(virtual, name), origin, literal=True, sensitive=True)

            maps = (
                opened_maps("virtual_mailbox_maps"),
                opened_maps("virtual_uid_maps"),
                opened_maps("virtual_gid_maps"),
            )
            return service, lambda around: virtual_deliverer(settings, key, virtual, around, maps)
        local = view(LocalParams, settings, key)
        opened = open_tables(settings, key, local, tables)
        return service, lambda around: local_deliverer(settings, key, local, around, opened, self._resolver)

    def _status_filter(self, settings: Settings, service: Service) -> StatusFilter | None:
        name = f"{service.command}_delivery_status_filter"
        maps = self._tables.maps(settings.items(name, service.key), settings.origin(name, service.key))
        log_name = settings.text("syslog_name", service.key)

        def warn(text: str) -> None:
            self._log.emit(service.command, Warn(text), log_name)

        return StatusFilter(maps, warn, name=name) if maps else None

    def work(self, job: Job, body: Body, forwarded: Callable[[Forward], None]) -> Outcome:
        """What became of a job; a bug of ours puts it off."""
        self._watch()
        started = time.time()
        deliverer = self._deliverers.get(job.transport)
        if deliverer is None:
            return _put_off(job, f"mail transport unavailable: {job.transport}", started)
        try:
            return deliverer.deliver(job, body, forwarded)
        except (BrokenPipeError, ConnectionResetError):  # the supervisor was killed: nobody hears what became of it
            return _put_off(job, "local delivery was interrupted", started)
        except Exception as error:
            self._log.emit("agent", Failure(f"{job.queue_id}: internal error: {error!r}{_place(error)}"))
            return _put_off(job, "internal error in local delivery", started)

    def _surroundings(self, settings: Settings, service: Service) -> Surroundings:
        name = settings.text("syslog_name", service.key)
        program = service.command

        def emit(event: Event) -> None:
            self._log.emit(program, event, name)

        programs = SystemPrograms(self._identity, settings.text("queue_directory"), self._running, self._leash)
        return Surroundings(
            SystemAccounts(),
            self._identity,
            emit,
            time.time,
            time.sleep,
            os.uname().nodename,
            programs,
            self._filters[service.name],
        )

    def _watch(self) -> None:
        """Read tables again that have changed; one that can't be read keeps its old text."""
        now = time.monotonic()
        if now - self._looked < _WATCH_SECONDS:
            return
        self._looked = now
        uid = 0 if self._identity.may_act_as(0) else os.geteuid()
        with self._identity.acting_as(uid, os.getegid() if uid else 0):
            for problem in self._tables.refresh():
                self._log.emit("agent", Warn(str(problem)))
            self._resolver.forget()


def serve(sock: socket.socket, settings: Settings, log_to: str, log_fd: int, leash: Leash) -> int:
    """The whole life of a worker's process: it ends when the supervisor does. Returns the exit code."""
    os.umask(0o077)
    channel: BlockingChannel[Job] = BlockingChannel(sock, ToDeliverer)
    # Lines are written once a job, before its outcome: `later` has nothing to do but hold them back.
    log = open_log(settings, log_to, log_fd, lambda _: None)
    try:
        worker = Worker(settings, log, lambda limit: channel.send(Running(limit)), leash)
    except (ConfigError, NoSuchUser) as error:
        channel.send(Unable(str(error)))
        return 78
    except Exception as error:
        channel.send(Unable(f"internal error: {error!r}{_place(error)}"))
        return 70
    finally:
        log.flush()
    channel.send(Able())
    try:
        while (jobs := channel.receive()) is not None:
            for job, fds in jobs:
                body: Body = job.body or b""
                if job.body is None:
                    body = FileBody(fds[0], job.body_offset, job.body_size, job.body_crc)
                outcome = worker.work(job, body, channel.send)
                if isinstance(body, FileBody):
                    body.close()
                log.flush()
                channel.send(outcome)
    except (ChannelError, OSError):
        return 1
    return 0


def open_log(settings: Settings, to: str, fd: int, later: Callable[[Callable[[], None]], None] | None) -> MailLog:
    """The log of this process; `later` as in MailLog."""
    if to == "fd":
        sink: Sink = FileSink(fd, settings.text("myhostname"))
    else:
        sink = SyslogSink(to, settings.text("syslog_facility"))
    return MailLog(sink, settings.text("syslog_name"), later, form=log_form(settings))


def identity(settings: Settings) -> Identity:
    """Who the agent's processes are. Raises NoSuchUser."""
    if os.geteuid() != 0:
        return OwnIdentity()
    owner = look_up(settings.text("mail_owner"))
    return RootIdentity(owner.pw_uid, owner.pw_gid)


def _put_off(job: Job, text: str, started: float) -> Outcome:
    return Outcome(job.job_id, (Status("4.3.0", text),) * len(job.recipients), Timing(started, 0, time.time()))


def _place(error: BaseException) -> str:
    """Where in our code it happened."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f" at {os.path.basename(trace.tb_frame.f_code.co_filename)}:{trace.tb_lineno}" if trace else ""
