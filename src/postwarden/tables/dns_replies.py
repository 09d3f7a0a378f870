"""smtp_dns_reply_filter and its like: records of DNS replies that the operator does not want to be used."""

from collections.abc import Awaitable, Callable

from msgspec import structs

from postwarden.mail.decision import Pending
from postwarden.net.resolver import Done, Resolver, as_coroutine
from postwarden.tables.maps import Maps
from postwarden.tables.table import TableError
from postwarden.wire.dns import Kind, Record
from postwarden.wire.dns_answer import Answer, Outcome

Fetch = Callable[[Callable[[], Awaitable[None]], Callable[[], None]], None]


class FilteredResolver:
    """A `Resolver` that gives of the replies of another what the tables do not ignore. A filter that can't be asked, or
    answers with something that is no action, leaves nothing: what it would have withheld must not be used."""

    def __init__(
        self,
        resolver: Resolver,
        maps: Maps,
        name: str,
        *,
        say: Callable[[str], None],
        warn: Callable[[str], None],
        fetch: Fetch | None = None,
    ) -> None:
        """`name`: of the parameter, for the log. `fetch` awaits what a slow table was asked; None: none is slow."""
        self._resolver, self._maps, self._name = resolver, maps, name
        self._say, self._warn = say, warn
        self._fetch = fetch

    def lookup(self, name: str, kind: Kind, done: Done) -> None:
        self._resolver.lookup(name, kind, lambda answer: self._pass(answer, done))

    async def query(self, name: str, kind: Kind) -> Answer:
        return await as_coroutine(self, name, kind)

    def _pass(self, answer: Answer, done: Done) -> None:
        if answer.outcome is not Outcome.FOUND:
            done(answer)
            return
        try:
            done(self._filtered(answer))
        except Pending as pending:
            if self._fetch is None:
                done(structs.replace(answer, outcome=Outcome.UNFILTERED, records=()))
            else:
                self._fetch(pending.fetch, lambda: self._pass(answer, done))

    def _filtered(self, answer: Answer) -> Answer:
        if answer.kind == Kind.MX and not any(record.data for record in answer.records):
            return answer  # RFC 7505: that a domain takes no mail is known before anything is filtered
        kept: list[Record] = []
        for record in answer.records:
            text = record_text(record)
            try:
                found = self._maps.find(text)
            except TableError as error:
                self._warn(f"{self._name}: {error}")
                return structs.replace(answer, outcome=Outcome.UNFILTERED, records=())
            if found is None:
                kept.append(record)
            elif found.value.strip().upper() == "IGNORE":
                self._say(f"ignoring DNS RR: {text}")
            else:
                self._warn(f'{self._name}: unknown DNS filter action: "{found.value}"')
                return structs.replace(answer, outcome=Outcome.UNFILTERED, records=())
        if not kept:
            return structs.replace(answer, outcome=Outcome.WITHHELD, records=())
        return structs.replace(answer, records=tuple(kept)) if len(kept) < len(answer.records) else answer


def record_text(record: Record) -> str:
    """`name. ttl IN type preference value.`, as the operator's patterns see it."""
    kind = Kind(record.kind)
    data = record.data.decode("utf-8", "replace") if isinstance(record.data, bytes) else record.data
    if kind is Kind.MX:
        data = f"{record.preference} {data}."
    elif kind is Kind.SRV:
        data = f"{record.preference} {record.weight} {record.port} {data}."
    elif kind in (Kind.NS, Kind.PTR, Kind.CNAME):
        data += "."
    return f"{record.name}. {record.ttl} IN {kind.name} {data}"
