"""The agent's worker for local mail: it brings what waits in the maildrop directory to the submission socket, as the
mail of whom each file belongs to, and removes it once it is durable there.

It judges nothing: how many a user may send, and in whose name, is the receiver's to say, as for mail that comes over
the socket. A file that must not be taken now stays; one that is no message, or that nobody will ever take, is set aside
under another name and told of. A crash between the two steps brings a message twice, never none.
"""

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator

from msgspec import structs

from postwarden.config.settings import Settings
from postwarden.deliver.local.ports import Identity
from postwarden.ipc.submit_client import Down, submit
from postwarden.mail.events import Event, Notice, Warn
from postwarden.roles.agent_worker import identity, open_log
from postwarden.spool.maildrop import Dropped, Maildrop, maildrop_directory
from postwarden.wire.submission import ACCEPTED, DENIED, REFUSED, End, Line, Malformed, Reader, Submission, whole

EVERY = 1.0
_OF_ONE = 100
"""Files of one user in a round: who leaves a thousand must not hold up the others."""
_RETRY = 60.0
_OLD = 86400.0
"""Seconds after which what was never finished is removed."""
_SWEEP = 3600.0
_REMOVED = 500
"""Leftovers of a round: each costs a write to the disk."""
_TOLD = 10
"""Of them by name."""
_SLACK = 10 << 20
"""Bytes of a file beside the content: its envelope, and the frames."""
_READ = 64 << 10
_AGAIN = 5.0
"""Seconds between two processes: one that dies at once must not keep the supervisor busy."""
_LAST = 5.0
"""Seconds for one that is to end."""


class Pickup:
    """Only the directory is touched with the rights of its owner; what users wrote is read with those of nobody."""

    def __init__(
        self,
        queue_directory: str,
        size_limit: int,
        identity: Identity,
        say: Callable[[Event], None],
        now: Callable[[], float] = time.time,
        leave: Callable[[], bool] = lambda: False,
    ) -> None:
        """`size_limit`: bytes of content, 0 for none. `now`: seconds since the epoch. `leave`: whether to end, after
        this message."""
        self._queue = queue_directory
        self._directory = maildrop_directory(queue_directory)
        self._limit = size_limit + _SLACK if size_limit else 0
        self._identity = identity
        self._owner = (0, 0) if identity.may_act_as(0) else (os.geteuid(), os.getegid())
        self._say = say
        self._now = now
        self._leave = leave
        self._brought: set[str] = set()
        """Files whose mail is in the queue, and that could not be removed."""
        self._wait: dict[str, float] = {}
        """When a file that could not be taken is to be tried again."""
        self._fault = ""
        self._swept = 0.0

    def round(self) -> int:
        """Bring what there is; how many were taken. A fault of the directory is told of once."""
        try:
            with self._as_owner():
                maildrop = Maildrop(self._directory)
            with contextlib.closing(maildrop):
                # The porter of an agent that was killed may still have a message in hand: two would bring it twice.
                maildrop.lock()
                return self._bring(maildrop)
        except BlockingIOError:
            return 0
        except OSError as error:
            self._complain(f"{self._directory}: {error.strerror or error}")
            return 0

    def _as_owner(self) -> contextlib.AbstractContextManager[None]:
        return self._identity.acting_as(*self._owner)

    def _bring(self, maildrop: Maildrop) -> int:
        now = self._now()
        if now - self._swept >= _SWEEP or now < self._swept:
            with self._as_owner():
                self._swept = now if self._sweep(maildrop, now) else 0.0
        taken = 0
        for one in self._due(maildrop, now):
            if self._leave():
                break
            try:
                taken += self._bring_one(maildrop, one.name)
            except Down as error:
                self._complain(str(error))
                break
            except OSError as error:
                self._say(Warn(f"{one.name}: uid={one.uid}: {error.strerror or error}"))
                self._wait[one.name] = now + _RETRY
        else:
            self._fault = ""
        return taken

    def _due(self, maildrop: Maildrop, now: float) -> list[Dropped]:
        """What is to be brought in this round, the oldest first, and not too many of one user."""
        due: dict[int, list[Dropped]] = {}
        self._wait = {name: until for name, until in self._wait.items() if until > now}
        with self._as_owner():
            # All of them (3 us each): whoever leaves more than any limit would hide those of the others behind it.
            for one in maildrop.complete():
                mine = due.setdefault(one.uid, [])
                if len(mine) < _OF_ONE and one.name not in self._wait:
                    mine.append(one)
        return sorted((one for mine in due.values() for one in mine), key=lambda one: one.when)

    def _bring_one(self, maildrop: Maildrop, name: str) -> bool:
        if name in self._brought:
            self._remove(maildrop, name)
            return False
        with self._as_owner():
            fd, one = maildrop.open(name)
        try:
            if 0 < self._limit < one.size:
                raise Malformed("too large")
            submission, content = read(fd, one, may_speak_for_others=one.uid in (0, self._owner[0]))
            said = submit(self._queue, whole(submission, content))
        except Malformed as error:
            self._set_aside(maildrop, one, f"malformed: {error}")
            return False
        finally:
            os.close(fd)
        if said.verdict == ACCEPTED:
            self._remove(maildrop, name)
            return True
        if said.verdict in (DENIED, REFUSED):
            self._set_aside(maildrop, one, said.text)
        else:
            self._say(Warn(f"maildrop/{name}: uid={one.uid}: {said.text} -- it stays there for a while"))
            self._wait[name] = self._now() + _RETRY
        return False

    def _remove(self, maildrop: Maildrop, name: str) -> None:
        self._brought.add(name)
        with self._as_owner(), contextlib.suppress(FileNotFoundError):
            maildrop.remove(name)
        self._brought.discard(name)

    def _set_aside(self, maildrop: Maildrop, one: Dropped, why: str) -> None:
        with self._as_owner():
            kept = maildrop.set_aside(one.name)
        self._say(Warn(f"maildrop/{one.name}: uid={one.uid}: not accepted: {why}; it is kept as {kept}"))

    def _sweep(self, maildrop: Maildrop, now: float) -> bool:
        """False: there is more to remove. Anybody may leave a million names, so neither time nor lines are spent on
        all of them at once."""
        removed = stuck = 0
        for name in maildrop.leftovers(now - _OLD):
            try:
                maildrop.remove(name)
                removed += 1
                if removed <= _TOLD:
                    self._say(Notice(f"maildrop/{name}: was never finished: removed"))
            except OSError as error:
                stuck += 1
                if stuck <= _TOLD:
                    self._say(Warn(f"maildrop/{name}: {error.strerror or error}"))
            if removed >= _REMOVED:
                break
        if removed > _TOLD or stuck > _TOLD:
            self._say(Warn(f"maildrop: {removed} names that were never finished removed, {stuck} could not be removed"))
        return removed < _REMOVED

    def _complain(self, text: str) -> None:
        if text != self._fault:
            self._fault = text
            self._say(Warn(f"local mail waits: {text}"))


