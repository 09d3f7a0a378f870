"""/etc/hosts, and names as the system's own lookup finds them: the file first, then DNS."""

import ipaddress
from collections.abc import Callable

import idna

from postwarden.net.resolver import Done, Resolver, addresses_answer, as_coroutine
from postwarden.net.watched import WatchedText
from postwarden.wire.dns import Kind, address_text, reverse_name
from postwarden.wire.dns_answer import Answer, Outcome


class HostsFile:
    """hosts(5) as it is now: looked at once a second. One that can't be read leaves the last one in force."""

    def __init__(self, monotonic: Callable[[], float], path: str = "/etc/hosts") -> None:
        self._file = WatchedText(path, monotonic)
        self._addresses: dict[str, tuple[str, ...]] = {}
        self._names: dict[str, str] = {}

    def addresses(self, name: str) -> tuple[str, ...]:
        """Addresses of a host, in the order of the file; empty when it does not know the name."""
        self._refresh()
        return self._addresses.get(name.lower(), ())

    def name(self, reverse: str) -> str:
        """Official name of the host whose `wire.dns.reverse_name` this is; empty when it does not know one."""
        self._refresh()
        return self._names.get(reverse, "")

    def _refresh(self) -> None:
        text = self._file.changed()
        if text is not None:
            self._addresses, self._names = parse_hosts(text)


def parse_hosts(text: str) -> tuple[dict[str, tuple[str, ...]], dict[str, str]]:
    """(name in lower case -> addresses, reverse name -> official name). A line that is none is passed over."""
    addresses: dict[str, tuple[str, ...]] = {}
    names: dict[str, str] = {}
    for line in text.splitlines():
        words = line.partition("#")[0].split()
        if len(words) < 2:
            continue
        try:
            address = address_text(ipaddress.ip_address(words[0]).packed)
        except ValueError:
            continue
        names.setdefault(reverse_name(address), words[1])
        for name in dict.fromkeys(word.lower() for word in words[1:]):
            known = addresses.get(name, ())
            if address not in known:
                addresses[name] = (*known, address)
    return addresses, names


class HostsFirst:
    """A `Resolver` as gethostbyname(3) is with `hosts: files dns`: a name that the file has is not asked for in DNS,
    not even for the other address family; a name without dots is tried in the domains of the search list."""

    def __init__(
        self, hosts: HostsFile, resolver: Resolver, search: Callable[[], tuple[str, ...]] = lambda: ()
    ) -> None:
        self._hosts = hosts
        self._resolver = resolver
        self._search = search

    def lookup(self, name: str, kind: Kind, done: Done) -> None:
        if kind in (Kind.A, Kind.AAAA):
            known = self._hosts.addresses(name)
            if known:
                six = kind == Kind.AAAA
                done(addresses_answer(name, kind, tuple(address for address in known if (":" in address) is six)))
                return
            if "." not in name:
                self._try([f"{name}.{domain}" for domain in self._search()] + [name], kind, done)
                return
        elif kind == Kind.PTR:
            official = self._hosts.name(name)
            if official:
                done(addresses_answer(name, kind, (official,)))
                return
        self._resolver.lookup(name, kind, done)

    def _try(self, names: list[str], kind: Kind, done: Done) -> None:
        def answered(answer: Answer) -> None:
            if answer.outcome == Outcome.NXDOMAIN and len(names) > 1:
                self._try(names[1:], kind, done)
            else:
                done(answer)

        self._resolver.lookup(names[0], kind, answered)

    async def query(self, name: str, kind: Kind) -> Answer:
        return await as_coroutine(self, name, kind)


def ascii_name(name: str) -> str:
    """The A-labels of an internationalized name (RFC 5891); a name that has none is left as it is."""
    if name.isascii():
        return name
    try:
        return idna.encode(name, uts46=True).decode("ascii")
    except idna.IDNAError:
        return name
