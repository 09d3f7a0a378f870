"""A stage's frozen view of the parameters that it reads."""

from typing import Any, TypeVar

import msgspec

from postwarden.config.parameters import Kind, find
from postwarden.config.settings import Settings

T = TypeVar("T", bound=msgspec.Struct)

_TYPES: dict[Kind, Any] = {
    Kind.STRING: str,
    Kind.RAW: str,
    Kind.BOOL: bool,
    Kind.INT: int,
    Kind.TIME: int,
    Kind.LIST: tuple[str, ...],
    Kind.MAPS: tuple[str, ...],
}


def view(cls: type[T], settings: Settings, service: str = "", *, stress: bool = False) -> T:
    """`cls` filled from `settings`: each of its fields bears a parameter's name and the type of its kind.

    Raises ConfigError for a bad value, RuntimeError for a class that does not fit the table.
    """
    check_view(cls)
    values = {f.name: settings.value(f.name, service, stress=stress) for f in msgspec.structs.fields(cls)}
    return cls(**values)


def check_view(cls: type[msgspec.Struct]) -> None:
    """RuntimeError where a field of `cls` has no parameter or another type."""
    for field in msgspec.structs.fields(cls):
        parameter = find(field.name)
        if parameter is None:
            raise RuntimeError(f"{cls.__name__}.{field.name}: no such parameter")
        if field.type != _TYPES[parameter.kind]:
            raise RuntimeError(f"{cls.__name__}.{field.name}: a {parameter.kind.value} is {_TYPES[parameter.kind]}")
