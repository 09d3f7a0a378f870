"""Changing master.cf: comments stay where they are, and so do entries that are not meant."""

from collections.abc import Callable

from msgspec import Struct, structs

from postwarden.config.arguments import Argument
from postwarden.config.columns import entry
from postwarden.config.edit_main import joined
from postwarden.config.physical import Statement, split_lines, statements
from postwarden.config.written import FIELDS, Row, check_field, fields, parse_row, read_master

REMOVED = "removed"
COMMENTED = "commented"
_UNMATCHED = "the braces of service {} do not match: mend them first"


class Change(Struct):
    """What to do with the entries of `service/type`, where `*` means any."""

    service: str
    type: str
    apply: Callable[[Row], None] | None = None
    """Changes an entry in place."""
    row: Row | None = None
    """Takes the place of the first entry that fits, or is put at the end; the others that fit go."""
    fate: str = ""
    """REMOVED or COMMENTED."""
    met: bool = False

    def fits(self, columns: list[str]) -> bool:
        wanted = (self.service, self.type)
        return len(columns) > 1 and all(want in ("*", have) for want, have in zip(wanted, columns, strict=False))


def edit_master(data: bytes, file: str, changes: list[Change]) -> bytes:
    """`data` changed; `met` of a change says whether something fitted. Raises ValueError for an entry that can't be
    parsed, though only of those that are meant."""
    lines = list(split_lines(data))
    fates = {statement.number: _fate(statement, file, changes) for statement in statements(lines)}
    parts: list[bytes] = []
    for line in lines:
        fate = fates.get(line.statement)
        if fate is None or not line.statement:
            parts.append(line.data)
        elif fate == COMMENTED:
            parts.append(b"#" + line.data)
        elif line.first and fate != REMOVED:
            parts.append(fate.encode("utf-8", "surrogateescape"))
    new = [_text(change.row) for change in changes if change.row is not None and not change.met]
    return joined(parts, [text.encode("utf-8", "surrogateescape") for text in new])


def _fate(statement: Statement, file: str, changes: list[Change]) -> str | None:
    """What becomes of a statement: None if nothing, its new text, REMOVED or COMMENTED."""
    columns = fields(statement.text)
    fitting = [change for change in changes if change.fits(columns)]
    if not fitting:
        return None
    first = fitting[0]
    if first.fate or first.row is not None:
        again, first.met = first.met, True
        return first.fate or (REMOVED if again or first.row is None else _text(first.row))
    mistakes: list[str] = []
    try:
        row = parse_row(statement, file, mistakes)
    except ValueError as error:
        raise ValueError(f"file {file}: line {statement.first}: {error}") from error
    if any("'}'" in mistake for mistake in mistakes):
        raise ValueError(_UNMATCHED.format(row.key))
    for change in fitting:
        change.met = True
        if change.apply is not None:
            change.apply(row)
    return _text(row)


def _text(row: Row) -> str:
    """The entry as lines. Raises ValueError if they would be read as another entry: braces that never close."""
    row = structs.replace(row, arguments=[structs.replace(argument, braces=True) for argument in row.arguments])
    text = f"{entry(row, fold=True)}\n"
    again, _ = read_master(text.encode("utf-8", "surrogateescape"), "")
    if [_words(one) for one in again] != [_words(row)]:
        raise ValueError(_UNMATCHED.format(row.key))
    return text


def _words(row: Row) -> list[str]:
    return [*row.columns, row.command, *(f"{argument.option} {argument.value}" for argument in row.arguments)]


def set_field(row: Row, name: str, value: str) -> None:
    """Raises ValueError if `value` does not fit the column."""
    words = fields(value)
    if not words:
        raise ValueError(f'bad field count: the field "{name}" can\'t be empty')
    if name == "command":
        changed = parse_row(Statement(" ".join([*row.columns, value]), 0, 0, 0), "", [])
        row.command, row.arguments = changed.command, changed.arguments
        return
    if len(words) > 1:
        raise ValueError("-Fe does not accept whitespace in non-command field")
    check_field(name, value, value)
    row.columns[FIELDS.index(name)] = value


def set_parameter(row: Row, name: str, value: str | None) -> None:
    """`-o name=value` in place of what the entry says of that name, or behind its options; None: nothing of it."""
    found = False
    kept = []
    for argument in row.arguments:
        if argument.option == "-o" and (argument.value or "").startswith(f"{name}="):
            found = True
            if value is None:
                continue
            argument = Argument("-o", f"{name}={value}")
        kept.append(argument)
    if value is not None and not found:
        at = next((at for at, argument in enumerate(kept) if not argument.option), len(kept))
        kept.insert(at, Argument("-o", f"{name}={value}"))
    row.arguments = kept
