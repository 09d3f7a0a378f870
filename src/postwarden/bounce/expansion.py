"""`$name` in the text of a template: parameters, and times in a unit of the operator's choice (bounce(5))."""

import os
import re

from msgspec import Struct

from postwarden.bounce.templates import Template, TemplateError, built_in, parse
from postwarden.config.errors import ConfigError
from postwarden.config.expand import ExpandError, Lookup, expand
from postwarden.config.settings import Settings
from postwarden.mail.decision import Origin

_TIMES = ("delay_warning_time", "maximal_queue_lifetime")
_SECONDS = {"seconds": 1, "minutes": 60, "hours": 3600, "days": 86400, "weeks": 604800}
_LIMIT = 1 << 20
_PLAIN = re.compile(r"\$[{(]?(\w+)(?![\w?:])", re.ASCII)


class Texts(Struct, frozen=True):
    """The templates of a configuration, and what was wrong with its file."""

    templates: dict[str, Template]
    """As written."""
    expanded: dict[str, tuple[str, ...]]
    warnings: tuple[str, ...]


def open_texts(settings: Settings, file: str, origin: Origin) -> Texts:
    """`file` empty: the built-in ones. Raises ConfigError."""
    templates, warnings = open_templates(file, origin)
    texts = {kind: _expanded(template, settings, warnings) for kind, template in templates.items()}
    return Texts(templates, texts, tuple(warnings))


def open_templates(file: str, origin: Origin) -> tuple[dict[str, Template], list[str]]:
    """All four, and what was wrong with some. `file` empty: the built-in ones. Raises ConfigError."""
    if not file:
        return built_in(), []
    try:
        return parse(_read(file, origin), file)
    except TemplateError as error:
        raise ConfigError(error.origin, str(error)) from error


def _read(file: str, origin: Origin) -> bytes:
    """Raises ConfigError."""
    try:
        with open(os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as stream:
            data = stream.read(_LIMIT + 1)
    except OSError as error:
        raise ConfigError(origin, f"open {file}: {error.strerror}") from error
    if len(data) > _LIMIT:
        raise ConfigError(Origin(file, 0, ""), f"larger than {_LIMIT} bytes")
    return data


def _expanded(template: Template, settings: Settings, warnings: list[str]) -> tuple[str, ...]:
    def lookup(name: str) -> str | None:
        for time in _TIMES:
            if name.startswith(time + "_"):
                return _in_unit(template, settings, (time, name), warnings)
        return settings.raw(name)

    return tuple([_line(template, line, lookup) for line in template.text])


def _line(template: Template, line: str, lookup: Lookup) -> str:
    undefined: list[str] = []

    def known(name: str) -> str | None:
        value = lookup(name)
        if value is None and name in _PLAIN.findall(line):
            undefined.append(name)
        return value

    try:
        text = expand(line, known)
    except ExpandError as error:
        text = f"bad $name syntax in {template.kind} template: {line} ({error})"
        raise ConfigError(Origin(template.place, 0, line), text) from error
    if undefined:
        raise ConfigError(Origin(template.place, 0, line), f"undefined $name in {template.kind} template: {line}")
    return text


def _in_unit(template: Template, settings: Settings, names: tuple[str, str], warnings: list[str]) -> str:
    time, name = names
    unit = name[len(time) + 1 :]
    if unit not in _SECONDS:
        raise ConfigError(Origin(template.place, 0, name), f'unrecognized suffix "{unit}" in parameter "{name}"')
    seconds = settings.number(time)
    amount = seconds // _SECONDS[unit]
    if seconds and not amount:
        warnings.append(
            f'{template.place}: zero result in {template.kind} template conversion of parameter "{name}",'
            f' please reduce time unit "{unit}"'
        )
    return str(amount)
