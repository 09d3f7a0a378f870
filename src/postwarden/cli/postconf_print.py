"""How postconf(1) prints: one line a setting, folded where asked, or JSON."""

import sys
from collections.abc import Iterable

import msgspec

from postwarden.config.columns import INDENT, WIDTH


def put(lines: Iterable[str]) -> None:
    """Print them; bytes that were no UTF-8 come out as they were read."""
    data = "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape")
    sys.stdout.flush()
    sys.stdout.buffer.write(data)
    sys.stdout.flush()


def put_json(objects: Iterable[dict[str, str]]) -> None:
    """One object a line. What is no UTF-8 is replaced: JSON has no way to say it."""
    put(msgspec.json.encode(_clean(one)).decode() for one in objects)


def _clean(one: dict[str, str]) -> dict[str, str]:
    return {key: value.encode("utf-8", "surrogateescape").decode("utf-8", "replace") for key, value in one.items()}


def complain(name: str, texts: Iterable[str]) -> None:
    """Warnings on standard error; what is no printable ASCII is masked, so that no text plays with a terminal."""
    for text in texts:
        print(f"{name}: warning: {masked(text)}", file=sys.stderr)


def masked(text: str) -> str:
    data = text.encode("utf-8", "surrogateescape")
    return "".join(chr(byte) if 32 <= byte < 127 else "?" for byte in data)


def squeezed(text: str) -> str:
    return " ".join(text.split())


def folded(line: str) -> str:
    """Broken at white space, so that no line is longer than WIDTH if that can be."""
    rows: list[str] = []
    row = ""
    for word in line.split():
        if row and len(row) + 1 + len(word) > WIDTH:
            rows.append(row)
            row = INDENT + word
        else:
            row = f"{row} {word}" if row else word
    return "\n".join([*rows, row])
