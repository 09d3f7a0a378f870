"""Concurrency feedback, as Postfix's SCHEDULER_README describes it: how a destination's window grows and shrinks."""

import math
import re

from msgspec import Struct

_FORM = re.compile(r"([0-9.]+)(?:\s*/\s*(concurrency|sqrt_concurrency))?\Z")

_ROUNDING = 1e-9


class FeedbackError(ValueError):
    """Not a feedback value; the text says what is wanted."""


class Feedback(Struct, frozen=True):
    """`number`, `number/concurrency` or `number/sqrt_concurrency`."""

    base: float
    divisor: str = ""

    def at(self, window: int) -> float:
        """What one delivery counts at this concurrency (at least 1)."""
        if not self.divisor:
            return self.base
        return self.base / (window if self.divisor == "concurrency" else math.sqrt(window))


def parse_feedback(text: str) -> Feedback:
    """Raises FeedbackError for anything but a number from 0 to 1, perhaps divided by one of the two words."""
    match = _FORM.match(text.strip())
    try:
        base = float(match.group(1)) if match else -1.0
    except ValueError:
        base = -1.0
    if match is None or not 0.0 <= base <= 1.0:
        raise FeedbackError(f"{text!r} is no number from 0 to 1, perhaps with /concurrency or /sqrt_concurrency")
    return Feedback(base, match.group(2) or "")


class Window:
    """How many deliveries one destination may have at a time; 0 while it is suspended.

    Growth waits for the end of a run of successes and shrinking comes at the begin of a run of failures: both sums
    have a hysteresis of 1. A destination is dead after `cohorts` windows full of failures.
    """

    __slots__ = ("_cohorts", "_failed", "_failure", "_success", "size")

    def __init__(self, initial: int) -> None:
        self.size = initial
        self._success = 0.0
        self._failure = 0.0
        self._failed = 0.0

    def succeeded(self, feedback: Feedback, limit: int, busy: int, initial: int) -> None:
        """A delivery reached the destination. `limit` 0: none. Growth keeps within `initial` of what is really used:
        else later failures would take long to show."""
        self._failed = 0.0
        if (limit and self.size >= limit) or self.size >= busy + initial:
            return
        step = feedback.at(self.size)
        self._success += step
        while self._success >= 1.0 - _ROUNDING:
            self.size += 1
            self._success -= 1.0
            self._failure = 0.0
        if limit and self.size > limit:
            self.size = limit

    def failed(self, feedback: Feedback, cohorts: int) -> bool:
        """No connection or no greeting. True when the destination is now dead. `cohorts` 0: it never is."""
        self._failed += 1.0 / self.size
        if cohorts and self._failed >= cohorts:
            self.size = 0
            return True
        step = feedback.at(self.size)
        self._failure -= step
        while self._failure < -_ROUNDING:
            self.size -= 1
            self._failure += 1.0
            self._success = 0.0
        self.size = max(self.size, 1)
        return False

    def revive(self, initial: int) -> None:
        self.size = initial
        self._success = self._failure = self._failed = 0.0
