"""regexp: tables, regexp_table(5)."""

import re
import time
from collections.abc import Iterable, Mapping

from postwarden.config.errors import ConfigError, Fault, Problem, refuse
from postwarden.config.lines import SPACE
from postwarden.mail.decision import Origin
from postwarden.tables.posix_regex import EXTENDED, ICASE, NEWLINE, Regex, RegexError
from postwarden.tables.rules import Compile, Groups, Pattern, RuleTable, Step, Undecided, parse_rules, run
from postwarden.tables.table import Found, TableError

LARGE = 500
"""Rules; each takes about a microsecond."""
SLOW_SECONDS = 0.01
"""For patterns of CPU time: a machine that is busy makes no pattern slow."""
_REFERENCE = re.compile(r"\$(?:\$|\{([A-Za-z0-9_]+)\}|\(([A-Za-z0-9_]+)\)|([A-Za-z0-9_]+)|)")
_TEXTLESS = "no replacement text: using empty string"
"""As regexp_table(5) and pcre_table(5) have it: a member of a list like any other, and no answer of a map."""
_FLAGS = {"i": ICASE, "x": EXTENDED, "m": NEWLINE}


class RegexpTable(RuleTable):
    """`/pattern/flags text`. Keys are whole: no part of an address or a domain is ever looked up."""

    def __init__(self, name: str, file: str, origin: Origin, *, literal: bool = False) -> None:
        """`literal`: rules with $number are left out, each with a warning. Raises ConfigError with file and line."""
        self._literal = literal
        self.slow = False
        """It has many rules, or a look-up has taken long: what one takes, the sender chooses."""
        super().__init__(name, file, origin)

    def _compile(self, lines: Iterable[Origin], fault: Fault) -> list[Problem]:
        steps = self._rules(lines, fault)
        warnings = [Problem(step.origin, "warning", _TEXTLESS) for step in steps if step.value == "" and not step.fault]
        warnings += _without_substitution(steps) if self._literal else []
        self._steps = steps
        self.slow = len(steps) > LARGE
        return warnings

    def _rules(self, lines: Iterable[Origin], fault: Fault) -> list[Step]:
        return regexp_rules(lines, fault)

    def _find(self, key: str) -> Found | None:
        began = time.thread_time()
        try:
            hit = run(self._steps, key)
        except (RegexError, Undecided) as error:
            raise TableError(self.name, str(error)) from error
        finally:
            if time.thread_time() - began > SLOW_SECONDS:
                self.slow = True
        if hit is None:
            return None
        step, groups = hit
        return self._found(step, key, _substitute(step.value or "", groups))


def regexp_rules(lines: Iterable[Origin], fault: Fault = refuse) -> list[Step]:
    """The rules of a regexp table; `fault` as in parse_rules."""
    return substituting_rules(lines, compile_regexp, fault)


def substituting_rules(lines: Iterable[Origin], compile_pattern: Compile, fault: Fault = refuse) -> list[Step]:
    """Rules whose text may hold $1; `fault` as in parse_rules."""
    steps = parse_rules(lines, compile_pattern, fault, textless=True)
    for step in steps:
        try:
            _check_references(step)
        except ConfigError as error:
            fault(error)
            step.fault = step.fault or error.text
    return steps


class _Never:
    """In the place of a rule that does not count."""

    groups = 0

    def match(self, key: str, *, negated: bool) -> Groups | None:
        return None


def _without_substitution(steps: list[Step]) -> list[Problem]:
    """Where an answer says what is done, as in transport_maps, a sender's text must not become a part of it."""
    problems = []
    for step in steps:
        if any(reference[0] != "$$" for reference in _REFERENCE.finditer(step.value or "")):
            step.pattern = _Never()
            text = "regular expression substitution is not allowed here: this rule does not count"
            problems.append(Problem(step.origin, "warning", text))
    return problems


def compile_regexp(text: str, origin: Origin) -> tuple[Pattern, str]:
    """`/pattern/flags` at the start of `text`, any character for the slash; and the rest. Raises ConfigError."""
    expression, flags, rest = delimited(text, origin, _FLAGS, EXTENDED | ICASE)
    try:
        return Regex(expression, flags), rest
    except RegexError as error:
        raise ConfigError(origin, f'error in regexp "{expression[:60]}": {error}') from error


def delimited(text: str, origin: Origin, letters: Mapping[str, int], flags: int) -> tuple[str, int, str]:
    """The pattern, `flags` with what the letters behind it toggle, and the rest. Raises ConfigError."""
    delimiter = text[0]
    if delimiter.isalnum() or delimiter == "\\":
        raise ConfigError(origin, f'a pattern must begin with a delimiter, as in /pattern/: "{text[:60]}"')
    end = 1
    while end < len(text) and text[end] != delimiter:
        end += 2 if text[end] == "\\" else 1
    if end >= len(text):
        raise ConfigError(origin, f'no closing "{delimiter}": "{text[:60]}"')
    at = end + 1
    while at < len(text) and text[at] not in SPACE:
        if text[at] not in letters:
            raise ConfigError(origin, f'unknown regexp option "{text[at]}"')
        flags ^= letters[text[at]]
        at += 1
    return text[1:end], flags, text[at:]


def _check_references(step: Step) -> None:
    for reference in _REFERENCE.finditer(step.value or ""):
        number = reference[1] or reference[2] or reference[3]
        if reference[0] == "$":
            raise ConfigError(step.origin, 'bad substitution syntax: write "$$" for a dollar sign')
        if number is None:
            continue
        if step.negated:
            raise ConfigError(step.origin, "$number can't be used with a negated pattern")
        if not (number.isascii() and number.isdigit()):
            raise ConfigError(step.origin, f'non-numeric replacement index "{number[:20]}"')
        if len(number) > 3 or not 0 < int(number) <= step.pattern.groups:
            raise ConfigError(step.origin, f'out of range replacement index "{number[:10]}"')


def _substitute(text: str, groups: Groups) -> str:
    if "$" not in text:
        return text

    def value(reference: re.Match[str]) -> str:
        number = reference[1] or reference[2] or reference[3]
        return "$" if number is None else groups[int(number)] or ""

    return _REFERENCE.sub(value, text)
