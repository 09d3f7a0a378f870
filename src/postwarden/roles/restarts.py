"""When a role that died is started again: pure, the time comes in."""

_FIRST = 1.0
_LONGEST = 60.0
_HEALTHY = 10.0


class Restarts:
    """The first death of a role that had lived `_HEALTHY` seconds is answered at once. One that dies young waits, twice
    as long each time, so that a role that can't live does not eat the machine."""

    def __init__(self) -> None:
        self._delays: dict[str, float] = {}

    def after_death(self, role: str, lived: float) -> float:
        """Seconds to wait before `role` is started again, given how many seconds it had lived."""
        if lived >= _HEALTHY:
            self._delays.pop(role, None)
            return 0.0
        before = self._delays.get(role)
        delay = 0.0 if before is None else min(max(before * 2, _FIRST), _LONGEST)
        self._delays[role] = delay
        return delay
