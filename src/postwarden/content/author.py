"""The From field of a message that came without one (header_from_format)."""

import re

from postwarden.mail.address import external

_SPECIAL = re.compile(r'[%!()<>@,;:\\".\[\]]')
_BREAKS = re.compile(r"[\r\n\0]")
_TO_ESCAPE = re.compile(r'(["\\])')
_PARENTHESES = re.compile(r"([()\\])")


def author(sender: str, full_name: str, form: str) -> str:
    """The field's value: `form` is `standard` for `name <address>`, or `obsolete` for `address (name)`."""
    if not sender:
        return "MAILER-DAEMON"
    address = external(sender)
    # The name is the user's word; a line break in it would begin another field.
    name = _BREAKS.sub(" ", full_name).strip()
    if not name:
        return address
    if form == "obsolete":
        return f"{address} ({name if _balanced(name) else _PARENTHESES.sub(_escaped, name)})"
    if _SPECIAL.search(name):
        return f'"{_TO_ESCAPE.sub(_escaped, name)}" <{address}>'
    return f"{' '.join(name.split())} <{address}>"


def _escaped(found: re.Match[str]) -> str:
    return "\\" + found[1]


def _balanced(name: str) -> bool:
    depth = 0
    for character in name:
        depth += {"(": 1, ")": -1}.get(character, 0)
        if depth < 0:
            return False
    return depth == 0 and "\\" not in name
