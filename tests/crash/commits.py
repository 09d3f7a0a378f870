"""Recording what SQLite writes: it opens its files itself, so each commit is a snapshot of them."""

from postwarden.spool.ledgerwriter import LedgerWriter
from postwarden.spool.queuedb import Operation
from postwarden.testing.spool import RecordingFiles

_DATABASE = ("postwarden/queue.db", "postwarden/queue.db-wal")


def record_commits(files: RecordingFiles, writer: LedgerWriter) -> None:
    """From now on, and once at the beginning."""
    apply, forget = writer._db.apply, writer._db.forget

    def recorded(operations: list[Operation]) -> list[str]:
        unused = apply(operations)
        files.snapshot(*_DATABASE)
        return unused

    def forgotten(segments: list[int]) -> None:
        forget(segments)
        files.snapshot(*_DATABASE)

    writer._db.apply = recorded  # type: ignore[method-assign, assignment]
    writer._db.forget = forgotten  # type: ignore[method-assign, assignment]
    files.snapshot(*_DATABASE)
