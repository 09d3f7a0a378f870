"""Names and numerical addresses of hosts (RFC 1123 2.1, RFC 5321 4.1.3)."""

import ipaddress
import re

_LABEL = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\Z")
_IPV4 = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}\Z")


def valid_address(text: str) -> bool:
    """Whether `text` is an IPv4 or IPv6 address, without brackets, prefix or scope."""
    if _IPV4.match(text):
        return all(int(part) < 256 for part in text.split("."))
    if ":" not in text or "%" in text:
        return False
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


def valid_hostname(text: str, *, wildcard: bool = False) -> bool:
    """Whether `text` can be a host's name: labels of letters, digits, `-` and, as Postfix has it, `_`; not all digits.

    `wildcard` allows `*` as first label.
    """
    if not text or len(text) > 255:
        return False
    labels = text.split(".")
    if wildcard and labels[0] == "*" and len(labels) > 1:
        labels = labels[1:]
    if not all(map(_LABEL.match, labels)):
        return False
    return not all(label.isdigit() for label in labels)
