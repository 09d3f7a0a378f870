"""The queue of a gateway that does not run, for the tools."""

from collections.abc import Collection, Iterator, Sequence
from types import TracebackType

from postwarden.mail.queue import Change, Content, Entry, Key, Listed, NewMessage


class InUse(Exception):
    """A courier has the queue. `pid` is what its lock says, 0 if nothing."""

    def __init__(self, path: str, pid: int) -> None:
        super().__init__(f"{path} is locked by process {pid}" if pid else f"{path} is locked")
        self.pid = pid


class OfflineQueue:
    """The courier's side of the spool, driven by hand: each call returns when what it asked for is durable. A context
    manager. Calls by root act as the owner of the queue, and only the calls."""

    def __init__(self, queue_directory: str) -> None:
        """Take the courier's lock and open the queue. Raises InUse; FileNotFoundError when there is no queue yet;
        OSError and sqlite3.Error when it can't be opened."""
        raise NotImplementedError

    def __enter__(self) -> "OfflineQueue":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def listing(self) -> Iterator[Listed]:
        """All that is stored, page by page, each once."""
        raise NotImplementedError

    def find(self, queue_ids: Collection[str]) -> list[Entry]:
        """As `Ledger.find`. What is neither settled nor put back stays as it was, but is not found a second time."""
        raise NotImplementedError

    def pick(self, keys: Collection[Key]) -> list[Entry]:
        """As `Ledger.pick`."""
        raise NotImplementedError

    def put_back(self, entry: Entry) -> None:
        raise NotImplementedError

    def peek(self, queue_id: str) -> tuple[Listed, Content] | None:
        """As `Ledger.peek`. Raises Damaged, OSError."""
        raise NotImplementedError

    def content(self, key: Key) -> Content:
        """Of a message that was found. Raises Damaged, OSError."""
        raise NotImplementedError

    def settle(self, changes: Sequence[Change]) -> None:
        """Make them durable. Raises OSError when the disk refuses; then some of them may be."""
        raise NotImplementedError

    def import_(self, messages: Sequence[NewMessage]) -> None:
        """As `Ledger.import_`. Raises OSError when the disk refuses; then nothing was stored."""
        raise NotImplementedError

    def new_queue_id(self) -> str:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError
