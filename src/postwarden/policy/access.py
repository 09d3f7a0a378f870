"""access(5): which keys a table is asked for, and what its answers mean."""

import re
from collections.abc import Callable, Iterator

from postwarden.mail.decision import Decision, Fact, Rule, Verdict
from postwarden.policy.question import Question, Restriction, Subject, permit, refused
from postwarden.tables.keys import domain_keys, network_keys, split_extension
from postwarden.tables.maps import Maps
from postwarden.tables.table import Found

Compile = Callable[[str], Restriction]
_CODE = re.compile(r"([45][0-9][0-9])(?:\s+|\Z)")
_STATUS = re.compile(r"([245]\.[0-9]{1,3}\.[0-9]{1,3})(?:\s+|\Z)")
_NOT_YET = frozenset(
    ("FILTER", "REDIRECT", "PREPEND", "BCC", "INFO", "WARN", "DEFER_IF_PERMIT", "DEFER_IF_REJECT", "421", "521")
)


def client_keys(question: Question) -> Iterator[str]:
    client = question.facts.client
    if client.name != "unknown":
        yield client.name
        yield from _parents(client.name)
    yield from network_keys(client.address)


def helo_keys(question: Question) -> Iterator[str]:
    helo = question.facts.client.helo.lower()
    yield helo
    yield from _parents(helo)


def address_keys(address: str, delimiters: str) -> Iterator[str]:
    """`user+ext@domain`, `user@domain`, `domain` and its parents, `user+ext@`, `user@`. `<>` for the null address."""
    if not address:
        yield "<>"
        return
    yield address
    local, at, domain = address.rpartition("@")
    if not at:
        return
    bare, extension = split_extension(local, delimiters)
    if extension:
        yield f"{bare}@{domain}"
    yield domain
    yield from _parents(domain)
    yield f"{local}@"
    if extension:
        yield f"{bare}@"


def _parents(domain: str) -> Iterator[str]:
    """smtpd_access_maps is in parent_domain_matches_subdomains by default: `domain` stands for its subdomains."""
    keys = domain_keys(domain, parents_by_dot=False)
    next(keys)
    yield from keys


class AccessCheck:
    """check_client_access and its sisters. `compile_list` turns an answer that is a list of restrictions into one."""

    def __init__(
        self,
        rule: Rule,
        maps: Maps,
        subject: Subject,
        keys: Callable[[Question], Iterator[str]],
        *,
        codes: tuple[int, int],
        compile_list: Compile,
    ) -> None:
        self._rule = rule
        self._maps = maps
        self._subject = subject
        self._keys = keys
        self._reject_code, self._defer_code = codes
        self._compile_list = compile_list

    def __call__(self, question: Question) -> Decision | None:
        about = question.about(self._subject)
        found = self._maps.find_first(self._keys(about))
        return None if found is None else self._act(about, found)

    def _act(self, question: Question, found: Found) -> Decision | None:
        rule = Rule(self._rule.name, f"{found.table} {found.key}", found.origin or self._rule.origin)
        fact = Fact(found.table, found.key, found.value)
        value = found.value.strip()
        word, _, text = value.partition(" ")
        word, text = word.upper(), text.strip()
        if word == "DUNNO":
            return None
        if word == "OK" or (value.isdecimal() and _CODE.match(value) is None):
            return permit(rule, fact)
        if word in ("REJECT", "DEFER"):
            code, status = (self._reject_code, "5.7.1") if word == "REJECT" else (self._defer_code, "4.7.1")
            default = "Access denied" if word == "REJECT" else "Service temporarily unavailable"
            return self._refuse(question, rule, code, status, text or default)
        if word in ("DISCARD", "HOLD"):
            return Decision(Verdict(word.lower()), rule, (fact,))
        if (code_match := _CODE.match(value)) is not None and code_match[1] not in ("421", "521"):
            code = int(code_match[1])
            return self._refuse(question, rule, code, "5.7.1", value[code_match.end() :].strip() or "Access denied")
        if word in _NOT_YET:
            return refused(question, rule, 451, "4.3.5", f"Server configuration error: {word} is not available")
        return self._compile_list(value)(question)

    def _refuse(self, question: Question, rule: Rule, code: int, status: str, text: str) -> Decision:
        given = _STATUS.match(text)
        if given is not None:
            status, text = given[1], text[given.end() :] or "Access denied"
        return refused(question, rule, code, status, text)
