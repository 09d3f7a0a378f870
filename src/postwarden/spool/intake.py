"""Mail that comes from another queue, on its way into queue.db. A body too big for a row goes to a file first, synced
with its name; a crash before the row is committed leaves garbage, which the next courier removes (`shelf`)."""

import os
from zlib import crc32

from postwarden.mail.queue import Entry, NewMessage
from postwarden.spool.files import Files
from postwarden.spool.layout import incoming, new_body
from postwarden.spool.queueid import COURIER

_INLINE = 256 << 10


class Intake:
    def __init__(self, files: Files, spool: str) -> None:
        self._files = files
        self._directory = incoming(spool, COURIER)

    def store_body(self, new: NewMessage, row: int) -> tuple[Entry, bytes]:
        """The message as an entry of queue.db, and what of its body goes into the row. Raises OSError."""
        envelope = new.envelope
        entry = Entry(
            (0, row), envelope, new.open, len(new.head), len(new.body), new.attempts, new.due, dict(new.reasons),
            content=row, warned=new.warned, untold=dict(new.untold),
        )  # fmt: skip
        if len(new.body) <= _INLINE:
            return entry, new.body
        name = new_body()
        self._write(name, new.body)
        entry.body_file, entry.body_crc = f"{COURIER}/{name}", crc32(new.body)
        return entry, b""

    def _write(self, name: str, body: bytes) -> None:
        files = self._files
        files.make_directory(self._directory)
        fd = files.create(os.path.join(self._directory, name))
        try:
            files.write(fd, [body])
            files.sync(fd)
        finally:
            files.close(fd)
        files.sync_directory(self._directory)
