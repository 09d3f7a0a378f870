"""What a DNS reply says to a question: found, empty, no such name, or a failure, after its aliases were followed."""

from enum import Enum

from msgspec import Struct

from postwarden.mail.hostname import valid_address, valid_hostname
from postwarden.wire.dns import Kind, Message, Rcode, Record

_NAMES = frozenset((Kind.CNAME, Kind.NS, Kind.PTR, Kind.MX, Kind.SRV))
MAX_TTL = 86400
MAX_NEGATIVE_TTL = 10800
"""RFC 2308 5: to believe for longer than three hours that something does not exist has proved a problem."""


class Outcome(Enum):
    FOUND = "found"
    NODATA = "no data"
    """The name exists, and has no record of this kind."""
    NXDOMAIN = "no such name"
    TEMPFAIL = "temporary failure"
    """No server answered, or each failed or refused (SERVFAIL, NOTIMP, REFUSED): ask again later."""
    FAILED = "failed"
    """The servers do not understand the question, or answer with a code that nobody knows."""
    INVALID = "invalid"
    """There are records, and none is well formed."""
    LOOP = "loop"
    """The aliases lead in a circle, or do not end."""
    WITHHELD = "withheld"
    """There are records, and the operator's filter of replies drops each."""
    UNFILTERED = "unfiltered"
    """There are records, and the operator's filter can't say which of them may be used."""


class Answer(Struct, frozen=True):
    outcome: Outcome
    name: str
    """As asked."""
    kind: int
    records: tuple[Record, ...] = ()
    """Of that kind only; their names are `canonical`. An MX or SRV to the root has empty data (RFC 7505)."""
    canonical: str = ""
    """Where the aliases led."""
    authenticated: bool = False
    """Validated by a resolver that may be believed; false once an alias on the way was not."""
    ttl: int = 0
    """Seconds for which this may be believed."""

    @property
    def missing(self) -> bool:
        """There is no such record: what is asked for next when there is no MX."""
        return self.outcome in (Outcome.NXDOMAIN, Outcome.NODATA, Outcome.LOOP)


class Alias(Struct, frozen=True):
    """The reply ended in an alias: ask for `target`."""

    target: str
    ttl: int
    authenticated: bool


_OUTCOMES: dict[int, Outcome] = {
    Rcode.NOERROR: Outcome.NODATA,
    Rcode.NXDOMAIN: Outcome.NXDOMAIN,
    Rcode.SERVFAIL: Outcome.TEMPFAIL,
    Rcode.NOTIMP: Outcome.TEMPFAIL,
    Rcode.REFUSED: Outcome.TEMPFAIL,
}


def interpret(message: Message, name: str, kind: int) -> Answer | Alias:
    """Read the reply to a question for `name`. Only records on the chain of aliases that begins at `name` count, so
    that a reply can't slip in others."""
    current, ttl = name, MAX_TTL
    for _ in range(len(message.answers) + 1):
        owned = [record for record in message.answers if record.name.lower() == current.lower()]
        wanted = tuple(record for record in owned if record.kind == kind)
        if wanted:
            ttl = min(ttl, *(record.ttl for record in wanted))
            return _found(wanted, Answer(Outcome.FOUND, name, kind, (), current, message.authenticated, ttl))
        alias = next((record for record in owned if record.kind == Kind.CNAME), None)
        if alias is None:
            break
        current, ttl = str(alias.data), min(ttl, alias.ttl)
        if message.rcode == Rcode.NOERROR and not valid_hostname(current, wildcard=True):
            return Answer(Outcome.INVALID, name, kind, (), current, ttl=ttl)
    else:
        return Answer(Outcome.LOOP, name, kind, (), current, ttl=ttl)
    if message.rcode == Rcode.NOERROR and current.lower() != name.lower() and not _ends_here(message, current):
        return Alias(current, ttl, message.authenticated)
    return _nothing(message, Answer(Outcome.NODATA, name, kind, (), current, message.authenticated, ttl))


def _found(records: tuple[Record, ...], answer: Answer) -> Answer:
    if answer.kind in _NAMES:
        good = tuple(record for record in records if _usable(record))
        outcome = Outcome.FOUND if good else Outcome.INVALID
        return Answer(
            outcome, answer.name, answer.kind, good, answer.canonical, answer.authenticated and bool(good), answer.ttl
        )
    return Answer(Outcome.FOUND, answer.name, answer.kind, records, answer.canonical, answer.authenticated, answer.ttl)


def _usable(record: Record) -> bool:
    """A name that can be a host's; a numerical one is passed on, since it works with other mailers."""
    data = str(record.data)
    if data == "":
        return record.kind in (Kind.MX, Kind.SRV)
    return valid_hostname(data, wildcard=True) or valid_address(data)


def _ends_here(message: Message, current: str) -> bool:
    """Whether the zone's SOA in the authority section says that `current` has no such record."""
    zone = next((record.name.lower() for record in message.authority if record.kind == Kind.SOA), None)
    return zone is not None and (zone == "" or f".{current.lower()}".endswith(f".{zone}"))


def _nothing(message: Message, answer: Answer) -> Answer:
    outcome = _OUTCOMES.get(message.rcode, Outcome.FAILED)
    if outcome in (Outcome.TEMPFAIL, Outcome.FAILED):
        return Answer(outcome, answer.name, answer.kind)
    soa = next((record for record in message.authority if record.kind == Kind.SOA), None)
    ttl = min(soa.ttl, soa.preference, MAX_NEGATIVE_TTL, answer.ttl) if soa is not None else 0
    return Answer(outcome, answer.name, answer.kind, (), answer.canonical, answer.authenticated, ttl)
