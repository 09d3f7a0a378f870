"""What is wrong with a configuration, and where."""

from collections.abc import Callable
from typing import NoReturn

from msgspec import Struct

from postwarden.mail.decision import Origin


class ConfigError(Exception):
    """The configuration can't be used. `str()` names file and line."""

    def __init__(self, origin: Origin, text: str) -> None:
        super().__init__(origin, text)
        self.origin = origin
        self.text = text

    def __str__(self) -> str:
        return f"{self.origin}: {self.text}" if self.origin.file else self.text


Fault = Callable[[ConfigError], None]
"""Hears what is wrong with a line, and raises it, or returns: then the line is left out."""


def refuse(error: ConfigError) -> NoReturn:
    """The Fault of a file in which every line has to be right."""
    raise error


class Problem(Struct, frozen=True, array_like=True):
    """Something an operator should hear of."""

    origin: Origin
    severity: str
    """`error`: start is refused; `warning`: it is not."""
    text: str

    def __str__(self) -> str:
        where = f"{self.origin}: " if self.origin.file else ""
        return f"{self.severity}: {where}{self.text}"
