"""The commands of a transaction as bytes, without CRLF (RFC 5321 4.1.1, RFC 1870, RFC 3461, RFC 6152, RFC 6531)."""

import re

from postwarden.ipc.records import Job
from postwarden.mail.envelope import Notify, Recipient
from postwarden.wire.smtp_extensions import Extensions

_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\x80-\U0010ffff-]+"
_DOT_STRING = re.compile(rf"{_ATOM}(?:\.{_ATOM})*\Z")
_XTEXT_SAFE = re.compile(r"[!-*,-<>-~]*\Z")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class UnfitAddress(ValueError):
    """The address has control characters: in a command they could become a command of their own."""


def mail(job: Job, offered: Extensions, *, announce_size: bool = True, quote: bool = True) -> bytes:
    """MAIL with what the server offers. `announce_size` is False when conversion will change the size."""
    line = f"MAIL FROM:<{_external(job.sender, quote)}>"
    if offered.size and announce_size:
        line += f" SIZE={job.size}"
    if offered.eight_bit and job.eight_bit:
        line += " BODY=8BITMIME"
    if offered.dsn:
        if job.envid:
            line += f" ENVID={job.envid}"
        if job.ret:
            line += f" RET={job.ret}"
    if offered.smtputf8 and job.smtputf8:
        line += " SMTPUTF8"
    return line.encode()


def rcpt(recipient: Recipient, offered: Extensions, *, quote: bool = True) -> bytes:
    line = f"RCPT TO:<{_external(recipient.address, quote)}>"
    if not offered.dsn:
        return line.encode()
    line += f" ORCPT={recipient.orcpt or _orcpt(recipient.original or recipient.address)}"
    if recipient.notify:
        line += f" NOTIFY={_notify(recipient.notify)}"
    return line.encode()


def xforward(job: Job, offered: Extensions) -> list[bytes]:
    """XFORWARD commands for the client that the message came from: name and address, then protocol and HELO name."""
    client = job.client
    if client is None:
        return []
    known = {
        "NAME": client.name,
        "ADDR": f"IPv6:{client.address}" if ":" in client.address else client.address,
        "PORT": str(client.port) if client.port else "",
        "PROTO": client.protocol,
        "HELO": client.helo,
        "IDENT": job.queue_id,
        "SOURCE": "REMOTE",
    }
    lines = []
    for names in (("NAME", "ADDR", "PORT"), ("PROTO", "HELO", "IDENT", "SOURCE")):
        said = [
            f" {name}={xtext(known[name])}"
            for name in names
            if name in offered.xforward and known[name] not in ("", "unknown")
        ]
        if said:
            lines.append(f"XFORWARD{''.join(said)}".encode())
    return lines


def _external(address: str, quote: bool) -> str:
    if quote:
        return quoted(address)
    if _CONTROL.search(address):
        raise UnfitAddress(address)
    return address


def quoted(address: str) -> str:
    """External form of an address: its local part in quotes where it is no dot-string. Raises UnfitAddress."""
    local, at, domain = address.rpartition("@")
    if not at:
        local, domain = address, ""
    if _DOT_STRING.match(local) or not address:
        if domain and _CONTROL.search(domain):
            raise UnfitAddress(address)
        return address
    if _CONTROL.search(address):
        raise UnfitAddress(address)
    escaped = local.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"{at}{domain}'


def xtext(text: str) -> str:
    """RFC 3461 4."""
    if _XTEXT_SAFE.match(text):
        return text
    return "".join(c if "!" <= c <= "~" and c not in "+=" else f"+{ord(c):02X}" for c in text)


def _orcpt(address: str) -> str:
    external = quoted(address)
    if external.isascii():
        return f"rfc822;{xtext(external)}"
    # RFC 6533 3: \x{HEX} stands for what is not printable ASCII, in any session.
    return "utf-8;" + "".join(c if "!" <= c <= "~" and c not in "+=\\" else f"\\x{{{ord(c):X}}}" for c in external)


def _notify(bits: int) -> str:
    if bits & Notify.NEVER:
        return "NEVER"
    return ",".join(word for bit, word in _NOTIFY if bits & bit)


_NOTIFY = ((Notify.SUCCESS, "SUCCESS"), (Notify.FAILURE, "FAILURE"), (Notify.DELAY, "DELAY"))
