"""main.cf: `name = value` a logical line."""

import re

from postwarden.config.entries import Entry
from postwarden.config.errors import ConfigError, Problem
from postwarden.config.lines import SPACE, logical_lines
from postwarden.config.physical import without_stray
from postwarden.mail.decision import Origin

_NAME = re.compile(r"[^\s={}$]+")


def parse_main_cf(data: bytes, file: str) -> tuple[dict[str, Entry], list[Problem]]:
    """The entries by name, the last of a name counts; and warnings. Raises ConfigError for a line of another form."""
    entries: dict[str, Entry] = {}
    data, problems = without_stray(data, file)
    for origin in logical_lines(data, file):
        name, value = parse_entry(origin.text, origin)
        before = entries.get(name)
        if before is not None and before.value != value:
            text = f"overriding earlier entry: {name}={before.value}"
            problems.append(Problem(origin, "warning", text))
        entries[name] = Entry(value, origin)
    return entries, problems


def parse_entry(text: str, origin: Origin) -> tuple[str, str]:
    """`name = value`, as (name, value). Raises ConfigError."""
    name, equals, value = text.partition("=")
    name = name.strip(SPACE)
    if not equals:
        raise ConfigError(origin, f'missing "=" after attribute name: "{_short(text)}"')
    if not name:
        raise ConfigError(origin, f'missing attribute name: "{_short(text)}"')
    if _NAME.fullmatch(name) is None:
        raise ConfigError(origin, f'bad attribute name: "{_short(name)}"')
    return name, value.strip(SPACE)


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:60]}..."
