"""DNS without a network: a zone as text, and a resolver that reads it.

    example.com  MX  10 mx.example.com
    mx.example.com  300  A  192.0.2.1
    www.example.com  CNAME  example.com
    text.example.com  TXT  v=spf1 -all
    broken.example.com  SERVFAIL
    silent.example.com  TIMEOUT

A name that is not in the zone does not exist. REFUSED, SERVFAIL, NOTIMP, FORMERR and TIMEOUT take the place of a
record type and hold for all types; `MX:SERVFAIL` holds for one. `*.example.com` stands for every name below that has
no records of its own.
"""

from collections.abc import Callable

from msgspec import structs

from postwarden.net.clock import Clock
from postwarden.net.resolver import Done, as_coroutine
from postwarden.wire.dns import DnsError, Kind, Message, Rcode, Record, encode_name
from postwarden.wire.dns_answer import Answer, Outcome, interpret

NEGATIVE_TTL = 60


class Zone:
    """What a name server knows. Made from text, one record a line; ValueError names a bad line."""

    def __init__(self, text: str = "", *, secure: bool = False) -> None:
        """`secure`: all answers have the AD bit."""
        self._records: dict[str, list[Record]] = {}
        self._faults: dict[tuple[str, int], str] = {}
        self._secure = secure
        for line in text.splitlines():
            if line.strip() and not line.lstrip().startswith("#"):
                self.add(line)

    def add(self, line: str) -> None:
        """Add one record, or a fault."""
        words = line.split()
        try:
            name = words.pop(0).rstrip(".").lower()
            ttl = int(words.pop(0)) if words[0].isdigit() else 300
            kind, _, fault = words.pop(0).upper().partition(":")
            if fault or kind == "TIMEOUT" or kind in Rcode.__members__:
                self._faults[name, int(Kind[kind]) if fault else 0] = fault or kind
                return
            self._records.setdefault(name, []).append(_record(name, Kind[kind], ttl, words))
        except (KeyError, IndexError, ValueError) as error:
            raise ValueError(f"bad line in a zone: {line}") from error

    def remove(self, name: str) -> None:
        """Forget all about a name."""
        self._records.pop(name.lower(), None)
        for key in [key for key in self._faults if key[0] == name.lower()]:
            del self._faults[key]

    def reply(self, query: Message) -> Message | None:
        """The server's reply; None: it stays silent."""
        name = query.name.lower()
        fault = self._faults.get((name, query.kind)) or self._faults.get((name, 0))
        reply = Message(query.ident, query.name, query.kind, response=True, edns=query.edns, payload=1232)
        if fault == "TIMEOUT":
            return None
        if fault is not None:
            return structs.replace(reply, rcode=int(Rcode[fault]))
        answers, current = [], name
        for _ in range(8):
            owned = self._owned(current)
            found = [record for record in owned if record.kind == query.kind]
            aliases = [record for record in owned if record.kind == Kind.CNAME]
            answers += found or aliases
            if found or not aliases:
                break
            current = str(aliases[0].data).lower()
        exists = bool(self._owned(current)) or any(known.endswith(f".{current}") for known in self._records)
        authority = () if found else (Record("", Kind.SOA, NEGATIVE_TTL, "ns.test", NEGATIVE_TTL),)
        return structs.replace(
            reply,
            rcode=int(Rcode.NOERROR if exists else Rcode.NXDOMAIN),
            answers=tuple(answers),
            authority=authority,
            authenticated=self._secure,
        )

    def _owned(self, name: str) -> list[Record]:
        records = self._records.get(name)
        if records is None:
            parent = name.partition(".")[2]
            return [structs.replace(record, name=name) for record in self._records.get(f"*.{parent}", ())]
        return records


def _record(name: str, kind: Kind, ttl: int, words: list[str]) -> Record:
    if kind == Kind.MX:
        return Record(name, kind, ttl, words[1].rstrip("."), int(words[0]))
    if kind == Kind.SRV:
        return Record(name, kind, ttl, words[3].rstrip("."), int(words[0]), int(words[1]), int(words[2]))
    if kind == Kind.TXT:
        return Record(name, kind, ttl, " ".join(words).encode())
    if kind == Kind.TLSA:
        return Record(name, kind, ttl, bytes(map(int, words[:3])) + bytes.fromhex("".join(words[3:])))
    return Record(name, kind, ttl, words[0] if kind in (Kind.A, Kind.AAAA) else words[0].rstrip("."))


class FakeResolver:
    """A `net.resolver.Resolver` over a zone. With a clock, answers come by `call_soon` instead of inside the call.

    `asked` lists the questions. A name that is silent is a TEMPFAIL at once: no time passes.
    """

    def __init__(self, zone: Zone | str = "", clock: Clock | None = None) -> None:
        self.zone = Zone(zone) if isinstance(zone, str) else zone
        self.asked: list[tuple[str, Kind]] = []
        self._clock = clock

    def lookup(self, name: str, kind: Kind, done: Done) -> None:
        self.asked.append((name, kind))
        answer = self._resolve(name, kind)
        if self._clock is None:
            done(answer)
        else:
            self._clock.call_soon(_bound(done, answer))

    async def query(self, name: str, kind: Kind) -> Answer:
        return await as_coroutine(self, name, kind)

    def _resolve(self, name: str, kind: Kind) -> Answer:
        target, secure, ttl = name, True, 1 << 31
        for _ in range(11):
            try:
                encode_name(target)
            except DnsError:
                return Answer(Outcome.NXDOMAIN, name, kind)
            reply = self.zone.reply(Message(0, target.removesuffix("."), kind))
            if reply is None:
                return Answer(Outcome.TEMPFAIL, name, kind)
            result = interpret(reply, target.removesuffix("."), kind)
            if isinstance(result, Answer):
                secure = secure and result.authenticated
                return structs.replace(result, name=name, authenticated=secure, ttl=min(ttl, result.ttl))
            target, secure, ttl = result.target, secure and result.authenticated, min(ttl, result.ttl)
        return Answer(Outcome.LOOP, name, kind)


def _bound(done: Done, answer: Answer) -> Callable[[], None]:
    return lambda: done(answer)
