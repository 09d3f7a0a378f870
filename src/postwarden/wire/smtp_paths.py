"""The arguments of MAIL and RCPT: a path, then parameters (RFC 5321 4.1.2, RFC 6531 3.3).

As lenient as Postfix is by default: a path may lack its brackets and have blanks before it, a source route is dropped.
An address that no other server would take (`a@-b`, `a@1.2.3.4`, a comment, an open quote) is None.
"""

import re

from postwarden.mail.hostname import valid_address, valid_hostname

_LABEL = rb"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
# What nearly all paths are: a dot-atom at a host's name whose last label is not a number.
_PLAIN = rb"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}@(?:" + _LABEL + rb"\.){0,40}(?=[A-Za-z])" + _LABEL
PLAIN_MAIL = re.compile(rb"MAIL FROM:<((?:" + _PLAIN + rb")?)>(?: ([^\r\x00]*))?\Z", re.IGNORECASE)
PLAIN_RCPT = re.compile(rb"RCPT TO:<(" + _PLAIN + rb")>(?: ([^\r\x00]*))?\Z", re.IGNORECASE)
"""Group 1 is the address, ready for use if it is at most 255 bytes long; group 2 the parameters."""

_SPECIALS = frozenset('()<>[]:;,"')
XTEXT = re.compile(r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})*\Z")
"""RFC 3461 4."""
_ORCPT = re.compile(r"[!-*,-:<-~]+;")


def split_path(text: str) -> tuple[str, list[str]]:
    """`text` after the colon -> the path as written, and the words after it."""
    text = text.lstrip(" \t")
    quoted = bracketed = escaped = False
    for at, char in enumerate(text):
        if escaped:
            escaped = False
        elif char == "\\":
            escaped = True
        elif char == '"':
            quoted = not quoted
        elif quoted:
            continue
        elif char == "<":
            bracketed = True
        elif char == ">":
            bracketed = False
        elif char in " \t" and not bracketed:
            return text[:at], text[at:].split()
    return text, []


def parse_path(path: str) -> str | None:
    """A path as written -> the address in internal form; "" for `<>`; None when it is none."""
    if path.startswith("<"):
        if not path.endswith(">") or len(path) < 2:
            return None
        path = path[1:-1].strip(" \t")
    if path.startswith("@") and ":" in path:
        # A source route has no meaning any more (RFC 5321 4.1.1.3, appendix C).
        path = path[path.index(":") + 1 :]
    if not path:
        return ""
    split = _unquote(path)
    if split is None:
        return None
    local, domain = split
    if domain is None:
        return local
    return f"{local}@{domain}" if _valid_domain(domain) else None


def _unquote(path: str) -> tuple[str, str | None] | None:
    """Local part without quotes and escapes, and what follows the last `@` outside them (None: there is none)."""
    out: list[str] = []
    at = -1
    quoted = escaped = False
    for n, char in enumerate(path):
        if char < " " or char == "\x7f":
            return None
        if escaped:
            escaped = False
            out.append(char)
        elif char == "\\":
            escaped = True
        elif char == '"':
            quoted = not quoted
        elif quoted:
            out.append(char)
        elif char == "@":
            at = len(out)
            out.append(char)
            if path[n + 1 : n + 2] == "[" and path.endswith("]"):
                return "".join(out[:-1]), path[n + 1 :]
        elif char in _SPECIALS or char == " ":
            return None
        else:
            out.append(char)
    if quoted or escaped:
        return None
    return ("".join(out), None) if at < 0 else ("".join(out[:at]), "".join(out[at + 1 :]))


def _valid_domain(domain: str) -> bool:
    if domain.startswith("["):
        literal = domain[1:-1]
        if literal[:5].lower() == "ipv6:":
            return ":" in literal[5:] and valid_address(literal[5:])
        return ":" not in literal and valid_address(literal)
    domain = domain.removesuffix(".")
    if domain.isascii():
        return valid_hostname(domain)
    # RFC 6531 3.3: U-labels. Whether IDNA can encode them is for whoever looks the name up.
    return len(domain) <= 255 and all(domain.split(".")) and not any(c in ' @"<>()[]\\,;:' for c in domain)


def valid_orcpt(value: str) -> bool:
    """ORCPT: `addr-type;xtext` (RFC 3461 4.2), or utf-8 (RFC 6533 3)."""
    kind = _ORCPT.match(value)
    if kind is None:
        return False
    if value[: kind.end()].lower() == "utf-8;":
        return value.isprintable() and " " not in value
    return XTEXT.match(value, kind.end()) is not None
