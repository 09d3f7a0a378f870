"""The name of an SMTP client, verified: address -> name -> address must agree (smtpd_peername_lookup)."""

from collections.abc import Callable

from msgspec import Struct

from postwarden.mail.hostname import valid_address, valid_hostname
from postwarden.net.clock import Clock
from postwarden.net.resolver import Resolver
from postwarden.wire.dns import Kind, reverse_name
from postwarden.wire.dns_answer import Answer, Outcome

UNKNOWN = "unknown"
FOUND, TEMPORARY, PERMANENT = 2, 4, 5
_MAX_CACHED = 20_000


class PeerName(Struct, frozen=True):
    name: str
    """Verified, or "unknown"."""
    reverse_name: str
    """What the address maps to, not verified; or "unknown"."""
    name_status: int
    """2 verified, 4 a lookup failed for now, 5 no name, or one that does not map back."""
    reverse_name_status: int
    """2 there is one, 4 the lookup failed for now, 5 there is none."""
    warning: str = ""
    """What the log says of a name that does not map back."""


NO_LOOKUP = PeerName(UNKNOWN, UNKNOWN, PERMANENT, PERMANENT)
"""With smtpd_peername_lookup = no."""
LOCAL = PeerName("localhost", "localhost", FOUND, FOUND)
"""A client on a Unix socket."""


class PeerNames:
    """Looks up names of clients over a resolver that asks /etc/hosts first. A known client costs a dict lookup."""

    def __init__(self, resolver: Resolver, clock: Clock, *, enabled: bool = True) -> None:
        self._resolver = resolver
        self._clock = clock
        self._enabled = enabled
        self._known: dict[str, tuple[float, PeerName]] = {}

    def verify(self, address: str, done: Callable[[PeerName], None]) -> None:
        """Call `done` once, inside this call when the name is known. `address` is a numerical one without prefix."""
        if not self._enabled:
            done(NO_LOOKUP)
            return
        known = self._known.get(address)
        if known is not None and known[0] > self._clock.monotonic():
            done(known[1])
            return
        try:
            reverse = reverse_name(address)
        except ValueError:
            done(NO_LOOKUP)
            return
        self._resolver.lookup(reverse, Kind.PTR, lambda answer: self._named(address, answer, done))

    def _named(self, address: str, answer: Answer, done: Callable[[PeerName], None]) -> None:
        name = str(answer.records[0].data) if answer.outcome is Outcome.FOUND else ""
        # A numerical "name" would pass for the address that it spells in any access list.
        if not name or valid_address(name) or not valid_hostname(name):
            status = TEMPORARY if answer.outcome is Outcome.TEMPFAIL else PERMANENT
            self._finish(address, answer.ttl, PeerName(UNKNOWN, UNKNOWN, status, status), done)
            return
        kind = Kind.AAAA if ":" in address else Kind.A
        ttl = answer.ttl
        self._resolver.lookup(
            name, kind, lambda found: self._finish(address, min(ttl, found.ttl), _judge(address, name, found), done)
        )

    def _finish(self, address: str, ttl: int, peer: PeerName, done: Callable[[PeerName], None]) -> None:
        if ttl > 0:
            if len(self._known) >= _MAX_CACHED:
                self._known.clear()
            self._known[address] = (self._clock.monotonic() + ttl, peer)
        done(peer)


def _judge(address: str, name: str, found: Answer) -> PeerName:
    if any(record.data == address for record in found.records):
        return PeerName(name, name, FOUND, FOUND)
    warning = f"hostname {name} does not resolve to address {address}"
    if found.outcome is Outcome.TEMPFAIL:
        return PeerName(UNKNOWN, name, TEMPORARY, FOUND, f"{warning}: Temporary failure in name resolution")
    if found.outcome in (Outcome.NODATA, Outcome.LOOP):
        warning += ": No address associated with hostname"
    elif found.outcome is not Outcome.FOUND:
        warning += ": Name or service not known"
    return PeerName(UNKNOWN, name, PERMANENT, FOUND, warning)


def client_address(peer: str) -> str:
    """A peer's address as rules and the log know it: a link-local one has no scope, a Unix socket is this host."""
    return peer.partition("%")[0] or "127.0.0.1"