def read(fd: int, one: Dropped, *, may_speak_for_others: bool) -> tuple[Submission, Iterator[bytes]]:
    """What is in a maildrop file, as its owner's; import-queue leaves mail of others there, and says so. Raises
    Malformed, OSError; so does the content, when it is read."""
    reader = Reader()
    events = _events(fd, reader)
    first = next(events, None)
    if not isinstance(first, Submission):
        raise Malformed("it has no envelope")
    submission = first
    if not (may_speak_for_others and first.user >= 0):
        submission = structs.replace(first, user=one.uid, written=one.when)

    def content() -> Iterator[bytes]:
        for event in events:
            if isinstance(event, bytes):
                yield event
        if not reader.ended:
            raise Malformed("it has no end")

    return submission, content()


def _events(fd: int, reader: Reader) -> Iterator[Submission | bytes | End | Line]:
    while data := os.read(fd, _READ):
        yield from reader.feed(data)


class Porter:
    """The process, seen from the supervisor. Each of its steps may be its last; but one that is killed between two of
    them brings a message twice, so it is asked to end first."""

    def __init__(self) -> None:
        self._pid = 0
        self._after = 0.0
        self._end_by = float("inf")

    def look_after(self, now: float, begin: Callable[[], int]) -> None:
        """See that it lives; `begin` forks it and gives its pid. `now` is monotonic. Raises OSError."""
        if self.alive:
            if now >= self._end_by:
                self._signal(signal.SIGKILL)
        elif now >= self._after:
            self._after = now + _AGAIN
            self._pid = begin()

    @property
    def alive(self) -> bool:
        if self._pid:
            with contextlib.suppress(ChildProcessError):
                if os.waitpid(self._pid, os.WNOHANG)[0] == 0:
                    return True
            self._pid = 0
            self._end_by = float("inf")
        return False

    def end(self, now: float) -> None:
        """It is to end when it has brought what it has in hand; `look_after` makes one of the new configuration."""
        if self.alive and self._end_by == float("inf"):
            self._signal(signal.SIGTERM)
            self._end_by = now + _LAST
        self._after = 0.0

    def kill(self) -> None:
        if self.alive:
            self._signal(signal.SIGKILL)
            os.waitpid(self._pid, 0)
            self._pid = 0

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, number)


def work(settings: Settings, log_to: str, log_fd: int, parent: int) -> int:
    """The life of the process: it ends with its parent, or when it is asked to, and finishes what it has in hand."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    os.umask(0o077)
    log = open_log(settings, log_to, log_fd, None)
    service = settings.find_service("pickup")
    name = settings.text("syslog_name", "" if service is None else service.key)
    pickup = Pickup(
        settings.text("queue_directory"),
        settings.number("message_size_limit"),
        identity(settings),
        lambda event: log.emit("pickup", event, name),
        leave=lambda: os.getppid() != parent or signal.SIGTERM in signal.sigpending(),
    )
    while os.getppid() == parent:
        began = time.monotonic()
        pickup.round()
        # Whoever fills the directory gets no more than half of a processor for it.
        if signal.sigtimedwait({signal.SIGTERM}, max(EVERY, time.monotonic() - began)) is not None:
            break
    return 0
