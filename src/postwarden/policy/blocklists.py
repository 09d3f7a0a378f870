"""DNS blocklists and allowlists (RFC 5782): reject_rbl_client, reject_rhsbl_*, permit_dnswl_client and the like.

A list that can't be asked blocks nobody, and permits nobody for good: the log says so.
"""

import re
from collections.abc import Callable
from types import MappingProxyType

from msgspec import Struct

from postwarden.config.errors import ConfigError
from postwarden.config.expand import ExpandError, expand
from postwarden.mail.address import domain_of
from postwarden.mail.decision import Decision, Fact, Origin, Rule
from postwarden.mail.events import printable
from postwarden.policy.actions import detailed
from postwarden.policy.inquiries import dns_error
from postwarden.policy.means import Compiler, Means
from postwarden.policy.params import PolicyParams
from postwarden.policy.question import Question, Restriction, Subject, permit, refusal
from postwarden.wire.dns import Kind, reverse_name
from postwarden.wire.dns_answer import Outcome

_REASON = 400
"""Characters of a list's reason: a reply line has room for about 500."""
_NAMES = frozenset((
    "client", "client_address", "client_name", "client_port", "reverse_client_name", "helo_name",
    "rbl_class", "rbl_code", "rbl_domain", "rbl_reason", "rbl_what",
    "recipient", "recipient_domain", "recipient_name", "sender", "sender_domain", "sender_name",
))  # fmt: skip
_RANGE = re.compile(r"([0-9]{1,3})(?:\.\.([0-9]{1,3}))?\Z")
_FILTERED = MappingProxyType(
    {
        Outcome.WITHHELD: "DNS reply filter drops all results",
        Outcome.UNFILTERED: "Invalid DNS reply filter syntax",
    }
)
_ESCAPES = MappingProxyType({"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"})
_CODE = re.compile(r"([45][0-9][0-9])(?:\s+|\Z)")


class Zone(Struct, frozen=True):
    """`domain=d.d.d.d`: a list, and which of its answers count."""

    domain: str
    octets: tuple[frozenset[int], ...] = ()
    """Four sets of numbers; none: every answer counts."""

    def counts(self, address: str) -> bool:
        numbers = [int(part) for part in address.split(".")]
        return not self.octets or all(number in octet for number, octet in zip(numbers, self.octets, strict=True))


def parse_zone(text: str, origin: Origin) -> Zone:
    """Raises ConfigError."""
    domain, equals, pattern = text.partition("=")
    try:
        return Zone(domain, _octets(pattern) if equals else ())
    except ValueError as error:
        raise ConfigError(origin, f"bad filter in {text}: {error}") from error


def _octets(pattern: str) -> tuple[frozenset[int], ...]:
    found = re.findall(r"\[[^]]*\]|[^.\[\]]+|[.\[\]]", pattern)
    parts, dots = found[::2], found[1::2]
    if len(parts) != 4 or dots != ["."] * 3:
        raise ValueError("four numbers or [patterns] with dots between them are needed")
    return tuple(frozenset(_numbers(part)) for part in parts)


def _numbers(part: str) -> set[int]:
    numbers: set[int] = set()
    for item in part[1:-1].split(";") if part.startswith("[") else (part,):
        match = _RANGE.match(item)
        if match is None or (match[2] and not part.startswith("[")):
            raise ValueError(f'a number 0..255 is needed, not "{item}"')
        low, high = int(match[1]), int(match[2] or match[1])
        if low > high or high > 255:
            raise ValueError(f'a number 0..255 is needed, not "{item}"')
        numbers.update(range(low, high + 1))
    return numbers


Value = Callable[[Question], str]
"""What is looked up; empty: nothing."""


def client_address(question: Question) -> str:
    return question.facts.client.address


def client_name(question: Question) -> str:
    name = question.facts.client.name
    return "" if name == "unknown" else name


def reverse_client_name(question: Question) -> str:
    name = question.facts.client.reverse_name
    return "" if name == "unknown" else name


def helo_name(question: Question) -> str:
    return question.facts.client.helo


def sender(question: Question) -> str:
    return question.facts.sender or ""


def recipient(question: Question) -> str:
    return question.recipient or ""


class _List:
    """One list, asked about one thing."""

    def __init__(self, means: Means, rule: Rule, value: Value) -> None:
        self._means = means
        self._zone = parse_zone(rule.argument, rule.origin)
        self._rule = rule
        self._value = value
        self._by_address = value is client_address

    def listed(self, question: Question) -> tuple[str, str] | None:
        """What is listed, and the name that was asked for; None: nothing is. Raises _Failed."""
        what = self._value(question)
        query = self._query(what)
        if not query:
            return None
        answer = self._means.inquiries.ask(question, query, Kind.A)
        if answer.outcome is Outcome.FOUND:
            counts = any(self._zone.counts(str(record.data)) for record in answer.records)
            return (what, query) if counts else None
        if not answer.missing:
            text = "Host or domain name not found. Name service error for name"
            error = dns_error(answer)
            if answer.outcome in _FILTERED:
                text, error = "Error looking up name", _FILTERED[answer.outcome]
            question.marks.warn(self._rule, f"{query}: RBL lookup error: {text}={query} type=A: {error}")
            raise _Failed
        return None

    def _query(self, what: str) -> str:
        if self._by_address:
            try:
                reverse = reverse_name(what)
            except ValueError:
                return ""
            return f"{reverse.removesuffix('.in-addr.arpa').removesuffix('.ip6.arpa')}.{self._zone.domain}"
        name = domain_of(what) if "@" in what else what
        return f"{name}.{self._zone.domain}" if name and name[0] != "[" else ""


