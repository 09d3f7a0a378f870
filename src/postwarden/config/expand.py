"""`$name` in values: `$name`, `${name}`, `$(name)`, `${name?text}`, `${name:text}`, `${name?{a}:{b}}`,
`${{a} == {b} ? {c} : {d}}`, `$$`. Texts may hold more of the same, to any sensible depth.

An unknown name gives the empty text, as in Postfix: `stress` and old names of parameters are asked for in that way.
"""

import re
from collections.abc import Callable

from postwarden.config.lines import SPACE

Lookup = Callable[[str], str | None]
"""The raw text of a name; None: not known."""

DEPTH = 100
LIMIT = 1_000_000
"""Characters of all results. `a = $b$b`, `b = $c$c`, … doubles with each level, so that depth alone bounds nothing."""

STEP = 100
"""What a reference counts for, even to nothing."""

_DIGITS = 18
"""Of a number; Python would take its time for a million of them."""

_NAME = re.compile(r"[A-Za-z0-9_]+")
_OPERATOR = re.compile(r"\s*(==|!=|<=level|>=level|<level|>level|==level|!=level|<=|>=|<|>)\s*(?=\{)")


class ExpandError(ValueError):
    """Bad syntax, or a name that refers to itself."""


def expand(text: str, lookup: Lookup) -> str:
    """`text` with every reference replaced. Raises ExpandError."""
    return _Expansion(lookup).run(text, 0) if "$" in text else text


def references(text: str) -> set[str]:
    """The names that `text` refers to itself, in whatever branch."""
    return set(re.findall(r"\$[({]?([A-Za-z0-9_]+)", text))


def scan(text: str) -> tuple[list[str], ExpandError | None]:
    """The names that `text` refers to, in every branch, up to the first mistake in it; and that mistake."""
    found: list[str] = []
    try:
        _Scan(found.append).run(text, 0)
    except ExpandError as error:
        return found, error
    return found, None


def closing(text: str, start: int) -> int:
    """Index of the bracket that closes the one at `start`. Raises ExpandError."""
    opener = text[start]
    closer = ")" if opener == "(" else "}"
    depth = 0
    for index in range(start, len(text)):
        if text[index] == opener:
            depth += 1
        elif text[index] == closer:
            depth -= 1
            if depth == 0:
                return index
    raise ExpandError(f'missing "{closer}" in "{text[start - 1 :] if start else text}"')


class _Expansion:
    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup
        self._spent = 0
        self._last = ""
        """The name that was asked for last: of a loop, one of its names."""

    def run(self, text: str, depth: int) -> str:
        if depth > DEPTH:
            raise ExpandError(f'unreasonable macro call nesting: "{self._last or text[:60]}"')
        parts: list[str] = []
        at = 0
        while (dollar := text.find("$", at)) >= 0:
            parts.append(text[at:dollar])
            value, at = self._reference(text, dollar, depth)
            parts.append(value)
        parts.append(text[at:])
        result = "".join(parts)
        self._spent += len(result) + STEP
        if self._spent > LIMIT:
            raise ExpandError("the value grows too long")
        return result

    def _reference(self, text: str, dollar: int, depth: int) -> tuple[str, int]:
        """The value of the reference at `dollar`, and the index behind it."""
        following = text[dollar + 1 : dollar + 2]
        if following == "$":
            return "$", dollar + 2
        if following in ("{", "("):
            end = closing(text, dollar + 1)
            return self._bracketed(text[dollar + 2 : end], depth), end + 1
        name = _NAME.match(text, dollar + 1)
        if name is None:
            raise ExpandError(f'bad macro syntax: "{text}"')
        return self._name(name[0], depth), name.end()

    def _name(self, name: str, depth: int) -> str:
        value = self._lookup(name)
        self._last = name
        return self.run(value, depth + 1) if value else ""

    def _bracketed(self, inside: str, depth: int) -> str:
        if inside.startswith("{"):
            return self._relation(inside, depth)
        name = _NAME.match(inside := inside.lstrip(SPACE))
        if name is None:
            raise ExpandError(f'empty or bad macro name: "{inside}"')
        rest = inside[name.end() :]
        if not rest.strip(SPACE):
            return self._name(name[0], depth)
        wanted, other = _branches(rest)
        # What is written decides, as in Postfix: `b = $empty` is not empty.
        return self._chosen(bool(self._lookup(name[0])), wanted, other, depth + 1)

    def _relation(self, inside: str, depth: int) -> str:
        end = closing(inside, 0)
        operator = _OPERATOR.match(inside, end + 1)
        if operator is None:
            raise ExpandError(f'bad relational expression: "{inside}"')
        right_end = closing(inside, operator.end())
        left = self.run(inside[1:end], depth + 1)
        right = self.run(inside[operator.end() + 1 : right_end], depth + 1)
        holds = self._compare(left, operator[1], right)
        rest = inside[right_end + 1 :]
        if not rest.strip(SPACE):
            return "true" if holds else ""
        wanted, other = _branches(rest)
        return self._chosen(holds, wanted, other, depth + 1)

    def _chosen(self, holds: bool, wanted: str, other: str, depth: int) -> str:
        return self.run(wanted if holds else other, depth)

    def _compare(self, left: str, operator: str, right: str) -> bool:
        return _compare(left, operator, right)


