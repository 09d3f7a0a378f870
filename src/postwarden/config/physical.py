"""main.cf and master.cf line by line, as an editor needs them: what is no part of a statement is kept, too."""

from collections.abc import Iterator

from msgspec import Struct

from postwarden.config.lines import SPACE

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
    """What begins with white space before any statement, so that it continues nothing."""
    joined: list[str] = []
    for line in lines:
        if line.statement:
            break
        if line.data[:1].isspace() and (stripped := line.data.strip(_SPACE)) and not stripped.startswith(b"#"):
            joined.append(_text(line.data).rstrip("\n"))
    return ["".join(joined)] if joined else []


def _statement(parts: list[Line]) -> Statement:
    text = "".join(_text(line.data).removesuffix("\n") for line in parts)
    return Statement(text.rstrip(SPACE), parts[0].statement, parts[0].number, parts[-1].number)


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")
