"""Client libraries of the operating system, those that Postfix itself stands on."""

import ctypes
from collections.abc import Mapping
from typing import Any

Signatures = Mapping[str, tuple[Any, list[Any]]]
"""The result and the parameters of each function."""


class LibraryMissing(Exception):
    """The text says what to install."""


def load(names: tuple[str, ...], package: str, functions: Signatures) -> Any:
    """The first library of `names` that is there. Calls let other threads run. Raises LibraryMissing."""
    for name in names:
        try:
            found = ctypes.CDLL(name)
        except OSError:
            continue
        try:
            for function, (result, parameters) in functions.items():
                entry = getattr(found, function)
                entry.restype, entry.argtypes = result, parameters
        except AttributeError as error:
            raise LibraryMissing(f"the library {name} is too old or not the one that is needed: {error}") from error
        return found
    raise LibraryMissing(f"the library {names[0]} is needed: install it (Debian: {package})")


def encoded(text: str) -> bytes:
    """A text of the configuration, with the bytes that it has there."""
    return text.encode("utf-8", "surrogateescape")


def decoded(data: bytes) -> str:
    """The text that `encoded` makes these bytes of."""
    return data.decode("utf-8", "surrogateescape")
