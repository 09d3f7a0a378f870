"""What the text of a refusal tells the client to name when he asks: short, and said over the telephone."""

import os
import re

_LETTERS = "23456789ABCDEFGHJKMNPQRSTUVWXYZ"
"""Neither 0 and O nor 1, I and L."""
_SIZE = 9
"""31 ** 9: of the million refusals that a full store may have, one in 50 stores has two alike, and both are shown."""
_ENOUGH = 256 - 256 % len(_LETTERS)
_SPELLED = re.compile(rf"[{_LETTERS}]{{{_SIZE}}}")


def new() -> str:
    """As in `7K3-Q9D-2MX`; nobody can guess the next one."""
    found = ""
    while len(found) < _SIZE:
        found += "".join([_LETTERS[byte % len(_LETTERS)] for byte in os.urandom(_SIZE + 3) if byte < _ENOUGH])
    return f"{found[:3]}-{found[3:6]}-{found[6:_SIZE]}"


def spelled(text: str) -> str:
    """A reference as somebody has typed it, in small letters or without dashes, as it is kept; empty: it is none."""
    bare = text.strip("[] ").upper().removeprefix("REF ").replace("-", "").replace(" ", "")
    return f"{bare[:3]}-{bare[3:6]}-{bare[6:]}" if _SPELLED.fullmatch(bare) else ""
