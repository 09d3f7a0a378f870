"""Tables that are a list of patterns, tried in order, with if ... endif round some: regexp: and cidr:."""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from msgspec import Struct

from postwarden.config.errors import ConfigError, Fault, Problem, refuse
from postwarden.config.lines import FIRST_WORD, SPACE, logical_lines
from postwarden.config.values import split
from postwarden.mail.decision import Origin
from postwarden.tables.source import SourceTable, read
from postwarden.tables.table import Found

Groups = Sequence[str | None]
"""What a pattern matched: the whole first, then its groups."""


class Pattern(Protocol):
    groups: int

    def match(self, key: str, *, negated: bool) -> Groups | None:
        """What matched; for a negated pattern only the key, where the pattern says no. None: the rule does not hold."""


class Step(Struct):
    """A rule (`value` is its text), or an `if` (`value` is None) that leads to `skip` where it does not hold."""

    pattern: Pattern
    negated: bool
    value: str | None
    origin: Origin
    skip: int = 0
    fault: str = ""
    """What is wrong with it. Postfix leaves such a rule out; but who wrote it meant to refuse something with it, maybe,
    and so it has no answer for the keys that it would decide."""


class Undecided(Exception):
    """A rule at fault would decide. The text names it by file and line."""


class PatternError(ConfigError):
    """A rule at fault of which it is known what it was to match."""

    def __init__(self, origin: Origin, text: str, pattern: Pattern) -> None:
        super().__init__(origin, text)
        self.pattern = pattern


class Anything:
    """In the place of a pattern that can't be read: the search ends there."""

    groups = 0

    def match(self, key: str, *, negated: bool) -> Groups | None:
        return (key,)


Compile = Callable[[str, Origin], tuple[Pattern, str]]
"""Reads a pattern at the start of a text; gives it and what is left. Raises ConfigError."""


def parse_rules(
    lines: Iterable[Origin], compile_pattern: Compile, fault: Fault = refuse, *, textless: bool = False
) -> list[Step]:
    """The steps of a table. `fault` hears of a rule at fault, which keeps its place. `textless`: a pattern without a
    text is none, and its text is empty."""
    steps: list[Step] = []
    open_ifs: list[Step] = []
    for origin in lines:
        text = origin.text
        first = FIRST_WORD.match(text)
        word = first[0].lower() if first else ""
        if word == "endif":
            if text[5:].strip(SPACE):
                fault(ConfigError(origin, f'ignoring extra text after ENDIF: "{text[5:].strip(SPACE)[:60]}"'))
            if open_ifs:
                open_ifs.pop().skip = len(steps)
            else:
                fault(ConfigError(origin, "ignoring ENDIF without matching IF"))
            continue
        is_if = word == "if" or (text[:2].lower() == "if" and text[2:3] in ("/", "!"))
        try:
            step = _step(text[2:].lstrip(SPACE) if is_if else text, origin, compile_pattern, fault, is_if=is_if)
            if not (is_if or step.value or textless):
                raise PatternError(origin, "no text behind the pattern", step.pattern)
        except ConfigError as error:
            fault(error)
            pattern = error.pattern if isinstance(error, PatternError) else Anything()
            step = Step(pattern, text.startswith("!"), None if is_if else "", origin, fault=error.text)
        if is_if:
            open_ifs.append(step)
        steps.append(step)
    for step in reversed(open_ifs):
        fault(ConfigError(step.origin, "IF has no matching ENDIF"))
        step.skip = len(steps)
    return steps


def run(steps: Sequence[Step], key: str) -> tuple[Step, Groups] | None:
    """The first rule that holds for `key`, with what it matched. Raises Undecided."""
    at = 0
    while at < len(steps):
        step = steps[at]
        matched = step.pattern.match(key, negated=step.negated)
        if matched is not None and step.fault:
            raise Undecided(f"{step.origin}: {step.fault}")
        if step.value is None:
            at = step.skip if matched is None else at + 1
        elif matched is None:
            at += 1
        else:
            return step, matched
    return None


def _step(text: str, origin: Origin, compile_pattern: Compile, fault: Fault, *, is_if: bool) -> Step:
    negated = False
    while text.startswith("!"):
        negated = not negated
        text = text[1:].lstrip(SPACE)
    if not text:
        raise ConfigError(origin, "a pattern is missing")
    pattern, rest = compile_pattern(text, origin)
    text = rest.strip(SPACE)
    if is_if and text:
        fault(ConfigError(origin, f'ignoring extra text after IF statement: "{text[:60]}"'))
    return Step(pattern, negated, None if is_if else text, origin)


class RuleTable(SourceTable):
    """Base of the tables of this kind. The rules may also stand in the name: `regexp:{{/a/ b}, {/c/ d}}`."""

    fixed = False

    def __init__(self, name: str, file: str, origin: Origin) -> None:
        """`origin` is where the name was written. Raises ConfigError."""
        self._steps: list[Step] = []
        self._inline = written_out(file, origin) if file.startswith("{") else None
        super().__init__(name, () if self._inline is not None else (file,))

    def _load(self) -> None:
        if self._inline is not None:
            said = self._compile(self._inline, self._suffer)
        else:
            file = self._files[0]
            said = self._compile(logical_lines(read(file), file, self._suffer), self._suffer)
        put_off = "what this line would decide is put off"
        self.warnings = (*(Problem(e.origin, "warning", f"{e.text}: {put_off}") for e in self._faults), *said)

    @abstractmethod
    def _compile(self, lines: Iterable[Origin], fault: Fault) -> list[Problem]:
        """Make `lines` the rules of this table, or let what `fault` raises pass and change nothing. Gives warnings."""

    def _found(self, step: Step, key: str, value: str) -> Found:
        return Found(value, key, self.name, step.origin)


def written_out(text: str, origin: Origin) -> list[Origin]:
    """The rules of `{ {rule}, {rule} }` as lines. Raises ConfigError at `origin`."""
    if not text.endswith("}"):
        raise ConfigError(origin, f'need "{{ {{rule}}, ... }}" instead of "{text[:60]}"')
    try:
        rules = split(text[1:-1])
    except ValueError as error:
        raise ConfigError(origin, str(error)) from error
    for rule in rules:
        if not (rule.startswith("{") and rule.endswith("}")) or not rule[1:-1].strip(SPACE):
            raise ConfigError(origin, f'need "{{rule}}" instead of "{rule[:60]}"')
    return [Origin(origin.file, origin.line, rule[1:-1].strip(SPACE)) for rule in rules]
