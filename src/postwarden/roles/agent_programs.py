"""Programs that mail is delivered to: started by a worker, with rights, environment and descriptors of their own.

fork and exec by hand, since `subprocess` changes the directory before the user: a home that only its owner may enter
could not be entered, and an error of `chroot` would have no name. A worker has one thread, so that what runs between
fork and exec finds no lock held.
"""

import contextlib
import errno
import os
import resource
import select
import signal
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from functools import partial

from postwarden.deliver.local.ports import Identity, NotPermitted
from postwarden.deliver.programs.ports import OUTPUT_LIMIT, Program, Ran

EX_TEMPFAIL = 75
_CHUNK = 64 << 10
_OPEN_FILES = 4096
"""The soft limit: programs that close all they might have open would take seconds with the gateway's own."""
_MOST_FILES = 1 << 16
_LONGEST_NAP = 0.05
_CLEAN = (signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGCHLD)


class SystemPrograms:
    def __init__(
        self, identity: Identity, queue_directory: str, tell: Callable[[float], None] = lambda limit: None
    ) -> None:
        """`tell` hears of each program before it runs, and how many seconds it may take."""
        self._tell = tell
        self._identity = identity
        self._directory = queue_directory
        self._rights = partial(identity.acting_as, 0, 0) if identity.may_act_as(0) else contextlib.nullcontext[None]

    def run(self, program: Program, pieces: Iterable[bytes]) -> Ran:
        """As `Programs.run`."""
        if program.uid == 0:
            raise NotPermitted("no program is ever run as root")
        if not self._identity.may_act_as(program.uid):
            raise NotPermitted("postwarden was not started as root and can't run programs for others")
        self._tell(program.limit)
        process = _Process(program, self._directory, self._rights)
        try:
            process.feed(pieces)
            process.listen()
            process.wait()
        except BaseException:
            process.kill()
            raise
        finally:
            process.close()
        return process.ran


class _Process:
    """A running program. `feed`, `listen` and `wait` stop when its time is over; `ran` then says so."""

    def __init__(self, program: Program, home: str, rights: Callable[[], AbstractContextManager[None]]) -> None:
        """`rights`: to kill it, whoever it is. Raises OSError."""
        self._rights = rights
        self._deadline = time.monotonic() + program.limit
        self._output = bytearray()
        self._late = False
        self._trouble = b""
        self._exit: int | None = None
        self._fds: set[int] = set()
        stdin, self._stdin = self._pipe()
        self._stdout, stdout = self._pipe()
        self._told, tell = self._pipe()
        try:
            self._pid = os.fork()
        except OSError:
            self.close()
            raise
        if self._pid == 0:
            _become(program, home, (stdin, stdout, tell))
        for fd in (stdin, stdout, tell):
            self._close(fd)
        os.set_blocking(self._stdin, False)
        os.set_blocking(self._stdout, False)

    @property
    def ran(self) -> Ran:
        code = self._exit or 0
        number = -code if code < 0 else 0
        trouble = self._trouble.decode("utf-8", "replace")
        return Ran(bytes(self._output), max(code, 0), 0 if self._late else number, self._late, trouble)

    # its input and output

    def feed(self, pieces: Iterable[bytes]) -> None:
        """A program that reads nothing gets nothing more; one that talks meanwhile is listened to."""
        for piece in pieces:
            view = memoryview(piece)
            while view and self._stdin >= 0 and not self._late:
                self._ready()
                with contextlib.suppress(BlockingIOError):
                    try:
                        view = view[os.write(self._stdin, view[:_CHUNK]) :]
                    except BrokenPipeError:
                        self._stdin = self._close(self._stdin)
        self._stdin = self._close(self._stdin)

    def listen(self) -> None:
        """Until it has said all, or more than anybody wants to hear."""
        while self._stdout >= 0 and not self._late:
            self._ready()

    def _ready(self) -> None:
        """Wait until it takes something or has said something."""
        poll = select.poll()
        if self._stdin >= 0:
            poll.register(self._stdin, select.POLLOUT)
        if self._stdout >= 0:
            poll.register(self._stdout, select.POLLIN)
        left = self._deadline - time.monotonic()
        ready = poll.poll(left * 1000) if left > 0 else ()
        if not ready:
            self._too_late()
        elif any(fd == self._stdout for fd, _ in ready):
            self._hear()

    def _hear(self) -> None:
        try:
            said = os.read(self._stdout, OUTPUT_LIMIT - len(self._output))
        except BlockingIOError:
            return
        self._output += said
        if not said or len(self._output) >= OUTPUT_LIMIT:
            self._stdout = self._close(self._stdout)

    # its end

    def wait(self) -> None:
        self._trouble = os.read(self._told, OUTPUT_LIMIT)
        nap = 0.0005
        while self._exit is None and not self._late:
            pid, state = os.waitpid(self._pid, os.WNOHANG)
            if pid:
                self._exit = os.waitstatus_to_exitcode(state)
            elif time.monotonic() >= self._deadline:
                self._too_late()
            else:
                time.sleep(nap)
                nap = min(2 * nap, _LONGEST_NAP)

    def _too_late(self) -> None:
        self._late = True
        self.kill()

    def kill(self) -> None:
        """It and all that it has started: it leads a session, and its children are of its process group unless they
        have left it on purpose."""
        if self._exit is not None:
            return
        with self._rights():
            for kill in (os.killpg, os.kill):
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    kill(self._pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            self._exit = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])

    def close(self) -> None:
        for fd in tuple(self._fds):
            self._close(fd)

    def _pipe(self) -> tuple[int, int]:
        try:
            both = os.pipe2(os.O_CLOEXEC)
        except OSError:
            self.close()
            raise
        self._fds.update(both)
        return both

    def _close(self, fd: int) -> int:
        """-1, for whoever had it."""
        if fd in self._fds:
            self._fds.discard(fd)
            os.close(fd)
        return -1


