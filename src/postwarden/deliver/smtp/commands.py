"""The commands of a transaction as bytes, without CRLF (RFC 5321 4.1.1, RFC 1870, RFC 3461, RFC 6152, RFC 6531)."""

import re

from postwarden.ipc.records import Job
from postwarden.mail.address import external
from postwarden.mail.envelope import Notify, Recipient
from postwarden.mail.xtext import orcpt_of
from postwarden.wire.smtp_extensions import Extensions

_XTEXT_SAFE = re.compile(r"[!-*,-<>-~]*\Z")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class UnfitAddress(ValueError):
    """The address has control characters: in a command they could become a command of their own."""


def mail(job: Job, offered: Extensions, *, announce_size: bool = True, quote: bool = True) -> bytes:
    """MAIL with what the server offers. `announce_size` is False when conversion will change the size."""
    line = f"MAIL FROM:<{_written(job.sender, quote)}>"
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
    line = f"RCPT TO:<{_written(recipient.address, quote)}>"
    if not offered.dsn:
        return line.encode()
    line += f" ORCPT={recipient.orcpt or orcpt_of(recipient.original or recipient.address)}"
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
        "IDENT": client.ident or job.queue_id,
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


def _written(address: str, quote: bool) -> str:
    """As it stands between the angle brackets. Raises UnfitAddress."""
    if _CONTROL.search(address):
        raise UnfitAddress(address)
    return external(address) if quote else address


def xtext(text: str) -> str:
    """RFC 3461 4."""
    if _XTEXT_SAFE.match(text):
        return text
    return "".join(c if "!" <= c <= "~" and c not in "+=" else f"+{ord(c):02X}" for c in text)


def _notify(bits: int) -> str:
    if bits & Notify.NEVER:
        return "NEVER"
    return ",".join(word for bit, word in _NOTIFY if bits & bit)


_NOTIFY = ((Notify.SUCCESS, "SUCCESS"), (Notify.FAILURE, "FAILURE"), (Notify.DELAY, "DELAY"))
