"""What probes have found out about addresses, as verify(8) keeps it: for how long it counts, and what replaces what.

One refused probe does not take away what an accepted one has shown: an address that was good stays good until it
expires, while later probes ask again. Pure: no clock, no I/O.

The tables are bounded and each by itself, so that a dictionary attack, which fills the one of bad addresses, pushes no
good address out. Each is in the order of its last updates: what has expired, and what has to go, is at its front.
"""

from collections.abc import Iterable
from itertools import islice, takewhile

from msgspec import Struct

from postwarden.mail.verified import OK, Verified
from postwarden.verify.params import VerifyParams

MOST_GOOD = 100_000
MOST_BAD = 50_000
"""Addresses. 450 bytes each with a key and a text of usual length: 70 MB when both are full."""
PROBE_TTL = 1000.0
"""Seconds that an unsuccessful refresh is good for: until then it is not tried again, as with verify(8)."""
_TEXT = 500
"""Characters of an answer that are kept."""


class Known(Struct):
    """Of one address."""

    status: str
    """OK, DEFER or BOUNCE of `mail.verified`."""
    text: str
    updated: float
    """Seconds since the epoch of the probe that found it out."""
    probed: float = 0.0
    """When it was last probed to refresh it; 0: never since then."""


class Cache:
    def __init__(self, params: VerifyParams, *, good: int = MOST_GOOD, bad: int = MOST_BAD) -> None:
        self.params = params
        self._most = {True: good, False: bad}
        self._tables: dict[bool, dict[str, Known]] = {True: {}, False: {}}
        self.changed: dict[str, Known | None] = {}
        """What is to be written down; None: forget it."""

    def __len__(self) -> int:
        return len(self._tables[True]) + len(self._tables[False])

    def find(self, address: str, now: float) -> Known | None:
        """What still counts at the time `now`."""
        known = self._tables[True].get(address) or self._tables[False].get(address)
        return None if known is None or self.expired(known, now) else known

    def expired(self, known: Known, now: float) -> bool:
        params = self.params
        good = known.status == OK
        life = params.address_verify_positive_expire_time if good else params.address_verify_negative_expire_time
        return now - known.updated > life

    def stale(self, known: Known, now: float) -> bool:
        """It counts, and is old enough to be asked for again."""
        params = self.params
        good = known.status == OK
        wait = params.address_verify_positive_refresh_time if good else params.address_verify_negative_refresh_time
        return now - known.updated > wait and now - known.probed > PROBE_TTL

    def learn(self, address: str, found: Verified, now: float) -> None:
        """The outcome of a probe."""
        good = found.status == OK
        before = self.find(address, now)
        if not good:
            if before is not None and before.status == OK:
                return
            if not self.params.address_verify_negative_cache:
                return
        self._tables[not good].pop(address, None)
        self._put(address, Known(found.status, found.text[:_TEXT], now))

    def restore(self, rows: Iterable[tuple[str, Known]], now: float) -> tuple[int, int]:
        """What was written down, in the order of updates. What is known already is newer. Returns how many were
        kept, and how many have expired."""
        kept = dropped = 0
        tables = self._tables
        newer = {good: table.copy() for good, table in tables.items()}
        for address, known in rows:
            if self.expired(known, now):
                self.changed.setdefault(address, None)
                dropped += 1
            elif address not in newer[True] and address not in newer[False]:
                known.updated = min(known.updated, now)  # the clock may have been set back since
                table = tables[known.status == OK]
                table[address] = known
                kept += 1
        for good, table in newer.items():
            for address, known in table.items():
                tables[good].pop(address, None)
                tables[good][address] = known
            self._bound(good)
        return kept, dropped

    def clean(self, now: float) -> tuple[int, int]:
        """Forget what has expired. How many are kept, and how many are not."""
        dropped = 0
        for table in self._tables.values():
            old = [address for address, _ in takewhile(lambda item: self.expired(item[1], now), table.items())]
            self._forget(table, old)
            dropped += len(old)
        return len(self), dropped

    def drop(self, addresses: Iterable[str]) -> None:
        """Forget them: no file has them any more."""
        for address in list(addresses):
            for table in self._tables.values():
                table.pop(address, None)

    def items(self) -> Iterable[tuple[str, Known]]:
        for table in self._tables.values():
            yield from table.items()

    def _put(self, address: str, known: Known) -> None:
        good = known.status == OK
        table = self._tables[good]
        table.pop(address, None)
        table[address] = known
        self.changed[address] = known
        self._bound(good)

    def _bound(self, good: bool) -> None:
        table, most = self._tables[good], self._most[good]
        if len(table) > most:
            # Some at a time: the way to the first key is as long as the number of those that were deleted before it.
            self._forget(table, list(islice(table, max(len(table) - most, most // 100))))

    def _forget(self, table: dict[str, Known], addresses: list[str]) -> None:
        for address in addresses:
            del table[address]
            self.changed[address] = None
        if len(self.changed) > 2 * sum(self._most.values()):
            # A disk has taken nothing for long, while a dictionary passed through. What it keeps of it harms nobody:
            # the entries that count are newer.
            self.changed = {address: known for address, known in self.changed.items() if known is not None}
