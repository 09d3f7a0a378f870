"""Queue ids as Postfix prints them (postconf(5), enable_long_queue_ids).

Long: seconds in base 52 (6 digits), microseconds in base 52 (4 digits), "z", a number in base 51. Short: microseconds
in 5 hexadecimal digits, a number in hexadecimal. The digits have no vowels, so that no id spells a word, and "z" is
no digit of base 51. Postfix takes the inode as the number, which a record in a segment has not. Ours is made of the
process: in a long id the instance and 16 random bits of this process, in a short one the seconds (modulo 48 days) and
the instance. No two living processes share an instance, and within one process no two ids share a microsecond.
"""

import secrets
from collections.abc import Callable

_DIGITS = "0123456789BCDFGHJKLMNPQRSTVWXYZbcdfghjklmnpqrstvwxyz"
_PAIRS = tuple(a + b for a in _DIGITS for b in _DIGITS)
_SHORT_SECONDS = (1 << 22) - 1
COURIER = 1023
"""Instance number of the courier, for the messages it makes; receivers are numbered below it."""


def number(value: int, base: int, width: int = 1) -> str:
    """`value` in base 51 or 52, at least `width` digits."""
    digits = []
    while value:
        value, digit = divmod(value, base)
        digits.append(_DIGITS[digit])
    return "".join(reversed(digits)).rjust(width, "0")


class QueueIds:
    """Ids of one process. `now` tells epoch seconds; a clock that stands still or goes back makes no id twice."""

    def __init__(self, now: Callable[[], float], instance: int, *, long: bool) -> None:
        self._now = now
        self._long = long
        self._last = 0
        self._instance = instance
        self._second = -1
        self._prefix = ""
        self._suffix = "z" + number(instance << 16 | secrets.randbits(16), 51)

    def new(self) -> str:
        micros = int(self._now() * 1e6)
        if micros <= self._last:
            micros = self._last + 1
        self._last = micros
        second, micros = divmod(micros, 1_000_000)
        if second != self._second:
            self._second = second
            if self._long:
                self._prefix = number(second, 52, 6)
            else:
                self._suffix = f"{(second & _SHORT_SECONDS) << 10 | self._instance:X}"
        if self._long:
            high, low = divmod(micros, 2704)
            return self._prefix + _PAIRS[high] + _PAIRS[low] + self._suffix
        return f"{micros:05X}{self._suffix}"
