"""The commands' end of the queue's control socket: blocking, one question at a time.

with QueueClient(queue_directory) as queue:
    for listed in queue.listing(): ...
"""

import os
import socket
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from types import TracebackType
from typing import TypeVar

import msgspec

from postwarden.ipc.channel import BlockingChannel, ChannelError
from postwarden.ipc.local_socket import connect
from postwarden.ipc.queue_records import (
    ABSENT,
    BAD,
    DENIED,
    PAGE,
    UNSERVED,
    Act,
    Acted,
    Answer,
    AskFigures,
    AskHistory,
    AskRefused,
    Done,
    Fetch,
    Fetched,
    Figures,
    FlushAll,
    FlushMessage,
    FlushSite,
    ListPage,
    Page,
    Question,
    Records,
    Refused,
    socket_path,
)
from postwarden.mail.queue import Listed, once

_TIMEOUT = 300.0
A = TypeVar("A")


class Down(Exception):
    """Nobody listens on the control socket, or it was closed in the middle: the text says which."""


class Denied(Exception):
    """This user may not; the text is the courier's."""


class Unserved(Exception):
    """fast_flush_domains does not have that site."""


class Bad(Exception):
    """No queue id, no site name, or a question that the courier does not understand."""


_REFUSALS: dict[str, type[Exception]] = {DENIED: Denied, UNSERVED: Unserved, BAD: Bad}


class QueueClient:
    """Raises Down from any call, and Denied where the courier knows who asks and does not want to answer."""

    def __init__(self, queue_directory: str, *, timeout: float = _TIMEOUT) -> None:
        """Raises Down when the mail system does not run, PermissionError where the socket can't be reached."""
        self._path = socket_path(queue_directory)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.settimeout(timeout)
        try:
            connect(sock, self._path)
            self._channel: BlockingChannel[Answer] = BlockingChannel(sock, Answer)
            sock.settimeout(timeout)
        except PermissionError:
            sock.close()
            raise
        except OSError as error:
            sock.close()
            raise Down(f"{self._path}: {error.strerror or error}") from error

    def __enter__(self) -> "QueueClient":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._channel.close()

    def listing(self) -> Iterator[Listed]:
        """Every message in the queue, read page by page as the iterator is driven, each once."""
        return once(self._pages())

    def _pages(self) -> Iterator[Listed]:
        after = None
        while True:
            page, _ = self._ask(ListPage(after), Page)
            yield from page.messages
            after = page.after
            if after is None:
                return

    def flush(self) -> None:
        """Try all deferred mail now."""
        self._ask(FlushAll(), Done)

    def flush_site(self, site: str) -> None:
        """Try the deferred mail for this site now. Raises Unserved, Bad."""
        self._ask(FlushSite(site), Done)

    def flush_message(self, queue_id: str) -> None:
        """Try this deferred message now; there need be none such. Raises Bad."""
        self._ask(FlushMessage(queue_id), Done)

    def act(self, operation: str, queue_ids: Iterable[str], queues: Sequence[str] = ()) -> Iterator[str]:
        """Do it (`ipc.queue_records.OPERATIONS`) with those of the messages that exist (in one of `queues`, where any
        is named); the ids of those it was done with, durable, as they come. Ids are read as the iterator is driven."""
        source = iter(queue_ids)
        while some := tuple(islice(source, PAGE)):
            acted, _ = self._ask(Act(operation, some, tuple(queues)), Acted)
            yield from acted.queue_ids

    def act_on_all(self, operation: str, queues: Sequence[str] = ()) -> Iterator[str]:
        """The same with every message (in one of `queues`) that is there when the iterator is first driven."""
        after = None
        while True:
            acted, _ = self._ask(Act(operation, (), tuple(queues), after), Acted)
            yield from acted.queue_ids
            after = acted.after
            if after is None:
                return

    def fetch(self, queue_id: str) -> tuple[Fetched, int, int] | None:
        """A message and two descriptors, of its head and of its body, which the caller closes. None: there is no such
        message."""
        try:
            fetched, (head, body) = self._ask(Fetch(queue_id), Fetched, fds=2)
        except _Absent:
            return None
        return fetched, head, body

    def figures(self) -> Figures:
        return self._ask(AskFigures(), Figures)[0]

    def decisions(self, question: AskHistory | AskRefused) -> Iterator[bytes]:
        """The records that answer it, encoded, read page by page as the iterator is driven. Raises Bad."""
        while True:
            answer, _ = self._ask(question, Records)
            yield from answer.records
            if answer.after is None:
                return
            question = msgspec.structs.replace(question, after=answer.after)

    def _ask(self, question: Question, kind: type[A], *, fds: int = 0) -> tuple[A, list[int]]:
        try:
            self._channel.send(question)
            while not (answers := self._channel.receive()):
                if answers is None:
                    raise Down(f"{self._path}: the mail system has closed the connection")
        except (OSError, ChannelError) as error:
            raise Down(f"{self._path}: {error}") from error
        answer, descriptors = answers[0]
        if isinstance(answer, kind) and len(descriptors) == fds:
            return answer, descriptors
        for fd in descriptors:
            os.close(fd)
        if not isinstance(answer, Refused):
            raise Down(f"{self._path}: an answer to another question: {type(answer).__name__}")
        if answer.why == ABSENT:
            raise _Absent
        raise _REFUSALS.get(answer.why, Bad)(answer.text)


class _Absent(Exception):
    pass
