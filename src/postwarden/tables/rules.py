"""Tables that are a list of patterns, tried in order, with if ... endif round some: regexp: and cidr:."""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from msgspec import Struct

from postwarden.config.errors import ConfigError
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


Compile = Callable[[str, Origin], tuple[Pattern, str]]
"""Reads a pattern at the start of a text; gives it and what is left. Raises ConfigError."""


def parse_rules(lines: Iterable[Origin], compile_pattern: Compile) -> list[Step]:
    """The steps of a table. Raises ConfigError with file and line."""
    steps: list[Step] = []
    open_ifs: list[Step] = []
    for origin in lines:
        text = origin.text
        first = FIRST_WORD.match(text)
        word = first[0].lower() if first else ""
        if word == "endif":
            if not open_ifs:
                raise ConfigError(origin, "endif without if")
            if text[5:].strip(SPACE):
                raise ConfigError(origin, f'text behind endif: "{text[5:].strip(SPACE)[:60]}"')
            open_ifs.pop().skip = len(steps)
            continue
        is_if = word == "if" or (text[:2].lower() == "if" and text[2:3] in ("/", "!"))
        step = _step(text[2:].lstrip(SPACE) if is_if else text, origin, compile_pattern, is_if=is_if)
        if is_if:
            open_ifs.append(step)
        steps.append(step)
    if open_ifs:
        raise ConfigError(open_ifs[-1].origin, "if without endif")
    return steps


def run(steps: Sequence[Step], key: str) -> tuple[Step, Groups] | None:
    """The first rule that holds for `key`, with what it matched."""
    at = 0
    while at < len(steps):
        step = steps[at]
        matched = step.pattern.match(key, negated=step.negated)
        if step.value is None:
            at = step.skip if matched is None else at + 1
        elif matched is None:
            at += 1
        else:
            return step, matched
    return None


def _step(text: str, origin: Origin, compile_pattern: Compile, *, is_if: bool) -> Step:
    negated = False
    while text.startswith("!"):
        negated = not negated
        text = text[1:].lstrip(SPACE)
    if not text:
        raise ConfigError(origin, "a pattern is missing")
    pattern, rest = compile_pattern(text, origin)
    if is_if:
        if rest.strip(SPACE):
            raise ConfigError(origin, f'text behind the pattern of an if: "{rest.strip(SPACE)[:60]}"')
        return Step(pattern, negated, None, origin)
    value = rest.strip(SPACE)
    if not value:
        raise ConfigError(origin, "no text behind the pattern")
    return Step(pattern, negated, value, origin)


class RuleTable(SourceTable):
    """Base of the tables of this kind. The rules may also stand in the name: `regexp:{{/a/ b}, {/c/ d}}`."""

    fixed = False

    def __init__(self, name: str, file: str, origin: Origin) -> None:
        """`origin` is where the name was written. Raises ConfigError with file and line."""
        self._steps: list[Step] = []
        self._inline = written_out(file, origin) if file.startswith("{") else None
        super().__init__(name, () if self._inline is not None else (file,))

    def _load(self) -> None:
        if self._inline is not None:
            self._compile(self._inline)
        else:
            file = self._files[0]
            self._compile(logical_lines(read(file), file))

    @abstractmethod
    def _compile(self, lines: Iterable[Origin]) -> None:
        """Make `lines` the rules of this table, or raise ConfigError and change nothing."""

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
