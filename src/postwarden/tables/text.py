"""Text of tables: `key value` lines (postmap(1)) and `key: value` lines (aliases(5))."""

import re
from collections.abc import Iterator

from msgspec import Struct

from postwarden.config.errors import ConfigError, Fault, Problem, refuse
from postwarden.config.lines import FIRST_WORD, SPACE, logical_lines
from postwarden.mail.decision import Origin
from postwarden.tables.keys import folded

_ESCAPED = re.compile(r'("(?:[^"\\]|\\.)*"?)|\\([A-Za-z0-9_])')
"""As postalias has it: a backslash quotes what needs no quotes."""
_ALIAS_NAME = re.compile(r'(?:"(?:[^"\\]|\\.)*"|[^\s"\\:,()<>]|\\.)+')

_ALIAS_LINE = re.compile(r'(?:"(?:[^"\\]|\\.)*"|[^\s":]+)(?:\s*:(?:\s|$)|:\S*$|\s*:[^\s:]+\s*$)')


class Line(Struct, frozen=True):
    key: str
    """As written; whoever stores it folds it to lower case."""
    value: str
    origin: Origin


def map_lines(data: bytes, file: str, fault: Fault = refuse) -> Iterator[Line]:
    """Lines `key value`. `fault` hears of one without a value."""
    for origin in logical_lines(data, file, fault):
        key, value = _split_key(origin)
        if value:
            yield Line(key, value, origin)
        else:
            fault(ConfigError(origin, "expected format: key whitespace value"))


def alias_lines(data: bytes, file: str, fault: Fault = refuse) -> Iterator[Line]:
    """Lines `name: value`. The name may be quoted, wholly or in part. `fault` hears of other lines."""
    for origin in logical_lines(data, file, fault):
        name = _ALIAS_NAME.match(origin.text)
        if name is None:
            fault(ConfigError(origin, "an alias begins with its name"))
            continue
        rest = origin.text[name.end() :].lstrip(SPACE)
        value = _ESCAPED.sub(lambda found: found[2] or found[0], rest[1:].strip(SPACE))
        if not rest.startswith(":"):
            fault(ConfigError(origin, 'no ":" behind the name of an alias'))
        elif not value:
            fault(ConfigError(origin, f"nothing behind the alias {name[0]}"))
        else:
            yield Line(_unquoted(name[0]), value, origin)


def looks_like_aliases(data: bytes, file: str) -> bool:
    """Every line of it is `name: value`. Somebody who knows which it is should say so and not ask."""
    texts = [origin.text for origin in logical_lines(data, file, lambda error: None)]
    return bool(texts) and all(_ALIAS_LINE.match(text) for text in texts)


def index(lines: Iterator[Line], *, fold: bool = True) -> tuple[dict[str, tuple[str, Origin]], list[Problem]]:
    """Lines by key. Of two with one key the first counts, as with postmap, and the other gives a warning."""
    found: dict[str, tuple[str, Origin]] = {}
    problems: list[Problem] = []
    for line in lines:
        key = folded(line.key) if fold else line.key
        if key in found:
            problems.append(Problem(line.origin, "warning", f'duplicate entry: "{key}"'))
        else:
            found[key] = (line.value, line.origin)
    return found, problems


def _split_key(origin: Origin) -> tuple[str, str]:
    text = origin.text
    if text.startswith('"'):
        # A quoted local part may hold white space: "john doe"@example.com
        key, value = _quoted_head(text)
    else:
        word = FIRST_WORD.match(text)
        key, value = (word[0], text[word.end() :]) if word else ("", "")
    return key, value.strip(SPACE)


def _quoted_head(text: str) -> tuple[str, str]:
    """`text` parted at the first white space outside quotes."""
    quoted = False
    skip = False
    for at, char in enumerate(text):
        if skip:
            skip = False
        elif char == "\\":
            skip = True
        elif char == '"':
            quoted = not quoted
        elif char in SPACE and not quoted:
            return text[:at], text[at + 1 :]
    return text, ""


def _unquoted(name: str) -> str:
    if '"' not in name and "\\" not in name:
        return name
    return re.sub(r"\\(.)", r"\1", re.sub(r'(?<!\\)"', "", name))
