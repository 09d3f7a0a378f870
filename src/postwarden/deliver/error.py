"""The transports `error` and `retry`: the next hop is the answer. Pure; the courier calls it without a job."""

import re

from postwarden.mail.status import Status

_CODE = re.compile(r"([245]\.\d{1,3}\.\d{1,3})(?:\s+|$)")
# Postfix's bounce and defer clients replace a code of the wrong class.
_PLAIN = {"error": "5.0.0", "retry": "4.0.0"}


def split_status(text: str, default: str) -> tuple[str, str]:
    """`5.1.1 text` -> (code, text); without a valid code the default and the whole text (RFC 3463 2)."""
    match = _CODE.match(text)
    return (match[1], text[match.end() :]) if match else (default, text)


def error(nexthop: str, service: str = "error") -> Status:
    """The outcome of every recipient whose transport is `error:nexthop` or, `service` retry, `retry:nexthop`."""
    plain = _PLAIN[service]
    code, text = split_status(nexthop, plain)
    return Status(code if code[0] == plain[0] else plain, text or "Address is undeliverable")
