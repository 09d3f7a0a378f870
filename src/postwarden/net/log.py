"""The mail log: Postfix's lines, to `maillog_file`, to a terminal or pipe, or to syslog's socket.

A line is rendered when it is emitted and written with all others of the same turn of the loop, in one call: several
processes append to one file, and O_APPEND keeps their blocks whole. A log that can't be written never stops mail:
lines are kept up to `_KEEP` bytes and then dropped, and how many were dropped is said when writing works again.
"""

import contextlib
import os
import select
import socket
import stat
import time
from collections.abc import Callable
from typing import Protocol

from postwarden.mail.events import USUAL, Event, Form, Warn

_KEEP = 1 << 20
_PATIENCE = 1.0
"""Seconds between two attempts to write a full buffer: each costs its rendering."""
_LONGEST = 8000
"""Characters of a line. A datagram that is too large can never be sent: a client's endless Message-ID would have held
up all lines behind it for good."""
_PIPE_BLOCK = select.PIPE_BUF
_FACILITY = {
    "kern": 0, "user": 1, "mail": 2, "daemon": 3, "auth": 4, "syslog": 5, "lpr": 6, "news": 7, "uucp": 8, "cron": 9,
    "authpriv": 10, "ftp": 11, "local0": 16, "local1": 17, "local2": 18, "local3": 19, "local4": 20, "local5": 21,
    "local6": 22, "local7": 23,
}  # fmt: skip
_PRIORITY = {"info": 6, "warning": 4, "error": 3, "fatal": 2, "panic": 2}


class Sink(Protocol):
    def write(self, lines: list[tuple[str, str]]) -> bool:
        """Write (level, `program[pid]: text`) lines; False when they could not be written and may be tried again."""

    def close(self) -> None: ...


class Log(Protocol):
    def emit(self, program: str, event: Event, name: str = "") -> None:
        """Log `event` as `name/program[pid]: …`. `name` is the service's syslog_name, where it has its own."""


class MailLog:
    """The log of one process. `later` runs a callback once the current turn of the loop is over; without it (master at
    start, commands) each line is written at once."""

    def __init__(
        self,
        sink: Sink,
        name: str,
        later: Callable[[Callable[[], None]], None] | None = None,
        *,
        form: Form = USUAL,
    ) -> None:
        self._form = form
        self._sink = sink
        self._name = name
        self._later = later
        self._pid = f"[{os.getpid()}]: "
        self._lines: list[tuple[str, str]] = []
        self._size = 0
        self._dropped = 0
        self._due = False
        self._try_after = 0.0

    def emit(self, program: str, event: Event, name: str = "") -> None:
        level = event.level
        said = str(event) if self._form is USUAL else event.written(self._form)
        text = f"{name or self._name}/{program}{self._pid}{said if level == 'info' else f'{level}: {said}'}"
        if self._size > _KEEP:
            self._dropped += 1
            if time.monotonic() >= self._try_after:
                self._soon()
            return
        if len(text) > _LONGEST:
            text = f"{text[:_LONGEST]}..."
        self._lines.append((level, text))
        self._size += len(text)
        self._soon()

    def relay(self, level: str, text: str) -> None:
        """A line of another process, `program[pid]: text`; dropped while too many wait."""
        if self._size <= _KEEP:
            self._lines.append((level, text[:_LONGEST]))
            self._size += len(text)
            self._soon()

    def _soon(self) -> None:
        if self._later is None:
            self.flush()
        elif not self._due:
            self._due = True
            self._later(self.flush)

    def flush(self) -> None:
        """Write what waits. Call it before the process ends."""
        self._due = False
        if not self._lines:
            return
        waiting = len(self._lines)
        if not self._sink.write(self._lines):
            self._try_after = time.monotonic() + _PATIENCE
            if len(self._lines) != waiting:
                self._size = sum(len(text) for _, text in self._lines)
            return
        self._lines = []
        self._size = 0
        if self._dropped:
            dropped, self._dropped = self._dropped, 0
            self.emit("log", Warn(f"{dropped} log lines were dropped: the log could not be written"))

    def reopen(self, sink: Sink, name: str, form: Form | None = None) -> None:
        """Write to `sink` from now on: a reload after the file was rotated, or named anew. `form`: None: as before."""
        self.flush()
        self._sink.close()
        self._sink, self._name = sink, name
        self._form = form or self._form
        self._try_after = 0.0

    def close(self) -> None:
        self.flush()
        self._sink.close()


