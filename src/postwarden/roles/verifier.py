"""Questions of sessions about addresses, put to the courier, who has probes made and remembers what came of them."""

from collections.abc import Callable

from postwarden.ipc.records import AddressAsked, AddressKnown
from postwarden.mail.verified import BOUNCE, DEFER, OK, TODO, UNASKED, Verified
from postwarden.net.clock import Clock, Timer

_DEAF = 10.0
"""Seconds after which a courier that has said nothing at all, not even that it has begun, counts as absent."""
_ANSWERS = frozenset((OK, DEFER, BOUNCE, TODO))


class CourierVerifier:
    """A `policy.outside.AddressVerifier`. Sessions that ask for the same address at the same time share a question."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._open: dict[str, _Inquiry] = {}
        self._by_number: dict[int, _Inquiry] = {}
        self._number = 0
        self.tell: Callable[[AddressAsked], bool] = lambda asked: False
        """Sends it to the courier; False: there is none, or it can't be reached now."""

    def ask(self, address: str, seconds: float, done: Callable[[Verified], None]) -> None:
        inquiry = self._open.get(address)
        if inquiry is None:
            self._number += 1
            inquiry = _Inquiry(self._number, address)
            if not self.tell(AddressAsked(inquiry.number, address)):
                done(UNASKED)
                return
            self._open[address] = self._by_number[inquiry.number] = inquiry
        elif inquiry.begun is not None and seconds <= 0:
            done(inquiry.begun)
            return
        waiter = _Waiter(done, self._clock.monotonic() + seconds)
        inquiry.waiters.append(waiter)
        waiter.timer = self._clock.call_later(seconds or _DEAF, lambda: self._late(inquiry, waiter, seconds))

    def known(self, answer: AddressKnown) -> None:
        """From the courier. An answer that nobody waits for any more is nothing."""
        inquiry = self._by_number.get(answer.number)
        if inquiry is None:
            return
        verified = Verified(answer.status, answer.text) if answer.status in _ANSWERS else UNASKED
        if verified.status != TODO:
            self._over(inquiry, verified)
            return
        inquiry.begun = verified
        now = self._clock.monotonic()
        for waiter in [waiter for waiter in inquiry.waiters if waiter.until <= now]:
            self._end(inquiry, waiter, verified)

    def lost(self) -> None:
        """The courier is gone, and with it what it was asked."""
        for inquiry in list(self._open.values()):
            self._over(inquiry, UNASKED)

    @property
    def open(self) -> int:
        """Questions that are not answered yet."""
        return len(self._open)

    def _late(self, inquiry: "_Inquiry", waiter: "_Waiter", seconds: float) -> None:
        if inquiry.begun is not None:
            self._end(inquiry, waiter, inquiry.begun)
        elif 0 < seconds < _DEAF:
            rest = _DEAF - seconds
            waiter.timer = self._clock.call_later(rest, lambda: self._late(inquiry, waiter, _DEAF))
        else:
            self._end(inquiry, waiter, UNASKED)

    def _end(self, inquiry: "_Inquiry", waiter: "_Waiter", verified: Verified) -> None:
        inquiry.waiters.remove(waiter)
        if not inquiry.waiters:
            self._forget(inquiry)
        waiter.end(verified)

    def _over(self, inquiry: "_Inquiry", verified: Verified) -> None:
        self._forget(inquiry)
        for waiter in inquiry.waiters:
            waiter.end(verified)

    def _forget(self, inquiry: "_Inquiry") -> None:
        self._open.pop(inquiry.address, None)
        self._by_number.pop(inquiry.number, None)


class _Inquiry:
    __slots__ = ("address", "begun", "number", "waiters")

    def __init__(self, number: int, address: str) -> None:
        self.number = number
        self.address = address
        self.begun: Verified | None = None
        """A probe is under way: what to say while it is."""
        self.waiters: list[_Waiter] = []


class _Waiter:
    __slots__ = ("done", "timer", "until")

    def __init__(self, done: Callable[[Verified], None], until: float) -> None:
        self.done = done
        self.until = until
        """Of the clock's monotonic time: no longer than that for a probe."""
        self.timer: Timer | None = None

    def end(self, verified: Verified) -> None:
        if self.timer is not None:
            self.timer.cancel()
        self.done(verified)
