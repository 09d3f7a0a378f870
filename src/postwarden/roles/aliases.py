"""The timer of the sources of aliases: it looks at landing places and at the clock, and has a process of its own made
for each merge, whose memory goes with it. Started by the master only where there is a sources file.

It is root where the gateway is, since the merged table is root's; what comes from outside is read by the merge.
"""

import contextlib
import os
import selectors
import signal
import socket
import time

import msgspec

from postwarden.config.errors import ConfigError
from postwarden.config.settings import Settings
from postwarden.federation.arrival import SETTLED
from postwarden.federation.sources import Federation, Pull, Push, load_federation, sources_file
from postwarden.ipc.channel import BlockingChannel, ChannelError
from postwarden.ipc.records import Drain, FromMaster, Ready, Reconfigure, Start
from postwarden.mail.events import Notice, Warn
from postwarden.net.log import FileSink, MailLog, Sink, SyslogSink
from postwarden.tables.source import Mark, mark

_LOOK_SECONDS = 1.0
_LAST_SECONDS = 5.0
_MERGE_SECONDS = 1800.0
"""After which a merge is killed; what is installed stays."""
_SAID_LIMIT = 1 << 20
_PROBLEMS, _PROBLEM_LENGTH = 1000, 250
"""With four bytes a character they fit into that: a source with endless targets must not make a merge look dead."""


class Said(msgspec.Struct, array_like=True):
    """What a merge tells the timer, which says it once."""

    done: str = ""
    problems: tuple[str, ...] = ()


class Timer:
    def __init__(self, control: socket.socket) -> None:
        self._control: BlockingChannel[FromMaster] = BlockingChannel(control, FromMaster)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._control, selectors.EVENT_READ)
        self._settings: Settings
        self._log: MailLog
        self._federation: Federation | None = None
        self._trouble = ""
        self._marks: dict[str, Mark] = {}
        """Files as they were when the last merge began."""
        self._seen: dict[str, Mark] = {}
        self._seen_since = 0.0
        self._next_pull = 0.0
        self._merge: Merge | None = None
        self._problems: frozenset[str] = frozenset()
        """That the log has."""
        self._end_by = float("inf")

    def run(self) -> int:
        while time.monotonic() < self._end_by:
            for _ in self._selector.select(0.1 if self._merge is not None else _LOOK_SECONDS):
                self._obey()
            if self._merge is not None:
                self._look_at_merge(self._merge)
            elif self._end_by < float("inf"):
                break
            else:
                self._look()
        if self._merge is not None:
            self._merge.end()
        self._log.close()
        return 0

    # The master

    def _obey(self) -> None:
        try:
            records = self._control.receive()
        except (ChannelError, OSError):
            records = None
        if records is None:
            self._selector.unregister(self._control)
            self._drain()
            return
        for record, fds in records:
            match record:
                case Start() | Reconfigure():
                    self._configure(record, fds)
                case Drain():
                    self._drain()
                case _:
                    for fd in fds:
                        os.close(fd)

    def _configure(self, record: Start | Reconfigure, fds: list[int]) -> None:
        self._settings = msgspec.msgpack.decode(record.settings, type=Settings)
        if record.log_to:
            old = self._log if isinstance(record, Reconfigure) else None
            self._log = _log(self._settings, record.log_to, fds.pop(0) if record.log_to == "fd" else -1)
            if old is not None:
                old.close()
        for fd in fds:
            os.close(fd)
        self._reload()
        with contextlib.suppress(OSError):
            self._control.send(Ready())

    def _drain(self) -> None:
        """A merge that is killed leaves the old table or the new one; most are done in this time."""
        self._end_by = min(self._end_by, time.monotonic() + _LAST_SECONDS)

    # Sources

    def _reload(self) -> None:
        """Read the sources file. One that can't be used is said, and nothing is merged until it can."""
        try:
            self._federation = load_federation(self._settings)
            self._trouble = ""
        except (ConfigError, OSError) as error:
            self._federation = None
            if str(error) != self._trouble:
                self._trouble = str(error)
                self._log.emit("aliases", Warn(f"{error}: nothing is merged"))
        self._marks, self._next_pull = {}, 0.0

    def _look(self) -> None:
        """Begin a merge when a file has landed and rests, when the sources file is another, or when it is time."""
        now = time.monotonic()
        marks = self._look_at_files()
        if marks != self._seen:
            self._seen, self._seen_since = marks, now
        own = sources_file(self._settings)
        if self._marks and marks.get(own) != self._marks.get(own):
            self._reload()
            self._seen = marks = self._look_at_files()
        if self._federation is None:
            self._marks = marks
            return
        pulls = any(isinstance(source.arrives, Pull) for source in self._federation.sources)
        due = (pulls or not self._marks) and now >= self._next_pull
        rests = marks != self._marks and now - self._seen_since >= SETTLED
        if due or rests:
            # What is still being written is left by the merge, and looked at again when it rests.
            fresh = (time.time() - SETTLED) * 1e9
            self._marks = {file: m for file, m in marks.items() if file == own or m is None or m[3] <= fresh}
            self._begin(now, due=due)

    def _look_at_files(self) -> dict[str, Mark]:
        files = [sources_file(self._settings)]
        if self._federation is not None:
            files += [s.arrives.path for s in self._federation.sources if isinstance(s.arrives, Push)]
        return {file: mark(file) for file in files}

    def _begin(self, now: float, *, due: bool) -> None:
        if due and self._federation is not None:
            self._next_pull = now + self._federation.interval
        try:
            self._merge = Merge(self._settings, pull=due)
        except OSError as error:
            self._log.emit("aliases", Warn(f"no process for a merge: {error}"))

    def _look_at_merge(self, merge: "Merge") -> None:
        said = merge.look()
        if said is None:
            return
        self._merge = None
        if said.done:
            self._log.emit("aliases", Notice(said.done))
        problems = frozenset(said.problems)
        for text in said.problems:
            if text not in self._problems:
                self._log.emit("aliases", Warn(text))
        self._problems = problems


