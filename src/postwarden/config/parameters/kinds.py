"""What a parameter is: name, kind, default, bounds, standing; and one short constructor a kind."""

from enum import Enum

from msgspec import Struct


class Kind(Enum):
    STRING = "string"
    RAW = "raw"
    """Not expanded at load: `$name` in it belongs to a message or a recipient."""
    BOOL = "bool"
    INT = "int"
    TIME = "time"
    """Whole seconds; a unit s, m, h, d or w may follow the number."""
    LIST = "list"
    """Parted by comma or white space; a group in braces is one element and keeps its braces."""
    MAPS = "maps"
    """A list of `type:name`."""


class Standing(Enum):
    """What a setting of the operator does. Nothing is silently ignored."""

    WORKS = "works"
    NO_EFFECT = "accepted without effect"
    REFUSED = "refused"
    NOT_YET = "not yet"


class Parameter(Struct, frozen=True):
    name: str
    kind: Kind
    default: str
    """As it would be written in main.cf, `$names` and all."""
    low: int = 0
    high: int = 0
    """0: no upper bound."""
    unit: str = "s"
    """Of a time that is written without one."""


def text(name: str, default: str = "") -> Parameter:
    return Parameter(name, Kind.STRING, default)


def raw(name: str, default: str = "") -> Parameter:
    return Parameter(name, Kind.RAW, default)


def switch(name: str, default: str = "no") -> Parameter:
    return Parameter(name, Kind.BOOL, default)


def number(name: str, default: str, low: int = 0, high: int = 0) -> Parameter:
    return Parameter(name, Kind.INT, default, low, high)


def time(name: str, default: str, low: int = 1, unit: str = "") -> Parameter:
    """`unit` is needed only where the default does not end in one."""
    return Parameter(name, Kind.TIME, default, low, unit=unit or default[-1])


def items(name: str, default: str = "") -> Parameter:
    return Parameter(name, Kind.LIST, default)


def maps(name: str, default: str = "") -> Parameter:
    return Parameter(name, Kind.MAPS, default)
