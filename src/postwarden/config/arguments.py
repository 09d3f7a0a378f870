"""The arguments of a daemon in master.cf, in the one form that tools show: `-o name=value` apart, braces without
white space inside."""

from msgspec import Struct

from postwarden.config.expand import ExpandError, closing
from postwarden.config.lines import SPACE


class Argument(Struct, frozen=True):
    """An option (`-v`), an option with its value (`-o name=value`), or a word."""

    option: str = ""
    value: str | None = None
    braces: bool = True
    """Whether the value needs them when it has white space in it."""

    def __str__(self) -> str:
        if self.value is None:
            return self.option
        word = f"{{{self.value}}}" if self.braces and any(c in SPACE for c in self.value) else self.value
        return f"{self.option} {word}" if self.option else word


def normalised(words: list[str], warnings: list[str]) -> list[Argument]:
    """`words` as arguments. Options end with the first word that is none, as getopt(3) has it."""
    found: list[Argument] = []
    rest = list(words)
    while rest:
        word = _inner(rest.pop(0), warnings)
        if not word.startswith("-") or word in ("-", "--"):
            found.append(Argument("", word, braces=False))
            found += [Argument("", _inner(other, warnings)) for other in rest]
            break
        before, o, value = word.partition("o")
        if not o:
            found.append(Argument(word))
            continue
        if before != "-":
            found.append(Argument(before))
        found.append(_setting(value or (rest.pop(0) if rest else None), warnings))
    return found


def overrides(arguments: list[Argument]) -> dict[str, str]:
    """What the `-o name=value` among them say; what has another form says nothing."""
    found = {}
    for argument in arguments:
        if argument.option == "-o" and argument.value is not None:
            name, equals, value = argument.value.partition("=")
            if equals and name and not any(c in SPACE for c in name):
                found[name] = value
    return found


def _setting(text: str | None, warnings: list[str]) -> Argument:
    if text is None:
        return Argument("-o")
    if not text.startswith("{"):
        return Argument("-o", text)
    inner = _inner(text, warnings)
    name, equals, value = inner.partition("=")
    name = name.rstrip(SPACE)
    if not equals or len(name.split()) != 1:
        warnings.append(f"master.cf: missing '=' after attribute name: \"{inner}\"")
        return Argument("-o", inner)
    return Argument("-o", f"{name}={value.lstrip(SPACE)}")


def _inner(word: str, warnings: list[str]) -> str:
    """A word in braces without them and without white space at their inside."""
    if not word.startswith("{"):
        return word
    try:
        end = closing(word, 0)
    except ExpandError:
        warnings.append(f"master.cf: missing '}}' in \"{word}\"")
        return word[1:].strip(SPACE)
    if word[end + 1 :]:
        warnings.append(f"master.cf: syntax error after '}}' in \"{word}\"")
    return word[1:end].strip(SPACE)
