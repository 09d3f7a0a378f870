"""main.cf and master.cf as they are written, for the tools that show and change them.

More is let through than a gateway would start with, as Postfix's own tools do: an operator mends a file with them.
"""

from msgspec import Struct, field

from postwarden.config.arguments import Argument, normalised, overrides
from postwarden.config.entries import Entry
from postwarden.config.errors import ConfigError
from postwarden.config.expand import ExpandError, closing
from postwarden.config.lines import SPACE
from postwarden.config.physical import Statement, split_lines, statements, stray
from postwarden.mail.decision import BUILT_IN, Origin

FIELDS = ("service", "type", "private", "unprivileged", "chroot", "wakeup", "process_limit", "command")
TYPES = ("inet", "unix", "unix-dgram", "fifo", "pass")


class Row(Struct):
    """One entry of master.cf. Of two with the same key, both are rows."""

    columns: list[str]
    """FIELDS without the command."""
    command: str
    arguments: list[Argument]
    origin: Origin

    @property
    def key(self) -> str:
        return f"{self.columns[0]}/{self.columns[1]}"


class Written(Struct):
    """What both files say. `warnings` are complete lines of text."""

    entries: dict[str, Entry]
    rows: list[Row]
    warnings: list[str] = field(default_factory=list)

    def origin(self, name: str) -> Origin:
        entry = self.entries.get(name)
        return BUILT_IN if entry is None else entry.origin

    def scope(self, key: str) -> dict[str, str]:
        """What the `-o` of all rows with that key say, the last of a name."""
        found: dict[str, str] = {}
        for row in self.rows:
            if row.key == key:
                found |= overrides(row.arguments)
        return found


def name_and_value(text: str) -> tuple[str, str]:
    """`name = value`, as (name, value). Raises ValueError with Postfix's words."""
    name, equals, value = text.strip(SPACE).partition("=")
    name = name.rstrip(SPACE)
    if equals and not name:
        raise ValueError("missing attribute name")
    if not equals or len(name.split()) > 1:
        raise ValueError("missing '=' after attribute name")
    return name, value.strip(SPACE)


def read_main(data: bytes, file: str) -> tuple[dict[str, Entry], list[str]]:
    """The entries by name, and warnings. Raises ConfigError."""
    lines = list(split_lines(data))
    warnings = [_leading(file, text) for text in stray(lines)]
    entries: dict[str, Entry] = {}
    for statement in statements(lines):
        origin = Origin(file, statement.first, statement.text)
        try:
            name, value = name_and_value(statement.text)
        except ValueError as error:
            raise ConfigError(origin, f'{error}: "{statement.text}"') from error
        before = entries.get(name)
        if before is not None and before.value != value:
            warnings.append(f"{file}, line {statement.first}: overriding earlier entry: {name}={before.value}")
        entries[name] = Entry(value, origin)
    return entries, warnings


def read_master(data: bytes, file: str) -> tuple[list[Row], list[str]]:
    """The rows in order, and warnings. Raises ConfigError."""
    lines = list(split_lines(data))
    warnings = [_leading(file, text) for text in stray(lines)]
    rows: list[Row] = []
    for statement in statements(lines):
        try:
            rows.append(parse_row(statement, file, warnings))
        except ValueError as error:
            raise ConfigError(Origin(file, statement.first, statement.text), str(error)) from error
    return rows, warnings


def parse_row(statement: Statement, file: str, warnings: list[str]) -> Row:
    """Raises ValueError."""
    columns = fields(statement.text)
    if len(columns) < len(FIELDS):
        raise ValueError("bad field count")
    for name, value in zip(FIELDS, columns, strict=False):
        check_field(name, value, statement.text)
    arguments = normalised(columns[8:], warnings)
    return Row(columns[:7], columns[7], arguments, Origin(file, statement.first, statement.text))


def check_field(name: str, value: str, context: str) -> None:
    """Raises ValueError if `value` does not fit that column."""
    if name == "type":
        good = value in TYPES
    elif name in ("private", "unprivileged", "chroot"):
        good = value in ("-", "y", "n")
    elif name == "wakeup":
        good = value == "-" or _digits(value.removesuffix("?"))
    elif name == "process_limit":
        good = value == "-" or _digits(value)
    else:
        good = True
    if not good:
        raise ValueError(f'invalid {name} field "{value}" in "{context}"')


def fields(text: str) -> list[str]:
    """Columns parted by white space; what is in braces stays together, to the end if they never close."""
    found: list[str] = []
    at = start = 0
    while at <= len(text):
        if at == len(text) or text[at] in SPACE:
            if at > start:
                found.append(text[start:at])
            start = at + 1
        elif text[at] == "{":
            try:
                at = closing(text, at)
            except ExpandError:
                at = len(text) - 1
        at += 1
    return found


def _digits(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _leading(file: str, text: str) -> str:
    return f'{file}: logical line must not start with whitespace: "{text[:30]}"'
