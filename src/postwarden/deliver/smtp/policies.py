"""smtp_tls_policy_maps: the security of connections by destination."""

from collections.abc import Awaitable, Callable, Iterator, Mapping

from postwarden.deliver.smtp import reasons
from postwarden.deliver.smtp.security import INVALID, Security, parse_policy
from postwarden.mail.decision import Pending
from postwarden.mail.host import Host
from postwarden.mail.status import Status
from postwarden.tables.maps import Maps
from postwarden.tables.table import TableError

Fetch = Callable[[Callable[[], Awaitable[None]], Callable[[], None]], None]


class TlsPolicies:
    """`protocols.Policies`. Without tables, or without an entry, main.cf's level holds; where the tables can't say,
    nothing is sent."""

    def __init__(
        self,
        default: Security,
        defaults: Mapping[str, Security],
        maps: Maps,
        *,
        fallbacks: tuple[str, ...] = (),
        warn: Callable[[str], None] = lambda text: None,
    ) -> None:
        """`defaults`: what main.cf says for each level. `fallbacks`: the destinations behind those of any next hop."""
        self._default, self._defaults, self._maps = default, defaults, maps
        self._fallbacks = fallbacks
        self._warn = warn
        self.fetch: Fetch | None = None
        """Awaits what a slow table was asked; None: none of the tables is slow."""

    def find(self, nexthop: str, host: Host, done: Callable[[Security | Status], None]) -> None:
        if not self._maps:
            done(self._default)
            return
        key = self._key(nexthop, host)
        try:
            found = self._find(key)
        except Pending as pending:
            if self.fetch is None:
                done(reasons.lookup_failed())
            else:
                self.fetch(pending.fetch, lambda: self.find(nexthop, host, done))
            return
        except TableError as error:
            self._warn(f"TLS policy of {key}: {error}")
            done(reasons.lookup_failed())
            return
        done(reasons.misconfigured_tls() if found is INVALID else found)

    def _find(self, key: str) -> Security:
        found = self._maps.find_first(_keys(key))
        if found is None:
            return self._default
        try:
            return parse_policy(found.value, self._defaults)
        except ValueError as error:
            self._warn(f"{found.table}, entry {found.key}: {error}")
            return INVALID

    def _key(self, nexthop: str, host: Host) -> str:
        """The destination as it is written, without the kind of socket."""
        places = (*nexthop.replace(",", " ").split(), *self._fallbacks)
        key = places[host.destination] if host.destination < len(places) else nexthop
        for kind in ("inet:", "unix:"):
            key = key.removeprefix(kind)
        return key


def _keys(key: str) -> Iterator[str]:
    """A domain, then its parents with a leading dot; anything else only whole."""
    yield key
    if key.startswith(("[", "/")) or ":" in key:
        return
    rest = key
    while (dot := rest.find(".", 1)) >= 0:
        rest = rest[dot:]
        yield rest
