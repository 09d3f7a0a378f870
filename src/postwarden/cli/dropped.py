"""Mail of local users that waits for the mail system to run: Postfix's maildrop queue, for who may read it."""

import contextlib
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing

from postwarden.cli import listing
from postwarden.cli.acts import Acts
from postwarden.cli.listing import Message, Unreadable
from postwarden.config.settings import Settings
from postwarden.ipc.queue_records import DELETE
from postwarden.mail.envelope import Envelope
from postwarden.mail.queue import State
from postwarden.spool.maildrop import Dropped, Maildrop, maildrop_directory
from postwarden.wire.submission import Malformed, Reader, Submission

QUEUE = "maildrop"
_BLOCK = 64 << 10
_END = re.compile("|".join(f"[0-9a-f]{{{width}}}" for width in listing.WIDTHS))


def waiting(settings: Settings) -> Iterator[Message | Unreadable]:
    """What is in the directory; nothing where this user can't see it."""
    maildrop = _open(settings)
    if maildrop is None:
        return
    with closing(maildrop):
        for dropped in maildrop.complete():
            try:
                fd, _ = maildrop.open(dropped.name)
                with open(fd, "rb", buffering=0) as stream:
                    yield _message(dropped, _submission(stream.read))
            except FileNotFoundError:
                continue
            except (OSError, Malformed) as error:
                yield Unreadable(dropped.name, str(error))


def opened(settings: Settings, name: str) -> tuple[Message, Iterator[bytes]] | None:
    """One message, by its name or what a listing shows of it, and its content in pieces with CRLF line ends; None where
    it is not, or this user can't see it.
    Raises OSError and Malformed, the iterator too."""
    maildrop = _open(settings)
    if maildrop is None:
        return None
    with closing(maildrop):
        file = _Names(maildrop).of(name)
        if file is None:
            return None
        try:
            fd, dropped = maildrop.open(file)
        except FileNotFoundError:
            return None
    events = _events(fd)
    submission = next(events, None)
    if not isinstance(submission, Submission):
        raise Malformed("no envelope")
    return _message(dropped, submission), _with_crlf(event for event in events if isinstance(event, bytes))


def _events(fd: int) -> Iterator[object]:
    reader = Reader()
    with open(fd, "rb", buffering=0) as stream:
        while data := stream.read(_BLOCK):
            yield from reader.feed(data)


def _with_crlf(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Programs end their lines as they like."""
    kept = b""
    for piece in pieces:
        piece = kept + piece
        kept = b"\r" if piece.endswith(b"\r") else b""
        yield piece.removesuffix(b"\r").replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    yield kept


class WithMaildrop:
    """A queue with its maildrop, from which mail can be deleted, and nothing else."""

    def __init__(self, acts: Acts, settings: Settings) -> None:
        self._acts = acts
        self._settings = settings

    def act(self, operation: str, queue_ids: Iterable[str], queues: Sequence[str] = ()) -> Iterator[str]:
        names = list(queue_ids)
        if _concerned(operation, queues):
            found = self._delete(names)
            names = [name for name in names if name not in found]
            yield from found
        if others := _others(queues):
            yield from self._acts.act(operation, names, () if not queues else others)

    def act_on_all(self, operation: str, queues: Sequence[str] = ()) -> Iterator[str]:
        if _concerned(operation, queues):
            yield from self._delete(None)
        if others := _others(queues):
            yield from self._acts.act_on_all(operation, () if not queues else others)

    def _delete(self, names: Iterable[str] | None) -> set[str]:
        """Those that were there; None: all of them."""
        maildrop = _open(self._settings)
        gone: set[str] = set()
        if maildrop is None:
            return gone
        with closing(maildrop):
            files = _Names(maildrop)
            for name in [one.name for one in maildrop.complete()] if names is None else names:
                file = files.of(name)
                if file is None:
                    continue
                # One that is taken up at this moment is no longer here, and not deleted.
                with contextlib.suppress(FileNotFoundError):
                    maildrop.remove(file)
                    gone.add(name)
        return gone


class _Names:
    """Files by what a user types: the name, or the end of it that a listing shows (`listing.shown`)."""

    def __init__(self, maildrop: Maildrop) -> None:
        self._maildrop = maildrop
        self._by_end: dict[str, list[str]] | None = None

    def of(self, typed: str) -> str | None:
        """None: there is none, or more than one."""
        if self._maildrop.has(typed):
            return typed
        if not _END.fullmatch(typed):
            return None
        if self._by_end is None:
            self._by_end = {}
            for one in self._maildrop.complete():
                for width in listing.WIDTHS:
                    self._by_end.setdefault(one.name[-width:], []).append(one.name)
        found = self._by_end.get(typed, [])
        return found[0] if len(found) == 1 else None


def _concerned(operation: str, queues: Sequence[str]) -> bool:
    return operation == DELETE and (not queues or QUEUE in queues)


def _others(queues: Sequence[str]) -> list[str]:
    """The courier's queues among these; not empty where all are meant."""
    return [name for name in queues or ("all",) if name != QUEUE]


def _open(settings: Settings) -> Maildrop | None:
    directory = maildrop_directory(settings.text("queue_directory"))
    try:
        return Maildrop(directory) if os.access(directory, os.R_OK, effective_ids=True) else None
    except OSError:
        return None


def _submission(read: Callable[[int], bytes | None]) -> Submission:
    """What it says before its content. Raises Malformed, OSError."""
    reader = Reader()
    while data := read(_BLOCK):
        for event in reader.feed(data):
            if isinstance(event, Submission):
                return event
    raise Malformed("no envelope")


def _message(dropped: Dropped, submission: Submission) -> Message:
    recipients = submission.recipients
    envelope = Envelope(dropped.name, dropped.when, submission.sender, recipients, dropped.size)
    return Message(QUEUE, envelope, State(tuple(range(len(recipients)))), 0.0)
