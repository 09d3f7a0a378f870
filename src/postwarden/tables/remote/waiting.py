"""Slow tables where a loop runs: the answer is at hand, or `Pending` says how it is to be fetched.

A decision is evaluated again when the fact that it lacked has come, so an answer has to be remembered until then, and
with it all that the same evaluation asked before: a search may need twenty keys of three seconds each. Who uses an
answer that is old by then gets it, and has it asked for again: nobody is kept waiting, and nobody lives on old answers
for long.
"""

from collections.abc import Awaitable, Callable
from typing import Protocol

from postwarden.mail.decision import Pending
from postwarden.net.asking import Asker, AskError
from postwarden.tables.table import Found, Table, TableError, Wrapper

KEEP_SECONDS = 2.0
"""How long an answer is fresh. A changed file is in effect as soon."""
KEEP_ERROR_SECONDS = 1.0
OLD_SECONDS = 10.0
"""What is older is asked for again while decisions go on using it."""
SAY_SECONDS = 30.0
"""Between two lines about a table that does not answer."""
KEEP_NAMES = 20_000
"""Of one table. Those that a decision under way needs are kept beyond that."""


class SlowTable(Table, Protocol):
    """`get` may block, and is called from several threads at once."""

    slow: bool
    """It does block, as it stands now."""


class _Turn:
    """What was looked up in one turn of the loop, that is by at least one whole evaluation."""

    __slots__ = ("open", "until")

    def __init__(self) -> None:
        self.open = 1
        """Look-ups that it waits for, and one while it lasts."""
        self.until = 0.0
        """When what it used may be forgotten."""


class _Answer:
    __slots__ = ("fresh_until", "turn", "value")

    def __init__(self, value: Found | TableError | None, fresh_until: float, turn: _Turn) -> None:
        self.value, self.fresh_until, self.turn = value, fresh_until, turn

    def alive(self, now: float) -> bool:
        return now < self.fresh_until or self.turn.open > 0 or now < self.turn.until


class Waiting(Wrapper):
    """What the slow tables of a process have in common."""

    def __init__(self, asker: Asker, say: Callable[[str], None] = lambda text: None) -> None:
        """`say` hears of tables that do not answer, and that they do again."""
        self.asker = asker
        self.say = say
        self._turn: _Turn | None = None

    def wrap(self, table: Table) -> Table:
        """`table`, to be asked from the loop. Most tables answer at once and stay as they are."""
        return WaitingTable(table, self) if hasattr(table, "slow") else table  # type: ignore[arg-type]

    def turn(self) -> _Turn:
        if self._turn is None:
            self._turn = _Turn()
            self.asker.call_soon(self._over)
        return self._turn

    def _over(self) -> None:
        if self._turn is not None:
            self._turn.open -= 1
        self._turn = None


class WaitingTable:
    """`get` raises TableError and Pending. Only for the loop's thread."""

    def __init__(self, table: SlowTable, waiting: Waiting) -> None:
        self.name = table.name
        self.parts = (table,)
        self._table = table
        self._waiting = waiting
        self._known: dict[str, _Answer] = {}
        self._asked: dict[str, tuple[Callable[[], Awaitable[None]], list[_Turn]]] = {}
        self._most = KEEP_NAMES
        self._told_until = 0.0
        """When the log hears of its fault again; 0: it has none."""
        self._times = 0
        """It was read anew."""

    @property
    def fixed(self) -> bool:
        return self._table.fixed

    def get(self, key: str) -> Found | None:
        if not self._table.slow:
            return self._table.get(key)
        waiting = self._waiting
        now, turn = waiting.asker.now(), waiting.turn()
        answer = self._known.get(key)
        if answer is None or not answer.alive(now):
            raise Pending(self._ask(key, turn))
        if not answer.turn.open:
            answer.turn = turn
        if now >= answer.fresh_until + OLD_SECONDS and key not in self._asked:
            self._ask(key)
        if isinstance(answer.value, TableError):
            # Anew: one object would gather the frames of all who were told.
            raise TableError(answer.value.table, answer.value.text)
        return answer.value

    def stale(self) -> bool:
        return self._table.stale()

    def reload(self) -> None:
        """Raises ConfigError."""
        self._times += 1
        self._known.clear()
        self._table.reload()

    def _ask(self, key: str, turn: _Turn | None = None) -> Callable[[], Awaitable[None]]:
        asked = self._asked.get(key)
        if asked is None:
            times = self._times

            def done(found: Found | None, error: Exception | None) -> None:
                self._done(key, found, error, times)

            fetch = self._waiting.asker.ask(self.name, lambda: self._table.get(key), done)
            asked = self._asked[key] = fetch, []
        if turn is not None:
            turn.open += 1
            asked[1].append(turn)
        return asked[0]

    def _done(self, key: str, found: Found | None, error: Exception | None, times: int) -> None:
        _, turns = self._asked.pop(key)
        now = self._waiting.asker.now()
        for turn in turns:
            turn.open -= 1
            turn.until = max(turn.until, now + KEEP_SECONDS)
        fault = None if error is None else self._fault(error)
        self._tell(fault, now)
        if times != self._times and not turns:
            return  # the table was read anew since, and nobody waits for what it said before
        if len(self._known) >= self._most:
            self._known = {name: answer for name, answer in self._known.items() if answer.alive(now)}
            self._most = max(KEEP_NAMES, 2 * len(self._known))
        known = self._known.get(key)
        # Asked for anew beside a search that goes on: that one still needs it.
        turn = turns[-1] if turns else known.turn if known is not None else self._waiting.turn()
        keep = KEEP_SECONDS if fault is None else KEEP_ERROR_SECONDS
        self._known[key] = _Answer(found if fault is None else fault, now + keep, turn)

    def _tell(self, fault: TableError | None, now: float) -> None:
        """A line for each fault that lasts, and not for each look-up."""
        if fault is None:
            if self._told_until:
                self._waiting.say(f"table {self.name} answers again")
            self._told_until = 0.0
        elif now >= self._told_until:
            self._waiting.say(f"warning: table {self.name} lookup error: {fault.text}")
            self._told_until = now + SAY_SECONDS

    def _fault(self, error: Exception) -> TableError:
        if isinstance(error, TableError):
            return error
        text = str(error) if isinstance(error, AskError) else f"internal error: {error!r}"
        return TableError(self.name, text)
