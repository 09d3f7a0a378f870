"""The outside as it was when a session was recorded: what was answered then is answered again, and nobody is asked.
What was never recorded is an `Unrecorded`, which no restriction catches: it ends the judgement."""

from collections.abc import Awaitable, Callable
from functools import partial

from postwarden.mail.decision import Decision, Fact, Pending, Rule
from postwarden.mail.verified import SUBJECT, Verified
from postwarden.net.policy_client import Endpoint, Limits
from postwarden.net.resolver import Done, Resolver
from postwarden.policy.outside import Outside, Server
from postwarden.policy.question import Question, Restriction
from postwarden.tables.accounts import AccountTable
from postwarden.tables.remote.asked import SocketmapTable, TcpTable
from postwarden.tables.remote.ldap import LdapTable
from postwarden.tables.remote.memcache import MemcacheTable
from postwarden.tables.remote.mysql import MysqlTable
from postwarden.tables.remote.pgsql import PgsqlTable
from postwarden.tables.table import Found, Table, Wrapper
from postwarden.trace.answers import DOWN, POLICY, dns_answer, verified
from postwarden.wire.dns import Kind
from postwarden.wire.dns_answer import Answer, Outcome

_ASKING = (TcpTable, SocketmapTable, LdapTable, MemcacheTable, MysqlTable, PgsqlTable)


class Unrecorded(Exception):
    """`kind` of fact, of whom it would have been asked (`key`), and the restriction that wants to know."""

    def __init__(self, kind: str, key: str) -> None:
        super().__init__(f"{kind} {key}")
        self.kind = kind
        self.key = key
        self.rule: Rule | None = None


class Then:
    """What was answered in the session at hand."""

    def __init__(self) -> None:
        self.facts: tuple[Fact, ...] = ()
        self.when = 0.0
        """Seconds since the epoch."""

    def outside(self) -> Outside:
        resolver = _Names(self)
        return Outside(resolver, resolver, _Services(self), _at_once, _Addresses(self), lambda: self.when)


async def _at_once(seconds: float) -> None:
    return


class _Names(Resolver):
    def __init__(self, then: Then) -> None:
        self._then = then

    def lookup(self, name: str, kind: Kind, done: Done) -> None:
        done(self._answer(name, kind))

    async def query(self, name: str, kind: Kind) -> Answer:
        return self._answer(name, kind)

    def _answer(self, name: str, kind: Kind) -> Answer:
        answer = dns_answer(self._then.facts, name, kind)
        if answer is None and kind == Kind.TXT and dns_answer(self._then.facts, name, Kind.A) is not None:
            # A list's reason for what did not count then: it makes words, and no difference.
            return Answer(Outcome.NODATA, name, kind)
        if answer is None:
            raise Unrecorded(f"DNS {kind.name}", name)
        return answer


class _Addresses:
    def __init__(self, then: Then) -> None:
        self._then = then

    def ask(self, address: str, seconds: float, done: Callable[[Verified], None]) -> None:
        known = verified(self._then.facts, address)
        if known is None:
            raise Unrecorded(SUBJECT, address)
        done(known)


class _Services:
    def __init__(self, then: Then) -> None:
        self._then = then

    def server(self, endpoint: Endpoint, limits: Limits) -> Server:
        return _Server(self._then, endpoint.name)

    def new_instance(self) -> str:
        return "0"


class _Server:
    """Asked again in the same judgement it said the same: they name what they are asked about."""

    def __init__(self, then: Then, name: str) -> None:
        self._then = then
        self._name = name

    def ask(self, data: bytes, instance: str, done: Callable[[str | None], None]) -> None:
        for fact in self._then.facts:
            if fact.subject in (POLICY, DOWN) and fact.key.partition(":")[2] == self._name:
                done(fact.answer if fact.subject == POLICY else None)
                return
        raise Unrecorded(POLICY, self._name)


class _UnaskedTable:
    """A table that would ask somebody."""

    def __init__(self, table: Table) -> None:
        self.name = table.name
        self.fixed = table.fixed

    def get(self, key: str) -> Found | None:
        raise Unrecorded("table", f"{self.name} {key}")

    def stale(self) -> bool:
        return False

    def reload(self) -> None:
        """There is nothing to be read."""


class Unasked(Wrapper):
    """Of a configuration's tables those that are no files of this machine are not asked."""

    def wrap(self, table: Table) -> Table:
        asks = isinstance(table, _ASKING) or (isinstance(table, AccountTable) and table.slow)
        return _UnaskedTable(table) if asks else table


def watch(parameter: str, rule: Rule, compiled: Restriction) -> Restriction:
    """Which restriction lacks a fact. Under warn_if_reject one that can only refuse changes nothing for anybody."""
    refuses_only = rule.name.startswith("reject_")

    def restriction(question: Question) -> Decision | None:
        try:
            return compiled(question)
        except Unrecorded as missing:
            if question.marks.warning and refuses_only:
                return None
            missing.rule = missing.rule or rule
            raise
        except Pending as pending:
            raise Pending(partial(_fetched, pending.fetch, rule)) from None

    return restriction


async def _fetched(fetch: Callable[[], Awaitable[None]], rule: Rule) -> None:
    try:
        await fetch()
    except Unrecorded as missing:
        missing.rule = missing.rule or rule
        raise
