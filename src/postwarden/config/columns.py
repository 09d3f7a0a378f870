"""An entry of master.cf as tools print and write it."""

from postwarden.config.arguments import Argument
from postwarden.config.written import Row

WIDTH = 80
INDENT = "    "
_COLUMNS = (0, 11, 17, 25, 33, 41, 49, 57)
"""Where the columns of an entry begin; one that is too long moves the next, not all."""


def entry(row: Row, *, fold: bool) -> str:
    """One entry of master.cf, its columns aligned."""
    text = ""
    for column, start in zip(row.columns, _COLUMNS, strict=False):
        text = (f"{text} " if text else "").ljust(start) + column
    return command(f"{text} ".ljust(_COLUMNS[-1]), row.command, row.arguments, fold=fold)


def command(start: str, name: str, arguments: list[Argument], *, fold: bool) -> str:
    """`start` and the command with its arguments; folded, each `-o` has a line of its own."""
    if not fold:
        return " ".join([start + name, *map(str, arguments)])
    rows = [start + name]
    own_line = False
    for argument in arguments:
        if argument.option == "-o" and argument.value is not None:
            rows.append(f"{INDENT}{argument}")
            own_line = True
        elif own_line or len(rows[-1]) + 1 + len(str(argument)) >= WIDTH:
            rows.append(f"{INDENT}{argument}")
            own_line = False
        else:
            rows[-1] += f" {argument}"
    return "\n".join(rows)
