"""check_*_a_access, check_*_mx_access, check_*_ns_access: a domain is judged by the hosts that serve it."""

from collections.abc import Callable, Iterable

from postwarden.mail.address import domain_of
from postwarden.mail.decision import Decision, Fact, Rule
from postwarden.mail.hostname import valid_address
from postwarden.policy.access import domain_and_parents, never_permits
from postwarden.policy.inquiries import dns_error, is_null_mx
from postwarden.policy.means import Compiler, Means
from postwarden.policy.question import Misconfigured, Question, Restriction, Subject
from postwarden.tables.keys import network_keys
from postwarden.tables.table import Found, TableError
from postwarden.wire.dns import Kind
from postwarden.wire.dns_answer import Answer, Outcome

_MAX_HOSTS = _MAX_ADDRESSES = 100
"""Whoever publishes more wants to keep us busy; what comes after them is not looked at."""


def server_access(subject: Subject, value: Callable[[Question], str], kind: Kind) -> Compiler:
    """`value` is an address or a name, empty where there is nothing to ask about; `kind` is A, MX or NS."""

    def compiler(means: Means, rule: Rule) -> Restriction:
        return never_permits(rule, value, _ServerAccess(means, rule, subject, value, kind))

    return compiler


class _ServerAccess:
    def __init__(
        self, means: Means, rule: Rule, subject: Subject, value: Callable[[Question], str], kind: Kind
    ) -> None:
        self._means = means
        self._rule = rule
        self._subject = subject
        self._value = value
        self._kind = kind
        self._maps = means.maps(rule.argument, rule.origin)
        self._actions = means.actions(rule)

    def __call__(self, question: Question) -> Decision | None:
        about = question.about(self._subject)
        value = self._value(about)
        domain = domain_of(value) if "@" in value else value
        if not domain:
            return None
        try:
            found = self._literal(domain) if domain[0] == "[" else self._search(about, value, domain)
        except TableError as error:
            if all(error.table != table.name for table in self._maps.tables):
                raise
            about.marks.unanswered(self._rule, error.table, error.text, domain)
            raise Misconfigured(self._rule, Fact(error.table, "", error.text)) from error
        return None if found is None else self._actions.act(about, found)

    def _literal(self, domain: str) -> Found | None:
        address = domain[1:].partition("]")[0]
        address = address[5:] if address[:5].lower() == "ipv6:" else address
        if self._kind == Kind.NS or not valid_address(address):
            return None
        return self._maps.find_first(network_keys(address))

    def _search(self, question: Question, value: str, domain: str) -> Found | None:
        hosts = self._hosts(question, value, domain)[:_MAX_HOSTS]
        style, seen = self._means.style, 0
        for host, addresses in zip(hosts, self._means.inquiries.addresses(question, hosts), strict=True):
            # An address is what check_*_a_access is about, and not the name, which other checks are for.
            named = self._kind != Kind.A
            found = self._maps.find_first(domain_and_parents(host, style)) if named else None
            if found is not None:
                return found
            if addresses.trouble and self._kind != Kind.A:
                what = f"{self._kind.name} host {host} for {question.subject.value} {value}"
                question.marks.warn(self._rule, f"Unable to look up {what}: {addresses.trouble}")
            for address in addresses.texts:
                seen += 1
                if seen > _MAX_ADDRESSES:
                    self._too_many(question, value)
                    return None
                found = self._maps.find_first(network_keys(address))
                if found is not None:
                    return found
        return None

    def _too_many(self, question: Question, value: str) -> None:
        limit = f"server address count limit ({_MAX_ADDRESSES}) exceeded for {question.subject.value} {value}"
        question.marks.warn(self._rule, f"{self._rule.name}: {self._kind.name} {limit} -- ignoring the remainder")

    def _hosts(self, question: Question, value: str, domain: str) -> list[str]:
        if self._kind == Kind.A:
            return [domain]
        asked, answer = self._ask(question, domain)
        if answer.outcome is Outcome.FOUND:
            return [] if is_null_mx(answer) else _names(answer)
        if self._kind == Kind.MX and answer.missing:
            return [domain]
        question.marks.warn(
            self._rule, f"Unable to look up {self._kind.name} host for {asked or value}: {dns_error(answer)}"
        )
        return []

    def _ask(self, question: Question, domain: str) -> tuple[str, Answer]:
        """The answer, and the domain that it is about: name servers are those of the zone that a name is in. Empty
        where no zone has any."""
        answer = self._means.inquiries.ask(question, domain, self._kind)
        while self._kind == Kind.NS and answer.missing:
            domain = domain.partition(".")[2]
            if not domain:
                break
            answer = self._means.inquiries.ask(question, domain, self._kind)
        return domain, answer


def _names(answer: Answer) -> list[str]:
    records: Iterable[tuple[int, str]] = ((record.preference, str(record.data)) for record in answer.records)
    return [name for _, name in sorted(records) if name]