class Merge:
    """A process that merges. Raises OSError."""

    def __init__(self, settings: Settings, *, pull: bool) -> None:
        self._reader, writer = os.pipe()
        os.set_blocking(self._reader, False)
        self._data = b""
        self._until = time.monotonic() + _MERGE_SECONDS
        try:
            self._pid = os.fork()
        except OSError:
            os.close(self._reader)
            os.close(writer)
            raise
        if self._pid == 0:
            code = 1
            try:
                os.setpgid(0, 0)
                os.close(self._reader)
                os.write(writer, msgspec.msgpack.encode(merged(settings, pull=pull)))
                code = 0
            finally:
                os._exit(code)
        os.close(writer)

    def look(self) -> Said | None:
        """What it has said; None: it is not done yet."""
        while True:
            try:
                data = os.read(self._reader, 65536)
            except BlockingIOError:
                if time.monotonic() > self._until:
                    self.end()
                    return Said(problems=("a merge took too long and was ended",))
                return None
            if not data:
                break
            self._data += data[: _SAID_LIMIT - len(self._data)]
        self._bury()
        try:
            return msgspec.msgpack.decode(self._data, type=Said)
        except msgspec.DecodeError:
            return Said(problems=("a merge has died",))

    def end(self) -> None:
        for kill in (os.killpg, os.kill):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                kill(self._pid, signal.SIGKILL)
        self._bury()

    def _bury(self) -> None:
        os.close(self._reader)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._pid, 0)


def merged(settings: Settings, *, pull: bool) -> Said:
    """Merge; whatever goes wrong is said."""
    from postwarden.federation.merger import ALL, NONE, Merger
    from postwarden.federation.pulling import fetch

    try:
        federation = load_federation(settings)
        why = "timer" if pull else "a file has landed"
        report = Merger(settings, federation, fetch, "the gateway").merge(why, pull=ALL if pull else NONE)
    except Exception as error:  # ConfigError, TableError, OSError, Busy, or a bug of ours: what is installed stays
        name = "" if isinstance(error, ConfigError) else f"{type(error).__name__}: "
        return Said(problems=(f"merge: {name}{error}; what is installed stays",))
    said = (f"{p.origin}: {p.text}" for p in report.problems[:_PROBLEMS] if p.severity != "note")
    problems = tuple(text if len(text) <= _PROBLEM_LENGTH else f"{text[:_PROBLEM_LENGTH]}..." for text in said)
    if not report.install:
        return Said(problems=problems)
    counts = f"entries={report.entries}, changed={len(report.changes)}"
    return Said(f"install={report.install}, {counts}, table={federation.table}", problems)


def _log(settings: Settings, to: str, fd: int) -> MailLog:
    sink: Sink = (
        FileSink(fd, settings.text("myhostname")) if to == "fd" else SyslogSink(to, settings.text("syslog_facility"))
    )
    return MailLog(sink, settings.text("syslog_name"), None)


def main(control: socket.socket) -> int:
    """Until the master says otherwise. Signals of the terminal are the master's affair."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    return Timer(control).run()
