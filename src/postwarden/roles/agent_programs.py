"""Programs that mail is delivered to: started by a worker, with rights, environment and descriptors of their own.

A fork of a worker costs 2.5 ms of CPU, most of it for pages that exec throws away; posix_spawn(3), which copies none,
0.6 ms. It can't change who the program is, so the worker itself becomes that user for the moment, with root as its
saved user id: exec takes that from the program, and the worker comes back by it. Likewise for limits, directory and
root. A worker has one thread, so that nobody else sees what it is meanwhile.
"""

import contextlib
import errno
import os
import resource
import select
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from functools import partial

from postwarden.deliver.local.ports import Identity, NotPermitted
from postwarden.deliver.programs.ports import OUTPUT_LIMIT, Program, Ran
from postwarden.roles.leash import Leash

EX_TEMPFAIL = 75
_CHUNK = 64 << 10
_OPEN_FILES = 4096
"""The soft limit: programs that close all they might have open would take seconds with the gateway's own."""
_CLEAN = (signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGCHLD)
_HERE = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
Rights = Callable[[], AbstractContextManager[None]]


class SystemPrograms:
    def __init__(
        self,
        identity: Identity,
        queue_directory: str,
        tell: Callable[[float], None] = lambda limit: None,
        leash: Leash | None = None,
    ) -> None:
        """`tell` hears of each program before it runs, and how many seconds it may take; `leash` of its process."""
        self._tell = tell
        self._leash = Leash() if leash is None else leash
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
        try:
            process = _Process(program, self._directory, self._rights, self._leash)
        except _NotStarted as failure:
            return Ran(failure.said, EX_TEMPFAIL, trouble=str(failure))
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


class _NotStarted(Exception):
    """Why, for the log; `said`: its output, as if it had said so itself."""

    def __init__(self, text: str, said: bytes = b"") -> None:
        super().__init__(text)
        self.said = said


class _Process:
    """A running program. `feed`, `listen` and `wait` stop when its time is over; `ran` then says so."""

    def __init__(self, program: Program, home: str, rights: Rights, leash: Leash) -> None:
        """`rights`: to kill it, whoever it is. Raises _NotStarted; OSError when no process can be had."""
        self._rights, self._leash = rights, leash
        self._deadline = time.monotonic() + program.limit
        self._output = bytearray()
        self._late = False
        self._exit: int | None = None
        self._fds: set[int] = set()
        stdin, self._stdin = self._pipe()
        self._stdout, stdout = self._pipe()
        leash.begins(stdin)
        try:
            with rights():
                self._pid = _start(program, home, stdin, stdout)
        except BaseException:
            leash.ended()
            self.close()
            raise
        leash.runs(self._pid)
        for fd in (stdin, stdout):
            self._close(fd)
        os.set_blocking(self._stdin, False)
        os.set_blocking(self._stdout, False)

    @property
    def ran(self) -> Ran:
        code = self._exit or 0
        number = -code if code < 0 else 0
        return Ran(bytes(self._output), max(code, 0), 0 if self._late else number, self._late)

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
        """As a rule it ends with its output, but it may stay without one."""
        if self._exit is not None:
            return
        watch = os.pidfd_open(self._pid)
        self._fds.add(watch)
        poll = select.poll()
        poll.register(watch, select.POLLIN)
        if poll.poll(max(self._deadline - time.monotonic(), 0) * 1000):
            self._reap()
        else:
            self._too_late()

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
        self._reap()

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            self._exit = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
        self._leash.ended()

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