class _Scan(_Expansion):
    """Goes into both branches, and takes no side."""

    def __init__(self, see: Callable[[str], None]) -> None:
        super().__init__(see)

    def _chosen(self, holds: bool, wanted: str, other: str, depth: int) -> str:
        self.run(wanted, depth)
        self.run(other, depth)
        return ""

    def _compare(self, left: str, operator: str, right: str) -> bool:
        return False


def _branches(rest: str) -> tuple[str, str]:
    """What follows the condition, as (text if it holds, text if not): `?a`, `:b`, `?{a}`, `:{b}`, `?{a}:{b}`, `?{a}:b`.

    White space counts within braces and in a text without them.
    """
    rest = rest.lstrip(SPACE)
    mark, rest = rest[0], rest[1:]
    if mark not in "?:":
        raise ExpandError(f'expecting "?" or ":" instead of "{mark}{rest}"')
    first, rest = _branch(rest)
    if not rest:
        return (first, "") if mark == "?" else ("", first)
    if mark != "?" or not rest.startswith(":"):
        raise ExpandError(f'unexpected text "{rest}"')
    other, rest = _branch(rest[1:])
    if rest:
        raise ExpandError(f'unexpected text "{rest}"')
    return first, other


def _branch(text: str) -> tuple[str, str]:
    """The text in braces at the start, and what follows it; without braces, all of it."""
    stripped = text.lstrip(SPACE)
    if not stripped.startswith("{"):
        return text, ""
    end = closing(stripped, 0)
    return stripped[1:end], stripped[end + 1 :].lstrip(SPACE)


def level(text: str) -> tuple[int, ...]:
    """A compatibility level, `3`, `3.6` or `3.6.1`, for comparison. Raises ExpandError."""
    parts = text.lstrip(SPACE).removeprefix("+").split(".")
    if not 1 <= len(parts) <= 3 or not all(p.isascii() and p.isdigit() and len(p) < 8 for p in parts):
        raise ExpandError(f'bad compatibility level: "{text}"')
    return tuple(int(p) for p in parts) + (0,) * (3 - len(parts))


def _compare(left: str, operator: str, right: str) -> bool:
    if operator.endswith("level"):
        return _ordered(level(left), operator.removesuffix("level"), level(right))
    if left.isascii() and left.isdigit() and right.isascii() and right.isdigit():
        if max(len(left), len(right)) > _DIGITS:
            raise ExpandError(f'bad conversion: "{max(left, right, key=len)}"')
        return _ordered((int(left),), operator, (int(right),))
    return _ordered((left,), operator, (right,))


def _ordered(left: tuple[int | str, ...], operator: str, right: tuple[int | str, ...]) -> bool:
    if operator == "==":
        return left == right
    if operator == "!=":
        return left != right
    if operator == "<":
        return left < right
    if operator == "<=":
        return left <= right
    return left > right if operator == ">" else left >= right
