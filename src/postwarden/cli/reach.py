"""The queue for the tools: through the courier while it runs, else the files themselves."""

import time
from collections.abc import Callable

from postwarden.cli.tool import Voice
from postwarden.config.settings import Settings
from postwarden.ipc.queue_client import Down, QueueClient
from postwarden.roles import lock
from postwarden.spool.offline import InUse, OfflineQueue

_PATIENCE = 5.0
"""Seconds for a courier that has the lock and does not listen: it is starting or ending."""
_PAUSE = 0.05


def connect(settings: Settings) -> QueueClient:
    """A courier that is started again while its master runs is waited for. Raises Down, PermissionError."""
    directory = settings.text("queue_directory")
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            return QueueClient(directory)
        except Down:
            if time.monotonic() > deadline or not lock.running(directory):
                raise
        time.sleep(_PAUSE)


def reach(settings: Settings, voice: Voice, down: Callable[[Exception], None]) -> QueueClient | OfflineQueue | None:
    """`down` is called with the reason before the files are opened; it may raise. None: there is no queue yet.
    Raises InUse where a courier neither listens nor ends; OSError, sqlite3.Error."""
    directory = settings.text("queue_directory")
    deadline = time.monotonic() + _PATIENCE
    told = False
    while True:
        try:
            # Who took the files while a courier is started again would keep it from starting.
            return connect(settings)
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
