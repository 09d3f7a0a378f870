"""Whom restrictions ask: name servers, policy servers, the clock."""

from collections.abc import Awaitable, Callable
from typing import Any, Protocol, cast

from msgspec import Struct

from postwarden.mail.verified import UNASKED, Verified
from postwarden.net.clock import Clock
from postwarden.net.dial import Dial
from postwarden.net.names import Names
from postwarden.net.policy_client import Endpoint, Limits, PolicyServers
from postwarden.net.resolver import Resolver
from postwarden.net.waiting import called_back


class Server(Protocol):
    def ask(self, data: bytes, instance: str, done: Callable[[str | None], None]) -> None:
        """Call `done` once with the action; None: no answer was to be had."""


class Services(Protocol):
    """`net.policy_client.PolicyServers`."""

    def server(self, endpoint: Endpoint, limits: Limits) -> Server:
        """The same one each time; it connects when it is asked."""

    def new_instance(self) -> str:
        """A name that no other message has."""


class AddressVerifier(Protocol):
    """Knows by probes whether mail to an address can be delivered."""

    def ask(self, address: str, seconds: float, done: Callable[[Verified], None]) -> None:
        """`address` in standard form, not empty. Call `done` once: with what is known, with `TODO` when a probe takes
        longer than `seconds`, with `FAIL` when nobody can be asked."""


class _NoVerifier:
    def ask(self, address: str, seconds: float, done: Callable[[Verified], None]) -> None:
        done(UNASKED)


class Outside(Struct, frozen=True):
    dns: Resolver
    native: Resolver
    """/etc/hosts first."""
    services: Services
    pause: Callable[[float], Awaitable[None]]
    """Sleeps."""
    verifier: AddressVerifier = _NoVerifier()
    now: Callable[[], float] = lambda: 0.0
    """Seconds since the epoch."""


def open_outside(
    names: Names,
    dial: Dial,
    clock: Clock,
    warn: Callable[[str], None],
    verifier: AddressVerifier | None = None,
    *,
    services: Services | None = None,
) -> Outside:
    """The network. Without a `verifier` nobody can be asked about addresses. `services`: in the place of the policy
    servers."""

    async def pause(seconds: float) -> None:
        def start(done: Callable[[object], None]) -> None:
            clock.call_later(seconds, lambda: done(None))

        await called_back(start)

    servers = services or PolicyServers(dial, names.native, clock, warn)
    return Outside(names.dns, names.native, servers, pause, verifier or _NoVerifier(), clock.now)


class _NoServer:
    def ask(self, data: bytes, instance: str, done: Callable[[str | None], None]) -> None:
        done(None)


class _NoServices:
    def server(self, endpoint: Endpoint, limits: Limits) -> Server:
        return _NoServer()

    def new_instance(self) -> str:
        return "0"


async def _at_once(seconds: float) -> None:
    return


NOBODY = Outside(cast(Any, None), cast(Any, None), _NoServices(), _at_once)
"""For lists that are compiled and never asked."""
