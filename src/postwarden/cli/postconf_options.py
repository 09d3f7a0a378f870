"""The command line of postconf(1)."""

import os

from msgspec import Struct, field

from postwarden.cli.tool import Misuse, options
from postwarden.config.written import name_and_value

LETTERS = "aAbc:C:deEfFhHjlmMno:pPqtT:vxX#"
USAGE = (
    "usage: {0} [-a (server SASL types)] [-A (client SASL types)] [-b (bounce templates)] [-c config_dir] "
    "[-C param_class] [-d (parameter defaults)] [-e (edit configuration)] [-f (fold lines)] [-F (master.cf fields)] "
    "[-h (no names)] [-H (no values)] [-j (JSON)] [-l (lock types)] [-m (map types)] [-M (master.cf)] "
    "[-n (non-default parameters)] [-o name=value (override parameter value)] [-p (main.cf, default)] "
    "[-P (master.cf parameters)] [-q (no warnings)] [-t (bounce templates)] "
    "[-T compile-version|run-version|public-key-algorithms] [-v (verbose)] [-x (expand parameter values)] "
    "[-X (exclude)] [-# (comment-out)] [name...]"
)
CLASSES = ("builtin", "service", "user")

_MODES = "aAbFlmMpPtT"
_EDITS = "eX#"
_ORDER = "aAbCdefFhHjlmMnopPqtTxX#"
"""In which a sentence names two of them."""
_EXCLUDED = dict.fromkeys("aAblmtT", "#HXdefhnoxjq") | {"M": "Hdhn", "F": "#Xdn", "P": "#dn"}
_JSON = frozenset("aAlmMFPp")
_SHOWING = "dfhHjnox"


class Options(Struct):
    """What the command line asks for."""

    directory: str
    mode: str = "p"
    edit: str = ""
    """`e`, `X` or `#`."""
    flags: frozenset[str] = frozenset()
    classes: frozenset[str] = frozenset(CLASSES)
    overrides: dict[str, str] = field(default_factory=dict)
    tls: str = ""
    words: list[str] = field(default_factory=list)


def parse(words: list[str]) -> Options:
    """Raises ValueError with a text for the user; Misuse."""
    rest = list(words)
    found = Options(os.environ.get("MAIL_CONFIG", "") or "/etc/postfix")
    given: list[str] = []
    for letter, value in options(rest, LETTERS):
        if letter == "c":
            found.directory = value
        elif letter == "C":
            found.classes = _classes(value)
        elif letter == "o":
            key, text = _override(value)
            found.overrides[key] = text
        elif letter == "T":
            found.tls = value
        given.append("e" if letter == "E" else letter)
    found.words = rest
    flags = set(given) - set("cCv")
    modes = flags & set(_MODES)
    if {"b", "t"} <= modes:
        raise ValueError("specify one of -b and -t")
    if not modes & set("aAblmtT") and "=" in "".join(rest[:1]):
        flags.add("e")
    _check(flags)
    found.flags = frozenset(flags)
    found.mode = next(iter(modes), "p")
    found.edit = next((letter for letter in _EDITS if letter in flags), "")
    if found.edit and not rest:
        raise ValueError("-e requires name=value argument" if found.edit == "e" else "missing service argument")
    return found


def _check(flags: set[str]) -> None:
    """Raises ValueError for options that exclude one another."""
    for first in _ORDER:
        for second in _ORDER[_ORDER.index(first) + 1 :]:
            if {first, second} <= flags and _conflict(first, second):
                raise ValueError(f"specify one of -{first} -{second}")
    for mode in _MODES:
        for other in _ORDER:
            if mode in flags and other in flags and other in _EXCLUDED.get(mode, "").replace("j", _no_json(mode)):
                raise ValueError(f"with option -{mode}, do not specify -{other}")


def _no_json(mode: str) -> str:
    return "" if mode in _JSON else "j"


def _conflict(first: str, second: str) -> bool:
    pair = {first, second}
    if pair <= set(_MODES) or pair <= set(_EDITS):
        return True
    if pair & set(_EDITS) and pair & set(_SHOWING):
        return True
    return pair in ({"d", "n"}, {"d", "o"}, {"h", "H"}, {"h", "j"}, {"H", "j"}, {"f", "j"})


def _classes(text: str) -> frozenset[str]:
    found = set[str]()
    for word in text.replace(",", " ").split():
        if word == "all":
            found |= set(CLASSES)
        elif word in CLASSES:
            found.add(word)
        else:
            raise ValueError(f'unknown -C option value "{word}" in "{text}"')
    return frozenset(found)


def _override(text: str) -> tuple[str, str]:
    try:
        return name_and_value(text)
    except ValueError as error:
        raise ValueError(f"invalid parameter override: {text}: {error}") from error


__all__ = ("CLASSES", "USAGE", "Misuse", "Options", "parse")
