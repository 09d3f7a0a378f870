"""The stub resolver: asks the name servers of resolv.conf, remembers what they say for as long as they allow, and asks
once for many who wait for the same.

It never fails loudly: servers that are down, refuse or talk nonsense are an `Answer` with outcome TEMPFAIL, FAILED or
INVALID. What is remembered is handed over inside the call, so that a known name costs no turn of the loop.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol

from msgspec import structs

from postwarden.net.clock import Clock
from postwarden.net.dns_exchange import Exchange, Network
from postwarden.net.dns_turns import Turns
from postwarden.net.resolv_conf import ResolverConfig
from postwarden.wire.dns import DnsError, Kind, Message, Record
from postwarden.wire.dns_answer import Alias, Answer, Outcome, interpret

Done = Callable[[Answer], None]

_MAX_CACHED = 20_000
_MAX_ALIASES = 10
_FAILURE_TTL = 2
"""How long a failure is remembered: servers that are down must not be asked once a message (RFC 2308 7)."""
_LOCALHOST = {Kind.A: "127.0.0.1", Kind.AAAA: "::1"}


class Resolver(Protocol):
    def lookup(self, name: str, kind: Kind, done: Done) -> None:
        """Call `done` once: inside this call when the answer is at hand, else later. `name` is ASCII (A-labels),
        absolute whatever its dots; it is asked for as it is, no search list."""

    async def query(self, name: str, kind: Kind) -> Answer:
        """The same for coroutines."""


class StubResolver:
    """A `Resolver` over the network."""

    def __init__(self, config: Callable[[], ResolverConfig], network: Network, clock: Clock) -> None:
        self._config = config
        self._network = network
        self._clock = clock
        self._cache: dict[tuple[str, int], tuple[float, Answer]] = {}
        self._waiters: dict[tuple[str, int], list[Done]] = {}
        self._open: set[Exchange] = set()
        self._turns: Turns[_Chase] = Turns()
        self._at = 0

    def lookup(self, name: str, kind: Kind, done: Done) -> None:
        key = (name.lower(), kind)
        cached = self._cache.get(key)
        if cached is not None:
            if cached[0] > self._clock.monotonic():
                done(cached[1])
                return
            del self._cache[key]
        waiters = self._waiters.get(key)
        if waiters is not None:
            waiters.append(done)
            return
        at_once = _reserved(name, kind)
        if at_once is not None:
            done(at_once)
        elif self._turns.full(name):
            done(Answer(Outcome.TEMPFAIL, name, kind))
        else:
            self._waiters[key] = [done]
            self._chase(_Chase(name, kind))

    async def query(self, name: str, kind: Kind) -> Answer:
        return await as_coroutine(self, name, kind)

    def forget(self) -> None:
        """Drop what is remembered."""
        self._cache.clear()

    def close(self) -> None:
        """Ask no more; who waits is not called."""
        for exchange in self._open:
            exchange.cancel()
        self._open.clear()
        self._turns.clear()
        self._waiters.clear()
        self._network.close()

    def _chase(self, chase: "_Chase") -> None:
        if self._turns.begin(chase.target, chase):
            self._ask(chase)

    def _ask(self, chase: "_Chase") -> None:
        config = self._arranged(self._config())
        at = self._at
        current: list[Exchange] = []
        zone = chase.target

        def replied(message: Message | None) -> None:
            self._open.discard(current[0])
            if self._at == at:  # many questions at once that meet the same dead server move on by one step, not many
                self._at += current[0].silent
            self._turns.end(zone)
            self._replied(chase, config, message)
            while (following := self._turns.next()) is not None:
                self._ask(following)

        try:
            current.append(Exchange((chase.target, chase.kind), config, self._network, self._clock, replied))
        except DnsError:  # it can't be asked for, so nobody can have registered it
            self._turns.end(zone)
            self._settle(chase, Answer(Outcome.NXDOMAIN, chase.name, chase.kind, ttl=_FAILURE_TTL))
            return
        self._open.add(current[0])

    def _arranged(self, config: ResolverConfig) -> ResolverConfig:
        """The server that did not answer last time is not the first to be asked: else a dead one would cost each
        question its time-out."""
        servers = config.servers
        if config.rotate:
            self._at += 1
        at = self._at % len(servers)
        return structs.replace(config, servers=servers[at:] + servers[:at]) if at else config

    def _replied(self, chase: "_Chase", config: ResolverConfig, message: Message | None) -> None:
        if message is None:
            self._settle(chase, Answer(Outcome.TEMPFAIL, chase.name, chase.kind, ttl=_FAILURE_TTL))
            return
        result = interpret(message, chase.target, chase.kind)
        if isinstance(result, Alias):
            chase.follow(result)
            if chase.steps <= _MAX_ALIASES:
                self._chase(chase)
                return
            result = Answer(Outcome.LOOP, chase.name, chase.kind, ttl=_FAILURE_TTL)
        self._settle(chase, chase.finish(result, config.trust_ad))

    def _settle(self, chase: "_Chase", answer: Answer) -> None:
        key = (chase.name.lower(), chase.kind)
        ttl = _FAILURE_TTL if answer.outcome in (Outcome.TEMPFAIL, Outcome.FAILED) else answer.ttl
        if ttl > 0:
            self._remember(key, answer, ttl)
        _tell(self._waiters.pop(key, []), answer)

    def _remember(self, key: tuple[str, int], answer: Answer, ttl: float) -> None:
        cache = self._cache
        if len(cache) >= _MAX_CACHED:
            for old in [k for k, _ in zip(cache, range(_MAX_CACHED // 10), strict=False)]:
                del cache[old]
        cache[key] = (self._clock.monotonic() + ttl, answer)


class _Chase:
    """A question on its way along aliases."""

    __slots__ = ("_authenticated", "_ttl", "kind", "name", "steps", "target")

    def __init__(self, name: str, kind: Kind) -> None:
        self.name = self.target = name
        self.kind = kind
        self.steps = 0
        self._ttl = 1 << 31
        self._authenticated = True

    def follow(self, alias: Alias) -> None:
        self.target = alias.target
        self.steps += 1
        self._ttl = min(self._ttl, alias.ttl)
        self._authenticated = self._authenticated and alias.authenticated

    def finish(self, answer: Answer, trusted: bool) -> Answer:
        if self.steps == 0 and trusted:
            return answer
        return structs.replace(
            answer,
            name=self.name,
            ttl=min(answer.ttl, self._ttl),
            authenticated=trusted and answer.authenticated and self._authenticated,
        )


def _reserved(name: str, kind: Kind) -> Answer | None:
    """`localhost` is this host, whatever a server would say (RFC 6761 6.3)."""
    lowered = name.lower()
    if lowered != "localhost" and not lowered.endswith(".localhost"):
        return None
    return addresses_answer(name, kind, tuple(text for of, text in _LOCALHOST.items() if of == kind))


def addresses_answer(name: str, kind: Kind, texts: tuple[str, ...], ttl: int = 1) -> Answer:
    """An answer that did not come from a server: the texts as records, or no data."""
    records = tuple(Record(name, kind, ttl, text) for text in texts)
    return Answer(Outcome.FOUND if records else Outcome.NODATA, name, kind, records, name, ttl=ttl)


async def as_coroutine(resolver: Resolver, name: str, kind: Kind) -> Answer:
    """`lookup` for coroutines; one that is cancelled stops waiting, the question goes on."""
    future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
    resolver.lookup(name, kind, lambda answer: None if future.done() else future.set_result(answer))
    return await future


def _tell(waiters: list[Done], answer: Answer) -> None:
    """Each in turn. A bug in one must not leave the others waiting for ever: it is raised when all have heard."""
    errors = []
    for done in waiters:
        try:
            done(answer)
        except Exception as error:
            errors.append(error)
    if errors:
        raise errors[0]
