"""The EHLO reply: what is offered, in Postfix's order."""

from postwarden.mail.reply import Reply
from postwarden.receive.params import SmtpdParams

XCLIENT_ATTRIBUTES = ("NAME", "ADDR", "PROTO", "HELO", "REVERSE_NAME", "PORT", "LOGIN", "DESTADDR", "DESTPORT")


def hello_reply(params: SmtpdParams, *, tls: bool, xclient: bool) -> Reply:
    """`tls`: STARTTLS is on offer; `xclient`: the client may say XCLIENT."""
    discarded = {word.lower() for word in params.smtpd_discard_ehlo_keywords}
    limit = params.message_size_limit
    lines = [
        "PIPELINING",
        f"SIZE {limit}" if limit > 0 else "SIZE",
        "" if params.disable_vrfy_command else "VRFY",
        "ETRN",
        "STARTTLS" if tls else "",
        "XCLIENT " + " ".join(XCLIENT_ATTRIBUTES) if xclient else "",
        "ENHANCEDSTATUSCODES",
        "8BITMIME",
        "DSN",
        "SMTPUTF8" if params.smtputf8_enable else "",
        "CHUNKING",
    ]
    offered = [line for line in lines if line and line.split()[0].lower() not in discarded]
    return Reply(250, "", "\n".join([params.myhostname, *offered]))
