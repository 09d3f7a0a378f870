"""Why something was decided: Origin, Rule, Fact, Decision, and how a decision waits for a fact it lacks.

Provenance is compiled, not carried: each configuration value, restriction and table line becomes one `Rule` with its
`Origin` when it is loaded. A `Decision` then only refers to the deciding rule and the facts; nothing is formatted
unless somebody asks.

Decisions are plain functions of facts. One that needs a fact which is not at hand (a DNS answer, a remote table)
raises `Pending`; whoever runs it awaits `fetch` and calls the same function again, which now finds the fact. So the
usual decision, which needs no I/O, costs no coroutine.
"""

from collections.abc import Awaitable, Callable
from enum import Enum
from typing import TypeVar

from msgspec import Struct

from postwarden.mail.reply import Reply

T = TypeVar("T")


class Origin(Struct, frozen=True, array_like=True):
    """Where a piece of configuration was written."""

    file: str
    """Path as the operator would open it; empty for a built-in default."""
    line: int
    """First line of the logical line, counted from 1; 0 for a built-in default, and for the file as a whole."""
    text: str
    """The logical line, continuation lines joined."""

    def __str__(self) -> str:
        if not self.line:
            return self.file or "default"
        return f"{self.file}:{self.line}"


BUILT_IN = Origin("", 0, "")
UNDECIDED = "no restriction decided"
"""Name of the rule where none had anything to say."""


class Rule(Struct, frozen=True, array_like=True):
    """One compiled restriction, table line or setting: what can be named as the reason of a decision."""

    name: str
    argument: str
    origin: Origin


class Fact(Struct, frozen=True, array_like=True):
    """Something that was looked at: the subject (`client address`, a table's `type:name`), the key, and the answer."""

    subject: str
    key: str
    answer: str


class Verdict(Enum):
    """What policy says of a client, a sender, a recipient or a message."""

    PERMIT = "permit"
    DUNNO = "dunno"
    REJECT = "reject"
    DEFER = "defer"


class Effect(Struct, frozen=True):
    """What a restriction wants done to the message, or said in the log, beside the verdict."""

    action: str
    """The log's word for it: warn, info, filter, redirect, prepend, bcc, hold, discard, reject_warning; and
    `warning`, which is for the operator."""
    argument: str
    note: str
    """What the log says of it."""
    rule: Rule
    facts: tuple[Fact, ...] = ()


class Decision(Struct, frozen=True):
    """A verdict, the rule that made it and the facts it stood on. `reply` is what the peer hears; None for permit."""

    verdict: Verdict
    rule: Rule
    facts: tuple[Fact, ...] = ()
    reply: Reply | None = None
    effects: tuple[Effect, ...] = ()
    """In the order in which they were met."""


class Pending(Exception):
    """A fact is not at hand. Await `fetch()`, then evaluate again: the fact will be there, as a value or an error."""

    def __init__(self, fetch: Callable[[], Awaitable[None]]) -> None:
        super().__init__()
        self.fetch = fetch


class Missing:
    """Facts that several questions lack, none of which needs another's answer: fetched together, one pass over the
    questions finds them all. Tables ask as soon as they say `Pending`, so many of them are asked at a time."""

    def __init__(self, most: int = 5000) -> None:
        """`most`: of one pass; then what is known to be missing is fetched first."""
        self._fetches: list[Callable[[], Awaitable[None]]] = []
        self._most = most

    def answer(self, decide: Callable[[], T], otherwise: T) -> T:
        """What `decide` gives, or `otherwise` where it lacks a fact: then `check` will say so."""
        try:
            return decide()
        except Pending as pending:
            self._fetches.append(pending.fetch)
        if len(self._fetches) >= self._most:
            self.check()
        return otherwise

    def check(self) -> None:
        """Raises Pending if anything was missing."""
        if self._fetches:
            raise Pending(self._fetch)

    async def _fetch(self) -> None:
        for fetch in self._fetches:
            await fetch()


async def settle(decide: Callable[[], T], rounds: int = 200) -> T:
    """Run `decide` until it no longer lacks a fact. More than `rounds` facts is an endless loop: RuntimeError."""
    for _ in range(rounds):
        try:
            return decide()
        except Pending as pending:
            await pending.fetch()
    raise RuntimeError("a decision asked for more facts than any configuration can need")
