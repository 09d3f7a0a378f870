"""Messages by queue id, as queue files: from the courier, from the spool of a gateway that is down, or from what a
Postfix left in the same queue directory."""

import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, cast

import msgspec

from postwarden.cli import dropped
from postwarden.cli.reach import reach
from postwarden.cli.tool import Voice, configuration, may_open_directly
from postwarden.config.values import split
from postwarden.ipc.queue_client import Bad, Denied, Down, QueueClient
from postwarden.mail.queue import Content, Damaged, Listed
from postwarden.spool.offline import InUse, OfflineQueue
from postwarden.spool.postfix_directory import hashed, is_queue_id
from postwarden.spool.postfix_writer import Stored, Style, write
from postwarden.wire.submission import Malformed

_QUEUES = ("maildrop", "incoming", "active", "deferred", "hold", "saved")
_FAULTS = (Denied, Down, InUse, Bad, Damaged, Malformed, OSError, sqlite3.Error, msgspec.MsgspecError)
_MEMORY = 8 << 20
_PIECE = 1 << 18


class BadQueueId(Exception):
    """It is none."""


class NotThere(Exception):
    """The message can't be had; the text is the system's."""


class Queued:
    def __init__(self, program: str, directory: str) -> None:
        """`directory` of the configuration; empty for the usual one. Raises ConfigError, Refusal."""
        self._voice = Voice(program)
        self._settings = configuration(directory)
        self._directory = self._settings.text("queue_directory")
        self._queue: QueueClient | OfflineQueue | None = None
        self._reached = False

    def close(self) -> None:
        if self._queue is not None:
            self._queue.close()

    @contextmanager
    def opened(self, queue_id: str) -> Iterator[tuple[str, BinaryIO]]:
        """Its name below the queue directory, and its queue file. Raises BadQueueId, NotThere."""
        if not is_queue_id(queue_id):
            raise BadQueueId(queue_id)
        with tempfile.SpooledTemporaryFile(_MEMORY) as copy:
            file = cast(BinaryIO, copy)
            try:
                found = self._ours(queue_id)
                name = self._write_dropped(queue_id, file) if found is None else self._write(*found, file)
            except _FAULTS as error:
                refused = isinstance(error, Denied | PermissionError)
                raise NotThere("Permission denied" if refused else str(error)) from error
            if name is not None:
                yield name, file
                return
        path, fd = self._theirs(queue_id)
        with os.fdopen(fd, "rb") as file:
            yield path, file

    def _ours(self, queue_id: str) -> tuple[Listed, Content] | None:
        if not self._reached:
            self._queue = reach(self._settings, self._voice, self._down)
            self._reached = True
        if isinstance(self._queue, QueueClient):
            fetched = self._queue.fetch(queue_id)
            if fetched is None:
                return None
            answer, head_fd, body_fd = fetched
            with open(head_fd, "rb", buffering=0) as head:
                text = head.readall()
            return answer.listed, Content(text, None, body_fd, answer.body_offset, answer.body_size)
        return None if self._queue is None else self._queue.peek(queue_id)

    def _down(self, reason: Exception) -> None:
        """Who may not read the files is told so, whoever has them."""
        if not may_open_directly(self._settings):
            raise PermissionError

    def _write(self, listed: Listed, content: Content, file: BinaryIO) -> str:
        try:
            envelope, state = listed.envelope(), listed.state()
            stored = Stored(envelope, frozenset(state.open), state.warned, state.told)
            write(file, stored, content.head, _body(content), self._style())
        finally:
            if content.fd >= 0:
                os.close(content.fd)
        return self._path(listed.queue(state), envelope.queue_id)

    def _write_dropped(self, queue_id: str, file: BinaryIO) -> str | None:
        found = dropped.opened(self._settings, queue_id)
        if found is None:
            return None
        message, content = found
        stored = Stored(message.envelope, frozenset(range(len(message.envelope.recipients))))
        write(file, stored, b"", content, Style(0, self._style().line_length_limit, False))  # what it was given
        return self._path(dropped.QUEUE, queue_id)

    def _style(self) -> Style:
        settings = self._settings
        return Style(
            settings.number("delay_warning_time"),
            settings.number("line_length_limit"),
            bool(settings.value("enable_original_recipient")),
        )

    def _path(self, queue: str, queue_id: str) -> str:
        depth = 0
        if queue in split(self._settings.text("hash_queue_names")):
            depth = self._settings.number("hash_queue_depth")
        return hashed(queue, queue_id, depth)

    def _theirs(self, queue_id: str) -> tuple[str, int]:
        reason = "No such file or directory"
        for queue in _QUEUES:
            path = self._path(queue, queue_id)
            try:
                return path, os.open(os.path.join(self._directory, path), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            except OSError as error:
                reason = error.strerror or str(error)
        raise NotThere(reason)


def _body(content: Content) -> Iterator[bytes]:
    if content.body is not None:
        yield content.body
        return
    at, end = content.offset, content.offset + content.size
    while at < end and (piece := os.pread(content.fd, min(_PIECE, end - at), at)):
        yield piece
        at += len(piece)
