"""Generations of receivers and carriers, as a reload makes them: pure, the time comes in.

The latest generation takes over once all of its processes are at work. Until then the one before serves, and a process
of it that dies is replaced by one with its own configuration: a new configuration under which no receiver comes to
life must not take the old ones along, one after the other.
"""

from msgspec import Struct

from postwarden.config.settings import Settings
from postwarden.ipc.records import Listener
from postwarden.roles.handover import Handover

KEPT = 3
"""Generations that end in their own time; older ones say 421."""
_PATIENCE = 10.0
"""Seconds that a reload waits for the one before it to take over."""


class Plan(Struct, frozen=True):
    """What the processes of one generation are told."""

    number: int
    settings: Settings
    listeners: tuple[Listener, ...]
    handover: Handover


class Generations:
    def __init__(self, first: Plan) -> None:
        self.latest = self.serving = first
        self._taken_over = False
        self._began = float("-inf")
        self._pending = False

    def begin(self, plan: Plan, now: float) -> None:
        """A reload: the processes of `plan` are about to be started."""
        self.latest = plan
        self._taken_over = self._pending = False
        self._began = now

    def took_over(self) -> bool:
        """All of the latest are at work. True: a reload was asked for meanwhile, and is due now."""
        self.serving = self.latest
        self._taken_over = True
        pending, self._pending = self._pending, False
        return pending

    def plan_of(self, number: int) -> Plan | None:
        """By what a process of that generation is replaced when it dies; None: it is not missed."""
        if number == self.latest.number:
            return self.latest
        return self.serving if number == self.serving.number else None

    def wait(self, now: float) -> float | None:
        """A reload is asked for: seconds until it may be made, 0 at once; None: another one waits already.

        Each starts two processes a core, so that signals that come faster than those would fill the machine.
        """
        left = self._began + _PATIENCE - now
        if self._taken_over or left <= 0:
            return 0.0
        if self._pending:
            return None
        self._pending = True
        return left

    def due(self) -> bool:
        """The wait is over: whether the reload has not been made meanwhile."""
        pending, self._pending = self._pending, False
        return pending
