"""access(5): what the answer of a table, or of a policy server, means."""

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType

from msgspec import Struct

from postwarden.mail.decision import Decision, Effect, Fact, Rule
from postwarden.policy.question import Misconfigured, Question, Restriction, Subject, permit, refused
from postwarden.tables.table import Found

Compile = Callable[[str], Restriction]
_CODE = re.compile(r"([45][0-9][0-9])\s+")
_STATUS = re.compile(r"([245])(\.[0-9]{1,3}\.[0-9]{1,3})(?:\s+|\Z)")
_HEADER = re.compile(r"[!-9;-~]+[ \t]*:")
_LINE_ENDS = re.compile(r"[\r\n\0]+")
_DENIED = "Access denied"
_UNAVAILABLE = "Service unavailable"
_NESTING = 100
_FOR_A_MESSAGE = frozenset(("FILTER", "REDIRECT", "PREPEND", "BCC", "HOLD", "DISCARD"))
_MARKS = _FOR_A_MESSAGE | {"WARN", "INFO", "DEFER_IF_PERMIT", "DEFER_IF_REJECT"}
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


class Actions:
    """The meaning of answers in one place of the configuration. `lists` compiles an answer that is a list of
    restrictions. Raises ConfigError when it is asked with one that can't be compiled."""

    def __init__(self, rule: Rule, style: Style, lists: Compile) -> None:
        self._rule = rule
        self._style = style
        self._compile_list = lists

    def act(self, question: Question, found: Found) -> Decision | None:
        """The verdict on the question's subject; None: go on. May raise TableError, Pending and ConfigError."""
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
        if word in _MARKS:
            return self._mark(question, rule, fact, word, text)
        return self._listed(question, rule, found, value)

    def _mark(self, question: Question, rule: Rule, fact: Fact, word: str, text: str) -> Decision | None:
        """Actions that do not end the search, but DISCARD."""
        marks = question.marks
        if word in ("WARN", "INFO"):
            marks.effects.append(Effect(word.lower(), "", text, rule, (fact,)))
            return None
        if word in ("DEFER_IF_PERMIT", "DEFER_IF_REJECT"):
            later = self._refuse(question, rule, fact, self._style.defer_code, text or _UNAVAILABLE)
            (marks.put_off_permit if word == "DEFER_IF_PERMIT" else marks.put_off_reject)(later)
            return None
        fault = _misplaced(marks.stage, word) or _bad_target(fact, word, text)
        if fault:
            marks.warn(rule, f"access table {fact.subject}{fault}")
            return None
        why = text or f"triggers {word} action"
        match word:
            case "HOLD":
                note = f"<{question.name}>: {question.subject.value} {why}"
                marks.effects.append(Effect("hold", "", note, rule, (fact,)))
            case "DISCARD":
                note = f"<{question.name}>: {question.subject.value} {why}"
                marks.effects.append(Effect("discard", "", note, rule, (fact,)))
                marks.discards = True
                return permit(rule, fact)
            case "PREPEND":
                marks.effects.append(Effect("prepend", _LINE_ENDS.sub(" ", text), "", rule, (fact,)))
            case _:
                note = f"<{question.name}>: {question.subject.value} triggers {word} {text}"
                marks.effects.append(Effect(word.lower(), text, note, rule, (fact,)))
        return None

    def _listed(self, question: Question, rule: Rule, found: Found, value: str) -> Decision | None:
        marks = question.marks
        fault = ""
        if not value:
            marks.warn(rule, f"access table {found.table} entry {found.key} has empty value")
            return refused(question, rule, 451, "4.3.5", "Server configuration error")
        if ":" in value:
            # An answer must not choose which files are read.
            fault = f"access table {found.table} has entry with lookup table: {value}"
        elif marks.depth >= _NESTING:
            fault = f"access table {found.table} entry {found.key} causes unreasonable recursion"
        if fault:
            marks.warn(rule, fault)
            raise Misconfigured(rule)
        restriction = self._compile_list(value)
        marks.depth += 1
        decision = restriction(question)
        marks.depth -= 1
        return decision

    def _refuse(self, question: Question, rule: Rule, fact: Fact, code: int, text: str) -> Decision:
        detail, text = detailed(text, question.subject)
        return refused(question, rule, code, f"{code // 100}{detail}", text or _DENIED, fact=fact)


def detailed(text: str, subject: Subject) -> tuple[str, str]:
    """The subject and detail of the enhanced status that a text begins with, as fits `subject`, and the rest of it."""
    given = _STATUS.match(text)
    if given is None:
        return ".7.1", text
    return _fitting(given[2], subject), text[given.end() :]


def _fitting(detail: str, subject: Subject) -> str:
    """`detail` for this subject: what is said of an address can't be said of a client or its HELO."""
    if not detail.startswith(".1."):
        return detail
    known = _ADDRESS_DETAILS.get(subject)
    return ".0.0" if known is None else known.get(detail, detail)


def _misplaced(stage: str, word: str) -> str:
    """What is wrong with `word`, which is for a message, at this stage; empty: nothing."""
    if stage in ("CONNECT", "HELO", "EHLO"):
        places = f"{Subject.CLIENT.value} or {Subject.HELO.value}"
        return f": with smtpd_delay_reject=no, action {word} is always skipped in {places} restrictions"
    if stage in ("VRFY", "ETRN"):
        return f": action {word} is unavailable in {stage}"
    if stage == "END-OF-MESSAGE" and word == "PREPEND":
        return ": action PREPEND must be used before smtpd_end_of_data_restrictions"
    return ""


def _bad_target(fact: Fact, word: str, text: str) -> str:
    """What is wrong with the argument of `word`; empty: nothing."""
    if word == "FILTER" and not text:
        return f' entry "{fact.key}" has FILTER entry without value'
    needs = ""
    if word == "FILTER" and ":" not in text:
        needs = "transport:destination"
    elif word in ("REDIRECT", "BCC") and "@" not in text:
        needs = "user@domain target"
    elif word == "PREPEND" and not _HEADER.match(text):
        needs = "header: text"
    return f' entry "{fact.key}" requires {needs}' if needs else ""
