"""Answers whether mail to an address can be delivered: out of the cache, or by a probe, of which there is one for an
address however many ask for it."""

from collections.abc import Callable, Sequence
from functools import partial

from msgspec import Struct

from postwarden.mail.events import Event, Notice, printable
from postwarden.mail.verified import DEFER, IN_PROGRESS, OK, UNASKED, Verified
from postwarden.net.clock import Clock, Timer
from postwarden.verify.cache import Cache
from postwarden.verify.keeper import Background, Keeper
from postwarden.verify.params import VerifyParams
from postwarden.verify.place import place

Answer = Callable[[Verified], None]
_ASKERS = 1000
"""Who may wait for one address. Those past it are told to come again."""
_OPEN = 10_000
"""Addresses that may be waited for, those of the time before the file has been read among them."""
_LONGEST = 2000
"""Characters of an address, more than SMTP has room for. A receiver is not believed to keep to it."""
_BUSY = Verified(DEFER, "Too many address verification requests")


class Finding(Struct, frozen=True):
    """What came of a probe."""

    result: Verified
    lasting: bool = True
    """To be remembered: the address was judged. Else we are why there is no better answer."""
    others: Sequence[tuple[str, Verified]] = ()
    """Of the addresses that the address became."""


Probe = Callable[[str, Callable[[Finding], None]], None]
"""Find out about an address, then call the second, once."""


class Verifier:
    def __init__(
        self, params: VerifyParams, probe: Probe, clock: Clock, background: Background, say: Callable[[Event], None]
    ) -> None:
        self._cache = Cache(params)
        self._probe = probe
        self._clock = clock
        self._say = say
        self._background = background
        self._waiting: dict[str, list[Answer]] = {}
        """By the address that is being probed, or will be when the file has been read."""
        self._keeper: Keeper | None = None
        self._open = False
        self._name = self._problem = ""
        self._timer: Timer | None = None

    def configure(self, params: VerifyParams) -> None:
        """From now on."""
        self._cache.params = params
        if self._keeper is None or not self._open:
            return
        self._arm()
        path = self._place()
        if path != self._keeper.path:
            self._keeper.move(path)
        else:
            self._keeper.look_again()

    def close(self) -> None:
        """Nothing more will be asked. Waits for the disk."""
        if self._keeper is not None and self._open:
            self._keeper.save()

    def ask(self, address: str, answer: Answer) -> None:
        """`address` in standard form. `answer` is called at once, and once more if that was `IN_PROGRESS`."""
        waiting = self._waiting.get(address)
        now = self._clock.now()
        known = self._cache.find(address, now) if self._open else None
        if known is not None:
            answer(Verified(known.status, known.text))
            if waiting is None and self._cache.stale(known, now):
                known.probed = now
                self._begin(address)
            return
        if not address or len(address) > _LONGEST:
            answer(UNASKED)
            return
        if len(self._waiting) >= _OPEN or (waiting is not None and len(waiting) >= _ASKERS):
            answer(_BUSY)
            return
        answer(IN_PROGRESS)
        if waiting is not None:
            waiting.append(answer)
        else:
            self._begin(address, answer)

    def _begin(self, address: str, *answers: Answer) -> None:
        self._waiting[address] = list(answers)
        if self._open:
            self._probe(address, partial(self._found, address))
        elif self._keeper is None:
            self._take_up()

    def _found(self, address: str, finding: Finding) -> None:
        now = self._clock.now()
        result = _clean(finding.result)
        if finding.lasting:
            self._cache.learn(address, result, now)
            for other, verified in finding.others:
                if other != address:
                    self._cache.learn(other, _clean(verified), now)
            self._touched()
        # An address that was good stays so: whoever waits hears what who asks next will hear.
        known = self._cache.find(address, now)
        if known is not None and known.status == OK:
            result = Verified(known.status, known.text)
        for answer in self._waiting.pop(address, ()):
            answer(result)

    # the file

    def _take_up(self) -> None:
        self._keeper = Keeper(self._cache, self._place(), self._clock, self._background, self._say)
        self._keeper.open(self._opened)

    def _place(self) -> str:
        """Path of the file."""
        maps = self._cache.params.address_verify_map
        where = place(maps)
        if where.problem and where.problem != self._problem:
            self._say(Notice(where.problem))
        self._problem = where.problem
        self._name = maps[0] if where.path else ""
        return where.path

    def _opened(self, counts: tuple[int, int]) -> None:
        self._open = True
        self._cleaned(counts)
        self._arm()
        early, self._waiting = self._waiting, {}
        now = self._clock.now()
        for address, answers in early.items():
            known = self._cache.find(address, now)
            if known is None:
                self._begin(address, *answers)
                continue
            for answer in answers:
                answer(Verified(known.status, known.text))

    def _touched(self) -> None:
        if self._keeper is not None:
            self._keeper.touched()

    # what has expired

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        interval = self._cache.params.address_verify_cache_cleanup_interval
        self._timer = self._clock.call_later(float(interval), self._clean_up) if interval else None

    def _clean_up(self) -> None:
        self._arm()  # first: a fault in one must not be the last of all
        self._cleaned(self._cache.clean(self._clock.now()))
        self._touched()

    def _cleaned(self, counts: tuple[int, int]) -> None:
        if self._name:
            kept, dropped = counts
            self._say(Notice(f"cache {self._name} full cleanup: retained={kept} dropped={dropped} entries"))


def _clean(verified: Verified) -> Verified:
    """A server's words, on their way into replies and files."""
    text = verified.text.encode("utf-8", "replace").decode()
    return Verified(verified.status, printable(text))
