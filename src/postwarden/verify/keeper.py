"""Keeps the cache's file: read once, before the first answer; then what has changed is written once a second.

All of it happens in the background, one thing at a time: a disk that hangs holds up no mail. A file that can't be used
costs no more than the results that a restart would have found in it; verification goes on in memory.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from postwarden.mail.events import Event, Notice, Warn
from postwarden.net.clock import Clock
from postwarden.verify import file
from postwarden.verify.cache import Cache, Known

Background = Callable[[Callable[[], Any], Callable[[Any, Exception | None], None]], None]
"""Do the first elsewhere, then call the second, here, with its value or its error."""
_LAG = 1.0
_RETRY = 60.0


class Keeper:
    def __init__(self, cache: Cache, path: str, clock: Clock, background: Background, say: Callable[[Event], None]):
        """`path`: empty: there is no file."""
        self._cache = cache
        self.path = path
        self._clock = clock
        self._background = background
        self._say = say
        self._armed = False
        self._suffering = False
        self._underway: dict[str, Known | None] = {}
        """What is being written."""

    def open(self, done: Callable[[tuple[int, int]], None]) -> None:
        """Take up what the file has: how many entries are kept, how many have expired. Without a file, at once."""
        if not self.path:
            done((0, 0))
            return
        self._background(partial(file.read, self.path), partial(self._opened, done))

    def _opened(self, done: Callable[[tuple[int, int]], None], rows: Any, error: Exception | None) -> None:
        counts = (0, 0)
        if error is None:
            counts = self._cache.restore(rows, self._clock.now())
        else:
            self._suffer(error)
        self.touched()
        done(counts)

    def save(self) -> None:
        """Write what has changed, and wait for it: this is the end. What is under way may end with the process."""
        changes, self._cache.changed = self._underway | self._cache.changed, {}
        if changes and self.path:
            try:
                file.write(self.path, changes)
            except file.CacheError as error:
                self._suffer(error)

    def move(self, path: str) -> None:
        """From now on the file is another one; all that is known goes there. What it has is read at the next start."""
        self.path = path
        self._cache.changed |= dict(self._cache.items())
        self.touched()

    def look_again(self) -> None:
        """Forget what somebody has taken out of the file (postmap -d, or all of it)."""
        if self.path and not self._suffering:
            unwritten = frozenset((*self._cache.changed, *self._underway))
            begun = self._clock.now()
            self._background(partial(file.read, self.path), partial(self._looked, self.path, unwritten, begun))

    def _looked(self, path: str, unwritten: frozenset[str], begun: float, rows: Any, error: Exception | None) -> None:
        if error is not None or path != self.path:
            return  # the next write says what is wrong with it
        there = unwritten.union(self._cache.changed, (address for address, _ in rows))
        self._cache.drop(
            address for address, known in self._cache.items() if address not in there and known.updated < begun
        )

    def touched(self) -> None:
        """The cache may have changed."""
        if not self.path:
            self._cache.changed.clear()
        elif self._cache.changed and not self._armed:
            self._armed = True
            self._clock.call_later(_RETRY if self._suffering else _LAG, self._write)

    def _write(self) -> None:
        changes, self._cache.changed = self._cache.changed, {}
        if not self.path:
            self._armed = False
            return
        self._underway = changes
        self._background(partial(file.write, self.path, changes), self._written)

    def _written(self, _: Any, error: Exception | None) -> None:
        self._armed = False
        changes, self._underway = self._underway, {}
        if error is None:
            if self._suffering:
                self._suffering = False
                self._say(Notice(f"cache {self.path}: in use again"))
        else:
            self._cache.changed = changes | self._cache.changed
            self._suffer(error)
        self.touched()

    def _suffer(self, error: Exception) -> None:
        if isinstance(error, file.CacheError) and error.damaged:
            self._say(Warn(f"cache {self.path} is damaged: {error} -- it begins anew"))
            self._begin_anew()
        elif not self._suffering:
            self._suffering = True
            self._say(Warn(f"cache {self.path}: {error} -- address verification goes on in memory"))

    def _begin_anew(self) -> None:
        """Without a file, and with all that is in memory to be written."""
        self._cache.changed |= dict(self._cache.items())
        self._armed = True

        def discarded(_: Any, error: Exception | None) -> None:
            self._armed = False
            if error is not None:
                self._suffer(error)
            self.touched()

        self._background(partial(file.discard, self.path), discarded)
