"""access(5): which keys a table is asked for, and what its answers mean."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType

from msgspec import Struct

from postwarden.mail.decision import Decision, Fact, Rule, Verdict
from postwarden.policy.listed import Resolver
from postwarden.policy.question import Question, Restriction, Subject, permit, refusal, refused
from postwarden.tables.keys import domain_keys, network_keys, split_extension
from postwarden.tables.maps import Maps
from postwarden.tables.table import Found, TableError

Compile = Callable[[str], Restriction]
Keys = Callable[[Question], Iterable[Iterable[str]]]
"""One search after the other; each has a whole key first, and then parts of it, which patterns are not asked for."""
_CODE = re.compile(r"([45][0-9][0-9])\s+")
_STATUS = re.compile(r"([245])(\.[0-9]{1,3}\.[0-9]{1,3})(?:\s+|\Z)")
_NOT_YET = frozenset(("FILTER", "REDIRECT", "PREPEND", "BCC", "INFO", "WARN"))
_FAULT = "Server configuration error"
_DENIED = "Access denied"
_ADDRESS_DETAILS: Mapping[Subject, Mapping[str, str]] = MappingProxyType({
    Subject.SENDER: MappingProxyType({
        ".1.1": ".1.7", ".1.2": ".1.8", ".1.3": ".1.7", ".1.4": ".1.7", ".1.5": ".1.0", ".1.6": ".1.7",
        ".1.9": ".1.0", ".1.10": ".1.0",
    }),
    Subject.RECIPIENT: MappingProxyType({".1.7": ".1.3", ".1.8": ".1.2"}),
})  # fmt: skip
"""RFC 3463 3.2 has one detail for a bad recipient and another for a bad sender, and tables are used for both."""


class Style(Struct, frozen=True):
    """How all access tables of a service are asked."""

    reject_code: int
    defer_code: int
    delimiters: str
    null_key: str
    parents_by_dot: bool
    untrusted_routing: bool
    """An OK for a recipient holds even where the local part routes elsewhere."""


def domain_and_parents(domain: str, style: Style) -> Iterator[str]:
    return domain_keys(domain, parents_by_dot=style.parents_by_dot)


def client_keys(style: Style) -> Keys:
    def keys(question: Question) -> Iterator[Iterable[str]]:
        client = question.facts.client
        # `unknown` too: tables have lines for clients without a name.
        yield domain_and_parents(client.name, style)
        yield network_keys(client.address)

    return keys


def helo_keys(style: Style) -> Keys:
    return lambda question: (domain_and_parents(question.name, style),) if question.name else ()


def sender_keys(style: Style, resolver: Resolver) -> Keys:
    def keys(question: Question) -> Iterable[Iterable[str]]:
        sender = question.facts.sender
        if sender is None:
            return ()
        return (address_keys(resolver.resolve(sender).recipient, style) if sender else (style.null_key,),)

    return keys


def recipient_keys(style: Style, resolver: Resolver) -> Keys:
    def keys(question: Question) -> Iterable[Iterable[str]]:
        if not question.recipient:
            return ()
        return (address_keys(resolver.resolve(question.recipient).recipient, style),)

    return keys


def address_keys(address: str, style: Style) -> Iterator[str]:
    """`user+ext@domain`, `user@domain`, `domain` and its parents, `user+ext@`, `user@`."""
    yield address
    local, at, domain = address.rpartition("@")
    if not at:
        return
    bare, extension = split_extension(local, style.delimiters)
    if extension:
        yield f"{bare}@{domain}"
    yield from domain_and_parents(domain, style)
    yield f"{local}@"
    if extension:
        yield f"{bare}@"


class AccessCheck:
    """check_client_access and its sisters. `compile_list` turns an answer that is a list of restrictions into one."""

    def __init__(
        self, rule: Rule, maps: Maps, subject: Subject, style: Style, *, keys: Keys, resolver: Resolver, lists: Compile
    ) -> None:
        self._rule = rule
        self._maps = maps
        self._subject = subject
        self._style = style
        self._keys = keys
        self._resolver = resolver
        self._compile_list = lists

    def __call__(self, question: Question) -> Decision | None:
        about = question.about(self._subject)
        try:
            found = self._find(self._keys(about))
        except TableError as error:
            if all(error.table != table.name for table in self._maps.tables):
                raise
            fact = Fact(error.table, "", error.text)
            return refused(about, self._rule, 451, "4.3.5", _FAULT, fact=fact)
        if found is None:
            return None
        decision = self._act(about, found)
        if decision is not None and decision.verdict is Verdict.PERMIT and self._suspicious(about):
            return None
        return decision

    def _find(self, searches: Iterable[Iterable[str]]) -> Found | None:
        for keys in searches:
            found = self._maps.find_first(keys)
            if found is not None:
                return found
        return None

    def _suspicious(self, question: Question) -> bool:
        """A recipient that routes elsewhere (`user%elsewhere@here`) is never let in by the address that it shows."""
        if question.subject is not Subject.RECIPIENT or self._style.untrusted_routing or not question.recipient:
            return False
        return self._resolver.resolve(question.recipient).routed

    def _act(self, question: Question, found: Found) -> Decision | None:
        rule = Rule(self._rule.name, f"{found.table} {found.key}", found.origin or self._rule.origin)
        fact = Fact(found.table, found.key, found.value)
        value = found.value.strip()
        word, *rest = value.split(None, 1)[:2] or [""]
        word, text = word.upper(), rest[0] if rest else ""
        if word == "DUNNO":
            return None
        if word == "OK" or value.isdecimal():
            return permit(rule, fact)
        if word == "REJECT":
            return self._refuse(question, rule, fact, self._style.reject_code, text)
        if word == "DEFER":
            return self._refuse(question, rule, fact, self._style.defer_code, text)
        coded = _CODE.match(value)
        if coded is not None:
            return self._refuse(question, rule, fact, int(coded[1]), value[coded.end() :])
        return self._mark(question, rule, fact, word, text) or self._listed(question, rule, word, value)

    def _mark(self, question: Question, rule: Rule, fact: Fact, word: str, text: str) -> Decision | None:
        """Actions that do not end the search, but DISCARD: None then, and for what is no such action."""
        marks = question.marks
        note = f"<{question.name}>: {question.subject.value} {text or f'triggers {word} action'}"
        if word == "HOLD":
            marks.action = marks.action or Decision(Verdict.HOLD, rule, (fact,), note=note)
        elif word == "DISCARD":
            marks.action = Decision(Verdict.DISCARD, rule, (fact,), note=note)
            return permit(rule, fact)
        elif word == "DEFER_IF_PERMIT":
            later = self._refuse(question, rule, fact, 450, text or "Service unavailable")
            marks.defer_if_permit = marks.defer_if_permit or later
        elif word == "DEFER_IF_REJECT":
            later = self._refuse(question, rule, fact, 450, text or "Service unavailable")
            marks.defer_if_reject = marks.defer_if_reject or later
        return None

    def _listed(self, question: Question, rule: Rule, word: str, value: str) -> Decision | None:
        if word in ("HOLD", "DEFER_IF_PERMIT", "DEFER_IF_REJECT"):
            return None
        if word in _NOT_YET:
            return refused(question, rule, 451, "4.3.5", f"{_FAULT}: {word} is not available")
        if not value:
            return refused(question, rule, 451, "4.3.5", _FAULT)
        if ":" in value:
            # A table within a table: an answer must not choose which files are read.
            return refusal(rule, 451, "4.3.5", _FAULT)
        return self._compile_list(value)(question)

    def _refuse(self, question: Question, rule: Rule, fact: Fact, code: int, text: str) -> Decision:
        given = _STATUS.match(text)
        detail = ".7.1"
        if given is not None:
            detail, text = given[2], text[given.end() :]
        status = f"{code // 100}{_fitting(detail, question.subject)}"
        return refused(question, rule, code, status, text or _DENIED, fact=fact)


def _fitting(detail: str, subject: Subject) -> str:
    """`detail` for this subject: what is said of an address can't be said of a client or its HELO."""
    if not detail.startswith(".1."):
        return detail
    known = _ADDRESS_DETAILS.get(subject)
    return ".0.0" if known is None else known.get(detail, detail)