class _Failed(Exception):
    """The list can't be asked."""


def blocklist(subject: Subject, value: Value) -> Compiler:
    def compiler(means: Means, rule: Rule) -> Restriction:
        zone = parse_zone(rule.argument, rule.origin)
        asked = _List(means, rule, value)
        reply = _Reply(means, rule, zone.domain)

        def restriction(question: Question) -> Decision | None:
            about = question.about(subject)
            try:
                found = asked.listed(about)
            except _Failed:
                return None
            return None if found is None else reply.to(about, *found)

        return restriction

    return compiler


def allowlist(value: Value) -> Compiler:
    """It never opens the relay, whoever publishes it."""

    def compiler(means: Means, rule: Rule) -> Restriction:
        asked = _List(means, rule, value)

        def restriction(question: Question) -> Decision | None:
            if question.recipient is not None and not means.own_recipient(question):
                return None
            about = question.about(Subject.CLIENT)
            try:
                found = asked.listed(about)
            except _Failed:
                text = f"<{value(question)}>: {Subject.CLIENT.value} rejected: Service unavailable"
                about.marks.put_off_reject(refusal(rule, 450, "4.7.1", text))
                return None
            return None if found is None else permit(rule, Fact("DNS list", found[1], "listed"))

        return restriction

    return compiler


class _Reply:
    """What the client hears: default_rbl_reply, or what rbl_reply_maps has for the list."""

    def __init__(self, means: Means, rule: Rule, domain: str) -> None:
        self._means = means
        self._rule = rule
        self._domain = domain
        self._maps = means.parameter_maps("rbl_reply_maps")
        self._default = means.params.default_rbl_reply
        self._allowed = frozenset(unescaped(means.params.smtpd_expansion_filter))
        _check(self._default, rule)

    def to(self, question: Question, what: str, query: str) -> Decision:
        fact = Fact("DNS list", query, "listed")
        params = self._means.params
        answer = self._means.inquiries.ask(question, query, Kind.TXT)
        if answer.outcome is Outcome.WITHHELD:
            question.marks.warn(self._rule, f"{query}: TXT lookup error: {_FILTERED[answer.outcome]}")
        reason = _text(answer.records[0].data) if answer.records else ""
        values = _attributes(question, params) | {
            "rbl_code": str(params.maps_rbl_reject_code), "rbl_domain": self._domain, "rbl_what": what,
            "rbl_class": question.subject.value, "rbl_reason": reason,
        }  # fmt: skip
        text = self._text(question, values)
        coded = _CODE.match(text)
        if coded is None:
            question.marks.warn(self._rule, f"rbl response code configuration error: {text}")
            return refusal(self._rule, 450, "4.7.1", "Service unavailable", fact)
        detail, text = detailed(text[coded.end() :], question.subject)
        return refusal(self._rule, int(coded[1]), f"{coded[1][0]}{detail}", text, fact)

    def _text(self, question: Question, values: dict[str, str]) -> str:
        found = self._maps.find(self._domain) if self._maps else None
        if found is not None:
            try:
                return _expanded(found.value, values, self._allowed)
            except ExpandError:
                fault = f"bad rbl reply template for domain {self._domain}: {found.value}"
                question.marks.warn(self._rule, f"rbl_reject_reply: {fault}")
        return _expanded(self._default, values, self._allowed)


def _check(template: str, rule: Rule) -> None:
    try:
        _expanded(template, dict.fromkeys(_NAMES, ""), frozenset())
    except ExpandError as error:
        raise ConfigError(rule.origin, f"bad default rbl reply template: {error}") from error


def unescaped(text: str) -> str:
    """`\\t`, `\\40`, `\\\\` and the like as what they mean."""

    def meant(match: re.Match[str]) -> str:
        escape = match[1]
        return chr(int(escape, 8) & 255) if escape.isdigit() else _ESCAPES.get(escape, escape)

    return re.sub(r"\\([0-7]{1,3}|.)", meant, text)


def _expanded(template: str, values: dict[str, str], kept: frozenset[str]) -> str:

    def lookup(name: str) -> str | None:
        value = values.get(name, "" if name in _NAMES else None)
        if value is None:
            raise ExpandError(f'unknown macro name "{name}"')
        clean = "".join(char if char in kept else "_" for char in value) if kept else value
        # One level: what a client says is never a template.
        return clean.replace("$", "$$")

    return expand(template, lookup)


def _text(data: str | bytes) -> str:
    text = data.decode("utf-8", "replace") if isinstance(data, bytes) else data
    return printable(text[:_REASON])


def _attributes(question: Question, params: PolicyParams) -> dict[str, str]:
    facts, client = question.facts, question.facts.client
    values = {
        "client": str(client), "client_address": client.address, "client_name": client.name,
        "client_port": str(client.port), "reverse_client_name": client.reverse_name, "helo_name": client.helo,
    }  # fmt: skip
    for name, address in (("sender", facts.sender), ("recipient", question.recipient)):
        if address is not None:
            local, _, domain = address.rpartition("@") if "@" in address else (address, "", "")
            values[name] = address or "<>"
            values[f"{name}_name"] = local or "<>"
            values[f"{name}_domain"] = domain
    return values
