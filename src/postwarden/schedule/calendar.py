"""The time for due times, and whether somebody has set the calendar."""

from postwarden.net.clock import Clock

_JUMP = 60.0
"""Seconds that are no drift and no slewing."""


class Calendar:
    """To be asked once a second at least, or a jump is met late."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._wall = self._latest = clock.now()
        self._at = clock.monotonic()
        self.jumps = 0
        """How often the calendar was set, or the machine slept."""

    def time(self) -> float:
        """Seconds since the epoch: goes on as before when the calendar is set back."""
        wall, at = self._clock.now(), self._clock.monotonic()
        passed = at - self._at
        if abs(wall - self._wall - passed) > _JUMP:
            self.jumps += 1
        self._wall, self._at = wall, at
        self._latest = max(wall, self._latest + passed)
        return self._latest

    def age(self, arrival: float) -> float:
        """Seconds since then. Never too high for what came after the calendar was set back."""
        return max(self._clock.now() - arrival, 0.0)
