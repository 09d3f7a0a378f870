"""Expanded texts as typed values."""

import re

from postwarden.config.expand import ExpandError, closing
from postwarden.config.lines import SPACE
from postwarden.config.parameters.kinds import Kind, Parameter

Value = str | bool | int | tuple[str, ...]

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_SEPARATORS = SPACE + ","
_WORD = re.compile(f"[^{_SEPARATORS}]+")


def typed(parameter: Parameter, text: str) -> Value:
    """`text` as the kind of `parameter`. Raises ValueError with a text for the operator."""
    kind = parameter.kind
    if kind is Kind.BOOL:
        return boolean(parameter.name, text)
    if kind is Kind.INT:
        return _bounded(parameter, integer(parameter.name, text), text)
    if kind is Kind.TIME:
        return _bounded(parameter, seconds(parameter.name, text, parameter.unit), text)
    if kind is Kind.LIST or kind is Kind.MAPS:
        return split(text)
    return text


def boolean(name: str, text: str) -> bool:
    lowered = text.lower()
    if lowered not in ("yes", "no"):
        raise ValueError(f"bad boolean configuration: {name} = {text}")
    return lowered == "yes"


def integer(name: str, text: str) -> int:
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) < 19):
        raise ValueError(f"bad numerical configuration: {name} = {text}")
    return int(text)


def seconds(name: str, text: str, unit: str) -> int:
    """`text` in seconds; `unit` counts where the text has none."""
    digits = text
    if text[-1:].lower() in _SECONDS:
        digits, unit = text[:-1], text[-1].lower()
    if not (digits.isascii() and digits.isdigit() and len(digits) < 12):
        raise ValueError(f"parameter {name}: bad time value or unit: {text}")
    return int(digits) * _SECONDS[unit]


def split(text: str) -> tuple[str, ...]:
    """Elements parted by comma and white space. Braces keep what is in them together, and stay. Raises ValueError."""
    if "{" not in text:
        return tuple(_WORD.findall(text))
    found: list[str] = []
    start = at = 0
    while at < len(text):
        if text[at] == "{":
            try:
                at = closing(text, at)
            except ExpandError as error:
                raise ValueError(f'missing "}}" in "{text}"') from error
        elif text[at] in _SEPARATORS:
            if at > start:
                found.append(text[start:at])
            start = at + 1
        at += 1
    if start < len(text):
        found.append(text[start:])
    return tuple(found)


def _bounded(parameter: Parameter, value: int, text: str) -> int:
    if value < parameter.low or (parameter.high and value > parameter.high):
        limit = f"at least {parameter.low}" if value < parameter.low else f"at most {parameter.high}"
        raise ValueError(f"invalid {parameter.name} parameter value {text}: must be {limit}")
    return value
