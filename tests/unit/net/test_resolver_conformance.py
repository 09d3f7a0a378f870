"""One suite for the real resolver, over real sockets and a real server, and for the fake that tests use instead."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from postwarden.net.clock import LoopClock
from postwarden.net.dns_exchange import SocketNetwork
from postwarden.net.resolv_conf import ResolverConfig
from postwarden.net.resolver import Resolver, StubResolver
from postwarden.testing.dns_server import DnsServer
from postwarden.testing.resolver import FakeResolver, Zone
from postwarden.wire.dns import Kind
from postwarden.wire.dns_answer import Answer, Outcome

ZONE = """
example.com 77 MX 10 mx.example.com
example.com 60 MX 20 mx2.example.com
mx.example.com A 192.0.2.1
www.example.com 11 CNAME mx.example.com
text.example.com TXT v=spf1 -all
null.example MX 0 .
tlsa.example TLSA 3 1 1 aabb
broken.example SERVFAIL
refused.example REFUSED
malformed.example FORMERR
silent.example TIMEOUT
circle.example CNAME circle2.example
circle2.example CNAME circle.example
dangling.example CNAME nowhere.example
""" + "\n".join(f"big.example A 10.1.{n // 200}.{n % 200}" for n in range(400))


@asynccontextmanager
async def real(zone: Zone, patience: float) -> AsyncIterator[Resolver]:
    loop = asyncio.get_running_loop()
    async with DnsServer(zone) as server:
        config = ResolverConfig((("127.0.0.1", server.port),), timeout=patience, attempts=1, trust_ad=True)
        resolver = StubResolver(lambda: config, SocketNetwork(loop), LoopClock(loop))
        yield resolver
        resolver.close()


@asynccontextmanager
async def far(zone: Zone, patience: float) -> AsyncIterator[Resolver]:
    """The real one, as it speaks to a server beyond this host."""
    loop = asyncio.get_running_loop()
    async with DnsServer(zone) as server:
        config = ResolverConfig((("127.0.0.1", server.port),), timeout=patience, attempts=1, trust_ad=True)
        resolver = StubResolver(lambda: config, SocketNetwork(loop, lambda address: False), LoopClock(loop))
        yield resolver
        resolver.close()


@asynccontextmanager
async def fake(zone: Zone, patience: float) -> AsyncIterator[Resolver]:
    yield FakeResolver(zone)


@pytest.fixture(params=[real, far, fake], ids=["real", "far", "fake"])
def run(request: pytest.FixtureRequest) -> Callable[..., None]:
    def runner(test: Callable[[Resolver], Awaitable[None]], secure: bool = False, patience: float = 30.0) -> None:
        async def main() -> None:
            async with request.param(Zone(ZONE, secure=secure), patience) as resolver:
                await asyncio.wait_for(test(resolver), 60)

        asyncio.run(main())

    return runner


def test_answers(run: Callable[..., None]) -> None:
    async def test(resolver: Resolver) -> None:
        answer = await resolver.query("Example.com", Kind.MX)
        assert answer.name == "Example.com"
        assert [(r.preference, r.data) for r in answer.records] == [(10, "mx.example.com"), (20, "mx2.example.com")]
        assert answer.ttl == 60
        answer = await resolver.query("www.example.com", Kind.A)
        assert (answer.canonical, answer.ttl, answer.records[0].data) == ("mx.example.com", 11, "192.0.2.1")
        assert (await resolver.query("text.example.com", Kind.TXT)).records[0].data == b"v=spf1 -all"
        assert (await resolver.query("tlsa.example", Kind.TLSA)).records[0].data == b"\3\1\1\xaa\xbb"
        assert (await resolver.query("null.example", Kind.MX)).records[0].data == ""
        assert len((await resolver.query("big.example", Kind.A)).records) == 400

    run(test)


@pytest.mark.parametrize(
    ("name", "outcome"),
    [
        ("none.example", Outcome.NXDOMAIN),
        ("example.com", Outcome.NODATA),
        ("broken.example", Outcome.TEMPFAIL),
        ("refused.example", Outcome.TEMPFAIL),
        ("silent.example", Outcome.TEMPFAIL),
        ("malformed.example", Outcome.FAILED),
        ("dangling.example", Outcome.NXDOMAIN),
        ("circle.example", Outcome.LOOP),
        ("a..b", Outcome.NXDOMAIN),
    ],
)
def test_failures(run: Callable[..., None], name: str, outcome: Outcome) -> None:
    async def test(resolver: Resolver) -> None:
        answer = await resolver.query(name, Kind.A)
        assert (answer.outcome, answer.name, answer.records) == (outcome, name, ())

    run(test, patience=0.3 if name == "silent.example" else 30.0)


@pytest.mark.parametrize("secure", [True, False])
def test_the_ad_bit(run: Callable[..., None], secure: bool) -> None:
    async def test(resolver: Resolver) -> None:
        assert (await resolver.query("www.example.com", Kind.A)).authenticated is secure

    run(test, secure)


def test_each_caller_is_called_once(run: Callable[..., None]) -> None:
    async def test(resolver: Resolver) -> None:
        answers: list[Answer] = []
        for _ in range(5):
            resolver.lookup("example.com", Kind.MX, answers.append)
        await asyncio.gather(*(resolver.query("example.com", Kind.MX) for _ in range(5)))
        assert len(answers) == 5

    run(test)


def test_a_caller_that_gives_up_harms_nobody(run: Callable[..., None]) -> None:
    async def test(resolver: Resolver) -> None:
        task = asyncio.ensure_future(resolver.query("example.com", Kind.MX))
        await asyncio.sleep(0)
        task.cancel()
        assert (await resolver.query("example.com", Kind.MX)).outcome is Outcome.FOUND

    run(test)


def test_a_server_that_is_not_there_is_a_temporary_failure() -> None:
    async def main() -> Answer:
        loop = asyncio.get_running_loop()
        # A port that no other process is given meanwhile.
        config = ResolverConfig((("127.0.0.1", 1),), timeout=60, attempts=2)
        resolver = StubResolver(lambda: config, SocketNetwork(loop), LoopClock(loop))
        return await asyncio.wait_for(resolver.query("example.com", Kind.A), 30)

    assert asyncio.run(main()).outcome is Outcome.TEMPFAIL