def _start(program: Program, home: str, stdin: int, stdout: int) -> int:
    """Its process id. The caller has root's rights, where it can. Raises _NotStarted, OSError."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(_limits(program.file_size))
        stack.enter_context(_place(program.chroot, home))
        if os.getuid() == 0:
            stack.enter_context(_being(program.uid, program.gid))
        if program.directory:
            try:
                os.chdir(program.directory)
            except OSError as error:
                whose = f"uid={program.uid} gid={program.gid}"
                text = f'cannot change directory to "{program.directory}" for {whose}: {error.strerror}'
                raise _NotStarted(text) from error
        try:
            return _spawn(program, stdin, stdout)
        except (OSError, ValueError) as error:
            if isinstance(error, OSError) and error.errno in (errno.EAGAIN, errno.ENOMEM):
                raise
            why = error.strerror if isinstance(error, OSError) else error
            text = f"{program.complaint} {program.argv[0]}: {why}"
            raise _NotStarted(text.partition("fatal: ")[2] or text, _bytes(text + "\n")) from error


@contextlib.contextmanager
def _limits(file_size: int) -> Iterator[None]:
    """The soft ones, against accidents: root in a container has no way back from the others."""
    before = {kind: resource.getrlimit(kind) for kind in (resource.RLIMIT_NOFILE, resource.RLIMIT_FSIZE)}
    wanted = {resource.RLIMIT_NOFILE: _OPEN_FILES}
    if file_size:
        wanted[resource.RLIMIT_FSIZE] = file_size
    try:
        for kind, limit in wanted.items():
            hard = before[kind][1]
            resource.setrlimit(kind, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))
        yield
    finally:
        for kind, limits in before.items():
            resource.setrlimit(kind, limits)


@contextlib.contextmanager
def _place(chroot: str, home: str) -> Iterator[None]:
    """In another directory, and perhaps below another root, for a while. Raises _NotStarted."""
    here, root = os.open(".", _HERE), os.open("/", _HERE)
    try:
        if chroot:
            try:
                os.chroot(chroot)
            except OSError as error:
                raise _NotStarted(f'cannot change root to "{chroot}": {error.strerror}') from error
        try:
            os.chdir("/" if chroot else home)
        except OSError:
            os.chdir("/")
        yield
    finally:
        try:
            if chroot:
                os.fchdir(root)
                os.chroot(".")
            os.fchdir(here)
        except OSError:
            # Whatever is opened from now on would be another file than is meant.
            os._exit(EX_TEMPFAIL)
        os.close(here)
        os.close(root)


@contextlib.contextmanager
def _being(uid: int, gid: int) -> Iterator[None]:
    """Of a process that is root: another user, with a way back that exec closes. While it lasts that user may send us
    signals; that ends a delivery to himself."""
    groups, gids = os.getgroups(), os.getresgid()
    try:
        os.setgroups([gid])
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, 0)
        yield
    finally:
        try:
            os.setresuid(0, 0, 0)
            os.setresgid(*gids)
            os.setgroups(groups)
        except OSError:
            # Neither one nor the other: nothing that is done now would be done in the right name.
            os._exit(EX_TEMPFAIL)


def _spawn(program: Program, stdin: int, stdout: int) -> int:
    """Along PATH, where the name has no slash. A script without `#!` is the shell's, as execvp(3) has it."""
    name, arguments = program.argv[0], [_bytes(argument) for argument in program.argv]
    environment = {_bytes(key): _bytes(value) for key, value in program.environment.items()}
    files = [(os.POSIX_SPAWN_DUP2, fd, number) for number, fd in enumerate((stdin, stdout, stdout))]
    # What was received over a socket would be open in the program, too.
    inherited = [
        (os.POSIX_SPAWN_CLOSE, fd) for fd in map(int, os.listdir("/proc/self/fd")) if fd > 2 and _inherited(fd)
    ]

    def execute(path: bytes, words: list[bytes]) -> int:
        return os.posix_spawn(
            path, words, environment, file_actions=[*files, *inherited], setsid=True, setsigmask=(), setsigdef=_CLEAN
        )

    places = [name] if "/" in name else [f"{place}/{name}" for place in program.environment["PATH"].split(":")]
    failed = OSError(errno.ENOENT, os.strerror(errno.ENOENT))
    for place in places:
        try:
            return execute(_bytes(place), arguments)
        except OSError as error:
            if error.errno == errno.ENOEXEC:
                return execute(b"/bin/sh", [b"/bin/sh", _bytes(place), *arguments[1:]])
            if error.errno not in (errno.ENOENT, errno.ENOTDIR) or "/" in name:
                failed = error
    if program.script and "/" not in name and failed.errno == errno.ENOENT:
        return execute(b"/bin/sh", [b"sh", b"-c", _bytes(program.script)])
    raise failed


def _inherited(fd: int) -> bool:
    try:
        return os.get_inheritable(fd)
    except OSError:
        return False


def _bytes(text: str) -> bytes:
    """What came as no UTF-8 goes on as it came."""
    return text.encode("utf-8", "surrogateescape")
