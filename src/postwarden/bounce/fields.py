"""The fields of one recipient in the part of a report that programs read (RFC 3464 2.3)."""

from msgspec.structs import replace

from postwarden.bounce.text import external, fold, from_xtext
from postwarden.mail.date import mail_date
from postwarden.mail.envelope import Recipient
from postwarden.mail.round import Kind
from postwarden.mail.status import Status

_NO_WORDS = "(description unavailable)"
_NOBODY = ";"
"""In the place of ORCPT, which is never like this: a list with an owner stands between, and nobody asked for this."""


def typed(address: str) -> str:
    """Address type and address (RFC 3464 2.1.2, RFC 6533 3)."""
    return f"{'rfc822' if address.isascii() else 'utf-8'}; {external(address)}"


def traced(kind: Kind) -> bool:
    return kind in (Kind.SUCCESS, Kind.VERIFY)


def told(kind: Kind, status: Status) -> str:
    """The sentence about a recipient. Reports of success say through whom it went."""
    if traced(kind) and status.relay not in ("none", ""):
        return f"delivery via {status.relay}: {status.text}"
    return status.text


def parts(recipient: Recipient, status: Status) -> list[tuple[Recipient, Status]]:
    """Those that a recipient became, each with what became of it."""
    if not status.parts:
        return [(recipient, status)]
    found = []
    for part in status.parts:
        orcpt = recipient.orcpt if part.original or part.address == recipient.address else _NOBODY
        found.append(
            (
                Recipient(part.address, part.original, orcpt),
                replace(status, code=part.code, text=part.text, report=part.report, parts=()),
            )
        )
    return found


def recipient_fields(kind: Kind, recipient: Recipient, status: Status, *, until: float = 0.0) -> bytes:
    """`until`: when the message is given up, for a delay."""
    lines = [f"Final-Recipient: {typed(recipient.address)}"]
    if recipient.orcpt != _NOBODY:
        lines.append(f"Original-Recipient: {_original(recipient)}")
    lines += [f"Action: {_action(kind, status)}", f"Status: {status.code}"]
    if status.remote_mta:
        lines.append(f"Remote-MTA: dns; {status.remote_mta}")
    if status.remote_reply:
        diagnostic = f"smtp; {status.remote_reply}"
    elif status.program_said:
        diagnostic = f"x-unix; {status.program_said}"
    else:
        diagnostic = f"X-Postfix; {told(kind, status) or _NO_WORDS}"
    lines.append(f"Diagnostic-Code: {' '.join(diagnostic.splitlines())}")
    if until:
        lines.append(f"Will-Retry-Until: {mail_date(until)}")
    return b"".join(map(fold, lines)) + b"\r\n"


def _original(recipient: Recipient) -> str:
    if not recipient.orcpt:
        return typed(recipient.original or recipient.address).replace("; ", ";", 1)
    kind, _, original = recipient.orcpt.partition(";")
    return f"{kind};{from_xtext(original)}"


def _action(kind: Kind, status: Status) -> str:
    """RFC 3464 2.3.3; deliverable and undeliverable are Postfix's, for `sendmail -bv`."""
    success = status.code[:1] == "2"
    if kind is Kind.DELAY:
        return "delayed"
    if status.verified:
        return "deliverable" if success else "undeliverable"
    if success:
        return {"passed": "relayed", "": "delivered"}.get(status.report, status.report)
    return "delayed" if traced(kind) and status.code[:1] == "4" else "failed"
