"""The environment that programs are given: what the operator exports, and a path of our own."""

import os
from collections.abc import Mapping

PATH = "/usr/bin:/bin"


def exported(names: tuple[str, ...], ours: Mapping[str, str]) -> dict[str, str]:
    """export_environment: `NAME` with our value where we have one, or `NAME=value`."""
    found: dict[str, str] = {}
    for name in names:
        # A value with white space stands in braces: { NAME = a b }.
        name, equals, value = name.strip("{} \t").partition("=")
        if equals:
            found[name.strip()] = value.strip()
        elif name in ours:
            found[name] = ours[name]
    return {**found, "PATH": PATH}


def given(imported: tuple[str, ...], names: tuple[str, ...], config_directory: str) -> dict[str, str]:
    """What every program is given: of import_environment what export_environment names."""
    return exported(names, {**exported(imported, os.environ), "MAIL_CONFIG": config_directory})


def harmless(text: str, allowed: frozenset[str]) -> str:
    """`text` from a stranger for a shell: every character that is not `allowed` becomes an underscore."""
    return "".join([char if char in allowed else "_" for char in text])