class FileSink:
    """Lines as postlogd(8) writes them: `Mmm dd hh:mm:ss host program[pid]: text`, local time.

    A pipe, terminal or socket whose reader is stuck must not stop mail: what it does not take now is a failed write.
    Several processes write to one pipe, so its lines leave in blocks of up to PIPE_BUF bytes, which stay whole.
    """

    def __init__(self, fd: int, host: str, clock: Callable[[], float] = time.time) -> None:
        self._fd = fd
        self._host = host.partition(".")[0]
        self._clock = clock
        self._second = -1
        self._stamp = ""
        self._rest = b""
        """Of a line that was longer than what a pipe had room for."""
        self._pipe = _is_pipe(fd)
        self._room: select.poll | None = None
        if self._pipe and os.get_blocking(fd):
            self._room = select.poll()
            self._room.register(fd, select.POLLOUT)

    def write(self, lines: list[tuple[str, str]]) -> bool:
        second = int(self._clock())
        if second != self._second:
            self._second = second
            self._stamp = f"{stamp(second)} {self._host} "
        head = self._stamp
        if self._pipe:
            return self._write_blocks(head, lines)
        data = "".join([f"{head}{text}\n" for _, text in lines]).encode("utf-8", "surrogateescape")
        try:
            while data:
                data = data[os.write(self._fd, data) :]
        except OSError:
            return False
        return True

    def _write_blocks(self, head: str, lines: list[tuple[str, str]]) -> bool:
        """Take from `lines` what was written, so that no line comes twice."""
        while self._rest or lines:
            block, count = self._rest, 0
            while count < len(lines):
                line = f"{head}{lines[count][1]}\n".encode("utf-8", "surrogateescape")
                if block and len(block) + len(line) > _PIPE_BLOCK:
                    break
                block, count = block + line, count + 1
            if self._room is not None and not self._room.poll(0):
                return False
            try:
                written = os.write(self._fd, block)
            except OSError:
                return False
            self._rest = block[written:]
            del lines[:count]
        return True

    def close(self) -> None:
        with contextlib.suppress(OSError):
            os.close(self._fd)


def _is_pipe(fd: int) -> bool:
    """Or whatever else is no regular file."""
    try:
        return not stat.S_ISREG(os.fstat(fd).st_mode)
    except OSError:
        return False


class SyslogSink:
    """RFC 3164 datagrams to a local syslog socket, opened again when the daemon was restarted."""

    def __init__(self, path: str, facility: str = "mail") -> None:
        self._path = path
        self._facility = _FACILITY.get(facility, 2) << 3
        self._socket: socket.socket | None = None

    def write(self, lines: list[tuple[str, str]]) -> bool:
        when = stamp(int(time.time()))
        for n, (level, text) in enumerate(lines):
            line = f"<{self._facility | _PRIORITY[level]}>{when} {text}".encode("utf-8", "surrogateescape")
            if not self._send(line):
                del lines[:n]
                return False
        return True

    def _send(self, line: bytes) -> bool:
        for _ in range(2):
            try:
                if self._socket is None:
                    self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
                    self._socket.connect(self._path)
                    self._socket.setblocking(False)
                self._socket.send(line)
                return True
            except OSError:
                self.close()
        return False

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


class MemorySink:
    """Keeps the lines; for tests and for whoever wants to look at them."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def write(self, lines: list[tuple[str, str]]) -> bool:
        self.lines.extend(text for _, text in lines)
        return True

    def close(self) -> None:
        return


def stamp(second: int) -> str:
    """`Nov  3 04:05:06`, local time: the day padded with a blank, the month in English whatever the locale."""
    t = time.localtime(second)
    month = "JanFebMarAprMayJunJulAugSepOctNovDec"[3 * t.tm_mon - 3 : 3 * t.tm_mon]
    return f"{month} {t.tm_mday:2d} {t.tm_hour:02d}:{t.tm_min:02d}:{t.tm_sec:02d}"
