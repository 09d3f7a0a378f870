"""Dialogues: `*.smtp` files that say what a client sends and what it must hear. One command a line:

    = name = value     a line of main.cf
    @ name TYPE data   a record of the DNS
    from 192.0.2.10    the client's address (127.0.0.1 unless said)
    C: text            the client sends the line; lines that follow each other leave in one packet
    C! text\\r\\n        the same without a line end of its own; \\r \\n \\0 \\\\ and \\xNN as in Python
    S: 250 text        the server says exactly this; `{id}` is any queue id, a `…` at the end the rest of any line
    M: text            the next line of the body that was stored
    H: text            the next line of its head
    L: smtpd: text     the log in the end, line by line
    tls                both sides shake hands
    wait 3             seconds pass
    end                the client closes its side
    closed             the server has closed

A line `not byte by byte` or `not real` (at the top) leaves out a way to play it. `#` begins a comment.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent


@dataclass
class Script:
    name: str
    main_cf: dict[str, str] = field(default_factory=dict)
    zone: list[str] = field(default_factory=list)
    address: str = "127.0.0.1"
    steps: list[tuple[int, str, str]] = field(default_factory=list)
    """(line number, kind, text)"""
    log: list[str] = field(default_factory=list)
    without: set[str] = field(default_factory=set)


def scripts() -> list[Script]:
    return [read(path) for path in sorted(HERE.glob("*.smtp"))]


def read(path: Path) -> Script:
    script = Script(path.stem)
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        kind, _, text = line.partition(" ")
        if kind == "=":
            name, _, value = text.partition("=")
            script.main_cf[name.strip()] = value.strip()
        elif kind == "@":
            script.zone.append(text)
        elif kind == "from":
            script.address = text
        elif kind == "not":
            script.without.add(text)
        elif kind == "L:":
            script.log.append(text)
        elif kind in ("C:", "C!", "S:", "M:", "H:", "tls", "wait", "end", "closed"):
            script.steps.append((number, kind, text))
        else:
            raise ValueError(f"{path.name}:{number}: {line}")
    return script


def sent(kind: str, text: str) -> bytes:
    if kind == "C!":
        return text.encode().decode("unicode_escape").encode("latin-1")
    return f"{text}\r\n".encode()


def fits(expected: str, actual: str) -> bool:
    pattern = re.escape(expected).replace(r"\{id\}", "[0-9A-F]{10,12}")
    if pattern.endswith("…"):
        pattern = pattern[:-1] + ".*"
    return re.fullmatch(pattern, actual) is not None
