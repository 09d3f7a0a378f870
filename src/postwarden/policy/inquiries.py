"""DNS as facts of a decision: an answer that is not at hand is a Pending, and is found when the decision is made anew.

An answer belongs to the command that needed it, so that even one that may not be remembered (TTL 0) is asked for once,
however many others are waited for after it.
"""

from collections.abc import Iterable
from typing import Any

from msgspec import Struct

from postwarden.mail.decision import Pending
from postwarden.mail.hostname import valid_address, valid_hostname
from postwarden.net.hosts import ascii_name
from postwarden.net.resolver import Resolver
from postwarden.policy.question import Question
from postwarden.wire.dns import Kind
from postwarden.wire.dns_answer import Answer, Outcome

_ERRORS = {
    Outcome.NODATA: "Host found but no data record of requested type",
    Outcome.NXDOMAIN: "Host not found",
    Outcome.LOOP: "Host not found",
    Outcome.TEMPFAIL: "Host not found, try again",
    Outcome.INVALID: "Malformed or unexpected name server reply",
    Outcome.FAILED: "Non-recoverable error",
    Outcome.WITHHELD: "DNS reply filter policy",
}
_NATIVE_ERRORS = {
    Outcome.NODATA: "No address associated with hostname",
    Outcome.TEMPFAIL: "Temporary failure in name resolution",
}


class Addresses(Struct, frozen=True):
    """What a host's name maps to, and why not where there is nothing."""

    texts: tuple[str, ...]
    trouble: str = ""
    """In the words of getaddrinfo(3)."""
    temporary: bool = False


class Inquiries:
    """`dns` is DNS alone, `native` asks /etc/hosts first; `families` are the kinds of address that inet_protocols has.
    Every method may raise Pending."""

    def __init__(self, dns: Resolver, native: Resolver, families: tuple[Kind, ...]) -> None:
        self._dns = dns
        self._native = native
        self.families = families

    def ask(self, question: Question, name: str, kind: Kind) -> Answer:
        return self._ask(question, self._dns, ((name, kind),))[0]

    def first(self, question: Question, name: str, kinds: Iterable[Kind]) -> Answer:
        """The first answer that is found or malformed; else one that a filter keeps from us, else one that failed for
        now, if there is any; else the last. An MX that a filter keeps from us ends the search."""
        last: Answer | None = None
        for kind in kinds:
            answer = self.ask(question, name, kind)
            withheld = answer.outcome is Outcome.WITHHELD
            if answer.outcome is Outcome.FOUND or (withheld and kind is Kind.MX):
                return answer
            if last is None or last.missing or withheld:
                last = answer
            if answer.outcome is Outcome.INVALID:
                return answer if last.outcome is not Outcome.WITHHELD else last
        assert last is not None
        return last

    def addresses(self, question: Question, hosts: Iterable[str]) -> list[Addresses]:
        """Of each host; all that is not known is asked for at once."""
        names = list(hosts)
        wanted = [(name, kind) for name in names if not valid_address(name) for kind in self.families]
        answers = self._ask(question, self._native, wanted)
        found = dict(zip(wanted, answers, strict=True))
        return [
            Addresses((name,)) if valid_address(name) else _joined([found[name, kind] for kind in self.families])
            for name in names
        ]

    def _ask(self, question: Question, resolver: Resolver, wanted: Iterable[tuple[str, Kind]]) -> list[Answer]:
        known = question.facts.findings.known
        keys = [(resolver, *_asked(name), kind) for name, kind in wanted]
        missing = []
        for key in keys:
            if key not in known:
                _, name, kind = key
                if name:
                    resolver.lookup(name, kind, _into(known, key))
                else:
                    known[key] = Answer(Outcome.NXDOMAIN, "", kind)
                if key not in known:
                    missing.append(key)
        if missing:
            raise _pending(known, resolver, missing)
        return [known[key] for key in keys]


def dns_error(answer: Answer) -> str:
    """What the log says of an answer without records."""
    return _ERRORS.get(answer.outcome, "Host not found")


def is_null_mx(answer: Answer) -> bool:
    """RFC 7505: this domain takes no mail."""
    return answer.kind == Kind.MX and bool(answer.records) and all(not record.data for record in answer.records)


def _asked(name: str) -> tuple[str]:
    """As it is asked for; empty where nobody can have registered it."""
    name = ascii_name(name).lower().removesuffix(".")
    return (name if valid_hostname(name) else "",)


def _into(known: dict[tuple[object, ...], Any], key: tuple[object, ...]) -> Any:
    return lambda answer: known.setdefault(key, answer)


def _pending(
    known: dict[tuple[object, ...], Any], resolver: Resolver, missing: list[tuple[Resolver, str, Kind]]
) -> Pending:
    async def fetch() -> None:
        for key in missing:
            # They are all under way; this only waits for each in turn.
            if key not in known:
                known[key] = await resolver.query(key[1], key[2])

    return Pending(fetch)


def _joined(answers: list[Answer]) -> Addresses:
    texts = tuple(str(record.data) for answer in answers for record in answer.records)
    if texts:
        return Addresses(texts)
    outcomes = [answer.outcome for answer in answers]
    for outcome in (Outcome.TEMPFAIL, Outcome.NODATA):
        if outcome in outcomes:
            return Addresses((), _NATIVE_ERRORS[outcome], outcome is Outcome.TEMPFAIL)
    return Addresses((), "Name or service not known")
