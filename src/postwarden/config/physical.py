"""main.cf and master.cf line by line, as an editor needs them: what is no part of a statement is kept, too."""

from collections.abc import Iterator

from msgspec import Struct

from postwarden.config.errors import Problem
from postwarden.config.lines import SPACE
from postwarden.mail.decision import Origin

_SPACE = SPACE.encode()


class Line(Struct, frozen=True, array_like=True):
    """One line of a file, with its line end if it has one."""

    data: bytes
    number: int
    statement: int
    """0 for a comment, an empty line, and a line that continues nothing; else a number that all lines of one
    statement share."""

    @property
    def first(self) -> bool:
        """A statement begins here."""
        return bool(self.statement) and not self.data[:1].isspace()


class Statement(Struct, frozen=True, array_like=True):
    """A logical line, with what UTF-8 has no name for kept as surrogates."""

    text: str
    number: int
    first: int
    last: int


def split_lines(data: bytes) -> Iterator[Line]:
    """Every line of `data`."""
    statement = 0
    for number, line in enumerate(_by_newline(data), 1):
        stripped = line.strip(_SPACE)
        if not stripped or stripped.startswith(b"#"):
            yield Line(line, number, 0)
        elif line[:1].isspace():
            yield Line(line, number, statement)
        else:
            statement += 1
            yield Line(line, number, statement)


def _by_newline(data: bytes) -> list[bytes]:
    lines = data.split(b"\n")
    return [line + b"\n" for line in lines[:-1]] + ([lines[-1]] if lines[-1] else [])


def statements(lines: list[Line]) -> list[Statement]:
    """The statements of `lines`, continuation lines joined as they are."""
    found: dict[int, list[Line]] = {}
    for line in lines:
        if line.statement:
            found.setdefault(line.statement, []).append(line)
    return [_statement(parts) for parts in found.values()]


def stray(lines: list[Line]) -> list[str]:
    """What begins with white space before any statement, so that it continues nothing: one text, or none."""
    texts = [_text(line.data).rstrip("\n") for line in _stray_lines(lines)]
    return ["".join(texts)] if texts else []


def _stray_lines(lines: list[Line]) -> list[Line]:
    return [line for line in lines if not line.statement and _says_something(line.data)]


def _says_something(data: bytes) -> bool:
    stripped = data.strip(_SPACE)
    return bool(stripped) and not stripped.startswith(b"#")


def without_stray(data: bytes, file: str) -> tuple[bytes, list[Problem]]:
    """`data` with empty lines in the place of what begins with white space before any statement, and a warning for
    each: Postfix starts with such a file, and does not use these lines."""
    lines = list(split_lines(data))
    strays = _stray_lines(lines)
    text = "this line begins with white space and continues nothing: it is ignored"
    origins = [Origin(file, line.number, line.data.decode(errors="replace").strip()) for line in strays]
    problems = [Problem(origin, "warning", text) for origin in origins]
    numbers = {line.number for line in strays}
    return b"".join(b"\n" if line.number in numbers else line.data for line in lines), problems


def _statement(parts: list[Line]) -> Statement:
    text = "".join(_text(line.data).removesuffix("\n") for line in parts)
    return Statement(text.rstrip(SPACE), parts[0].statement, parts[0].number, parts[-1].number)


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")
