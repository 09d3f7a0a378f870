"""Logical lines, as main.cf, master.cf and text tables have them: a line that begins with white space continues the
one before; empty lines and lines whose first character is `#` count for nothing, not even within a logical line."""

import re
from collections.abc import Iterator

from postwarden.config.errors import ConfigError, Fault, refuse
from postwarden.mail.decision import Origin

SPACE = " \t\n\r\v\f"
"""White space. What Python counts to it beside (U+00A0, U+2028, 0x1C) is a part of a word, as in Postfix."""

FIRST_WORD = re.compile(f"[^{SPACE}]+")

LINE_LIMIT = 1 << 20
"""Bytes of one logical line. Beyond it, the file is something else than configuration."""


def logical_lines(data: bytes, file: str, fault: Fault = refuse) -> Iterator[Origin]:
    """The logical lines of `data`, each as the Origin of what it says; `file` is the name to print.

    Continuation lines are joined as they are, white space and all. Told to `fault`: not UTF-8, a NUL byte, a first
    line that continues nothing, a line without end.
    """
    start = 0
    parts: list[bytes] = []
    size = 0
    for number, line in enumerate(data.split(b"\n"), 1):
        stripped = line.strip()
        if not stripped or stripped.startswith(b"#"):
            continue
        if line[:1].isspace():
            if not parts:
                fault(ConfigError(_origin(file, number, line), "a logical line must not start with white space"))
                continue
        elif parts:
            yield from _joined(parts, file, start, fault)
            parts, size = [], 0
        if not parts:
            start = number
        parts.append(line.removesuffix(b"\r"))
        size += len(line)
        if size > LINE_LIMIT:
            fault(ConfigError(_origin(file, start, parts[0][:60]), "this line has no end"))
            return
    if parts:
        yield from _joined(parts, file, start, fault)


def _joined(parts: list[bytes], file: str, start: int, fault: Fault) -> Iterator[Origin]:
    text = b"".join(parts).rstrip()
    if b"\0" in text:
        fault(ConfigError(_origin(file, start, text[:60]), "a NUL byte"))
        return
    try:
        yield Origin(file, start, text.decode())
    except UnicodeDecodeError as error:
        fault(ConfigError(_origin(file, start, text[:60]), f"not UTF-8: byte {text[error.start]:#04x}"))


def _origin(file: str, number: int, text: bytes) -> Origin:
    return Origin(file, number, text.decode(errors="replace"))
