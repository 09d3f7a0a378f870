"""The store of decisions of one role: opened if main.cf wants it, and kept within its bounds."""

import os
from collections.abc import Callable

from postwarden.config.settings import Settings
from postwarden.config.view import view
from postwarden.net.clock import Clock
from postwarden.spool.layout import spool_directory
from postwarden.trace.files import directory, sweep
from postwarden.trace.params import TraceParams
from postwarden.trace.recorder import Recorder

_SWEEP = 60.0


def open_recorder(settings: Settings, name: str, clock: Clock, warn: Callable[[str], None]) -> Recorder | None:
    """`name`: of the role and its instance, as in `receiver1`. None: nothing is to be kept."""
    params = view(TraceParams, settings)
    if not params.postwarden_trace:
        return None
    return Recorder(directory(spool_directory(params.queue_directory)), name, clock, warn)


class Bounds:
    """Removes what is too old or too much, once a minute. One process does it: the courier."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._clock = clock
        self.configure(settings)
        self._sweep()

    def configure(self, settings: Settings) -> None:
        self._params = view(TraceParams, settings)
        self._path = directory(spool_directory(self._params.queue_directory))

    def _sweep(self) -> None:
        params = self._params
        if os.path.isdir(self._path):
            sweep(
                self._path,
                self._clock.now(),
                seconds=params.postwarden_trace_lifetime,
                size=params.postwarden_trace_size_limit,
            )
        self._clock.call_later(_SWEEP, self._sweep)
