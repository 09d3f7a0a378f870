"""The logs that Postfix keeps of recipients: files in `defer`, `bounce` and `trace`, blocks of `name=value`."""

import re

from msgspec import Struct

from postwarden.mail.status import Status

_CODE = re.compile(r"[245]\.\d{1,3}\.\d{1,3}")
_LIMIT = 16 << 20


class Logged(Struct, frozen=True):
    """What became of one recipient in the last attempt."""

    offset: int
    """Of the recipient's record in the queue file."""
    action: str
    """As a DSN has it: failed, delayed, delivered, relayed, expanded."""
    status: Status


def parse(data: bytes) -> dict[int, Logged]:
    """By offset; the last word about each. Blocks that lack something are left out."""
    found: dict[int, Logged] = {}
    for block in data[:_LIMIT].decode("utf-8", "replace").split("\n\n"):
        fields = dict(line.split("=", 1) for line in block.split("\n") if "=" in line)
        offset, code = fields.get("offset", ""), fields.get("status", "")
        if not (offset.isascii() and offset.isdigit() and len(offset) < 16 and _CODE.fullmatch(code)):
            continue
        smtp = fields.get("diag_type", "") == "smtp"
        status = Status(
            code,
            fields.get("reason", ""),
            remote_mta=fields.get("mta_mname", "") if fields.get("mta_type", "") == "dns" else "",
            remote_reply=fields.get("diag_text", "") if smtp else "",
        )
        found[int(offset)] = Logged(int(offset), fields.get("action", ""), status)
    return found


def read(path: str) -> dict[int, Logged]:
    """Empty where there is no log, or none that can be read: what it says is worth having, and no mail."""
    if not path:
        return {}
    try:
        with open(path, "rb") as file:
            return parse(file.read(_LIMIT))
    except OSError:
        return {}
