"""Exclusive access to a mailbox: `path.lock`, and locks of the kernel (mailbox_delivery_lock)."""

import contextlib
import errno
import fcntl
import os
import struct
from collections.abc import Callable

from msgspec import Struct

from postwarden.config.errors import ConfigError
from postwarden.deliver.local.faults import MailboxFault, fault
from postwarden.mail.decision import Origin

_FIRST_PAUSE = 0.01
_DEFAULT = "5.2.0"
METHODS = ("fcntl", "flock", "dotlock")


class LockPlan(Struct, frozen=True):
    """How to lock, and for how long to try: `attempts` times `delay` seconds."""

    methods: frozenset[str]
    attempts: int
    delay: float
    stale: float
    """Age in seconds at which a `path.lock` is left over from a process that died."""


def plan(methods: tuple[str, ...], attempts: int, delay: float, stale: float, origin: Origin) -> LockPlan:
    """Raises ConfigError for an unknown method, and for none: an unlocked mailbox mixes messages."""
    unknown = [name for name in methods if name not in METHODS]
    if unknown or not methods:
        raise ConfigError(origin, f"unknown mailbox locking method: {unknown[0] if unknown else '(none)'}")
    return LockPlan(frozenset(methods), attempts, delay, stale)


class Locker:
    """Takes locks, with patience. `now` and `sleep` are in seconds."""

    def __init__(self, plan: LockPlan, now: Callable[[], float], sleep: Callable[[float], None]) -> None:
        self._plan = plan
        self._now = now
        self._sleep = sleep

    @property
    def dotlock(self) -> bool:
        return "dotlock" in self._plan.methods

    def take_dotlock(self, path: str) -> str:
        """Make `path.lock` and return its name. Raises MailboxFault: 4.2.0 when somebody else holds it."""
        name = path + ".lock"
        what = f"unable to create lock file {name}"

        def attempt() -> bool:
            try:
                os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0))
            except FileExistsError:
                return self._remove_stale(name)
            except OSError as error:
                raise fault(error, what, _DEFAULT) from error
            return True

        while not self._patiently(attempt):
            raise MailboxFault("4.2.0", f"{what}: {os.strerror(errno.EEXIST)}", errno.EEXIST)
        return name

    def _remove_stale(self, name: str) -> bool:
        """False: the lock is another's. A stale one is removed; the next attempt then makes ours."""
        with contextlib.suppress(FileNotFoundError):
            if os.stat(name).st_ctime < self._now() - self._plan.stale:
                os.unlink(name)
        return False

    def take_kernel_locks(self, fd: int) -> None:
        """Released when `fd` is closed. Raises MailboxFault."""
        for name, lock in (("flock", _flock), ("fcntl", _fcntl)):
            if name not in self._plan.methods:
                continue

            def attempt(lock: Callable[[int], None] = lock) -> bool:
                try:
                    lock(fd)
                except (BlockingIOError, PermissionError):
                    return False
                except OSError as error:
                    raise fault(error, "unable to lock for exclusive access", _DEFAULT) from error
                return True

            if not self._patiently(attempt):
                text = f"unable to lock for exclusive access: {os.strerror(errno.EAGAIN)}"
                raise MailboxFault("4.2.0", text, errno.EAGAIN)

    def _patiently(self, attempt: Callable[[], bool]) -> bool:
        """Most locks are held for some milliseconds: the first pauses are short, none is over `delay`."""
        left, pause = self._plan.attempts * self._plan.delay, _FIRST_PAUSE
        while not attempt():
            if left <= 0:
                return False
            pause = min(pause, left)
            self._sleep(pause)
            left -= pause
            pause = min(2 * pause, max(self._plan.delay, _FIRST_PAUSE))
        return True


def _flock(fd: int) -> None:
    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)


_WHOLE_FILE = struct.pack("hhqqi", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)


def _fcntl(fd: int) -> None:
    fcntl.fcntl(fd, fcntl.F_SETLK, _WHOLE_FILE)
