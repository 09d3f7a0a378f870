"""The queue for the tools: through the courier while it runs, else the files themselves."""

import time
from collections.abc import Callable

from postwarden.cli.tool import Voice
from postwarden.config.settings import Settings
from postwarden.ipc.queue_client import Down, QueueClient
from postwarden.spool.offline import InUse, OfflineQueue

_PATIENCE = 5.0
"""Seconds for a courier that has the lock and does not listen: it is starting or ending."""
_PAUSE = 0.05


def reach(settings: Settings, voice: Voice, down: Callable[[Exception], None]) -> QueueClient | OfflineQueue | None:
    """`down` is called with the reason before the files are opened; it may raise. None: there is no queue yet.
    Raises InUse where a courier neither listens nor ends; OSError, sqlite3.Error."""
    directory = settings.text("queue_directory")
    deadline = time.monotonic() + _PATIENCE
    told = False
    while True:
        try:
            return QueueClient(directory)
        except (Down, PermissionError) as error:
            if not told:
                down(error)
                told = True
        try:
            return OfflineQueue(
                directory, on_event=voice.say, long_queue_ids=bool(settings.value("enable_long_queue_ids"))
            )
        except FileNotFoundError:
            return None
        except InUse:
            if time.monotonic() > deadline:
                raise
            time.sleep(_PAUSE)
