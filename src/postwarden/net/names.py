"""The two ways in which a process looks up names, made from the configuration."""

import asyncio
from collections.abc import Callable
from typing import NamedTuple

from postwarden.net.clock import Clock
from postwarden.net.dns_exchange import SocketNetwork
from postwarden.net.hosts import HostsFile, HostsFirst
from postwarden.net.resolv_conf import ResolvConf, ResolverConfig, given_servers
from postwarden.net.resolver import Resolver, StubResolver


class Names(NamedTuple):
    dns: Resolver
    """DNS alone: mail exchangers, and whatever a domain's owner publishes."""
    native: Resolver
    """As the system looks up hosts: /etc/hosts, then DNS."""
    close: Callable[[], None] = lambda: None
    """Ask no more, and give the sockets back."""
    search: Callable[[], tuple[str, ...]] = lambda: ()
    """The domains in which this machine looks for names that are not complete."""


def open_names(loop: asyncio.AbstractEventLoop, clock: Clock, servers: tuple[str, ...] = ()) -> Names:
    """`servers` are those of postwarden_dns_servers (`address:port`); none: resolv.conf. ValueError: a bad one."""
    config = _Given(servers) if servers else ResolvConf(clock.monotonic)
    dns = StubResolver(config, SocketNetwork(loop), clock)
    native = HostsFirst(HostsFile(clock.monotonic), dns, lambda: config().search)
    return Names(dns, native, dns.close, lambda: config().search)


class _Given:
    def __init__(self, servers: tuple[str, ...]) -> None:
        self._config = given_servers(servers)

    def __call__(self) -> ResolverConfig:
        return self._config