def _become(program: Program, home: str, fds: tuple[int, int, int]) -> None:
    """In the new process: become the program, and never return."""
    stdin, stdout, tell = fds
    doing = ""
    try:
        _detach(program)
        if os.getuid() == 0:
            os.seteuid(0)
            if program.chroot:
                doing = f'cannot change root to "{program.chroot}"'
                os.chroot(program.chroot)
                os.chdir("/")
            else:
                _enter(home)
            doing = f"cannot become uid={program.uid} gid={program.gid}"
            os.setgroups([program.gid])
            os.setresgid(program.gid, program.gid, program.gid)
            os.setresuid(program.uid, program.uid, program.uid)
        else:
            _enter(home)
        if program.directory:
            doing = f'cannot change directory to "{program.directory}" for uid={program.uid} gid={program.gid}'
            os.chdir(program.directory)
        for number, fd in enumerate((stdin, stdout, stdout)):
            os.dup2(fd, number)
        os.closerange(3, tell)
        os.closerange(tell + 1, _MOST_FILES)
        doing = f"{program.complaint} {program.argv[0]}"
        _execute(program)
    except (OSError, ValueError) as error:
        text = f"{doing}: {error.strerror if isinstance(error, OSError) else error}"
        if doing.startswith(program.complaint):
            os.write(2, _bytes(text + "\n"))
        os.write(tell, _bytes(text.partition("fatal: ")[2] or text)[:OUTPUT_LIMIT])
    finally:
        os._exit(EX_TEMPFAIL)


def _detach(program: Program) -> None:
    os.setsid()
    for number in _CLEAN:
        signal.signal(number, signal.SIG_DFL)
    # As Postfix's daemons have it: who writes where nobody reads gets an error, and a status, not a signal.
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    soft = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(_OPEN_FILES, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if program.file_size:
        resource.setrlimit(resource.RLIMIT_FSIZE, (program.file_size, program.file_size))


def _enter(directory: str) -> None:
    try:
        os.chdir(directory)
    except OSError:
        os.chdir("/")


def _execute(program: Program) -> None:
    """Along PATH, where the name has no slash. A script without `#!` is the shell's, as execvp(3) has it."""
    name, arguments = program.argv[0], [_bytes(argument) for argument in program.argv]
    environment = {_bytes(key): _bytes(value) for key, value in program.environment.items()}
    places = [name] if "/" in name else [f"{place}/{name}" for place in program.environment["PATH"].split(":")]
    failed = OSError(errno.ENOENT, os.strerror(errno.ENOENT))
    for place in places:
        try:
            os.execve(_bytes(place), arguments, environment)
        except OSError as error:
            if error.errno == errno.ENOEXEC:
                os.execve(b"/bin/sh", [b"/bin/sh", _bytes(place), *arguments[1:]], environment)
            if error.errno not in (errno.ENOENT, errno.ENOTDIR) or "/" in name:
                failed = error
    if program.script and "/" not in name and failed.errno == errno.ENOENT:
        os.execve(b"/bin/sh", [b"sh", b"-c", _bytes(program.script)], environment)
    raise failed


def _bytes(text: str) -> bytes:
    """What came as no UTF-8 goes on as it came."""
    return text.encode("utf-8", "surrogateescape")
