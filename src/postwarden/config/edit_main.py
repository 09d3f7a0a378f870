"""Changing main.cf: every comment, empty line and other setting stays as it is and where it is."""

import re
from collections.abc import Mapping

from postwarden.config.physical import Line, split_lines

_NAME = re.compile(rb"[^\s=]+")

Edit = Mapping[str, str | None]
"""By name, the new value; None takes the setting out."""


def edit_main(data: bytes, edit: Edit, *, comment: bool = False) -> tuple[bytes, list[str]]:
    """`data` changed, and the names that it has more than once. A name that it lacks is put at the end.

    `comment`: what goes is not taken out but made a comment.
    """
    lines = list(split_lines(data))
    names = {line.statement: _name(line) for line in lines if line.first}
    met = [name for name in names.values() if name in edit]
    parts: list[bytes] = []
    for line in lines:
        name = names.get(line.statement, "")
        if name not in edit or not line.statement:
            parts.append(line.data)
        elif comment:
            parts.append(b"#" + line.data)
        elif line.first and (value := edit[name]) is not None:
            parts.append(_setting(name, value))
    new = [_setting(name, value) for name, value in edit.items() if value is not None and name not in met]
    repeated = [name for at, name in enumerate(met) if name in met[:at]]
    return joined(parts, new), repeated


def joined(parts: list[bytes], new: list[bytes]) -> bytes:
    """`parts`, then `new` on lines of its own."""
    text = b"".join(parts)
    if new and text and not text.endswith(b"\n"):
        text += b"\n"
    return text + b"".join(new)


def _name(line: Line) -> str:
    match = _NAME.match(line.data)
    return match[0].decode("utf-8", "surrogateescape") if match else ""


def _setting(name: str, value: str) -> bytes:
    return f"{name} = {value}\n".encode("utf-8", "surrogateescape")
