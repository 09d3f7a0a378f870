"""The EHLO reply: what is offered, in Postfix's order; and what is kept back (smtpd_discard_ehlo_keywords)."""

from collections.abc import Iterable

from postwarden.mail.reply import Reply
from postwarden.receive.params import SmtpdParams

XCLIENT_ATTRIBUTES = ("NAME", "ADDR", "PROTO", "HELO", "REVERSE_NAME", "PORT", "LOGIN", "DESTADDR", "DESTPORT")
XFORWARD_ATTRIBUTES = ("NAME", "ADDR", "PROTO", "HELO", "SOURCE", "PORT", "IDENT")


def keywords(words: Iterable[str]) -> frozenset[str]:
    """In lower case."""
    return frozenset(word.lower() for word in words)


def hello_reply(
    params: SmtpdParams, *, tls: bool, xclient: bool, xforward: bool = False, discarded: frozenset[str] = frozenset()
) -> Reply:
    """`tls`: STARTTLS is on offer; `xclient`, `xforward`: the client may say that."""
    limit = params.message_size_limit
    lines = [
        "PIPELINING",
        f"SIZE {limit}" if limit > 0 else "SIZE",
        "" if params.disable_vrfy_command else "VRFY",
        "ETRN",
        "STARTTLS" if tls else "",
        "XCLIENT " + " ".join(XCLIENT_ATTRIBUTES) if xclient else "",
        "XFORWARD " + " ".join(XFORWARD_ATTRIBUTES) if xforward else "",
        "ENHANCEDSTATUSCODES",
        "8BITMIME",
        "DSN",
        "SMTPUTF8" if params.smtputf8_enable else "",
        "CHUNKING",
    ]
    offered = [line for line in lines if line and line.split()[0].lower() not in discarded]
    return Reply(250, "", "\n".join([params.myhostname, *offered]))
