"""What kind of trouble a refusal is (notify_classes): read from the reply, as real smtpd(8) was seen to do it. Pure."""

from postwarden.mail.reply import Reply
from postwarden.mail.transcript import Trouble

_OWN = ("Error: ", "Syntax: ", "Bad ", "Unsupported option: ", "DSN support is disabled", "Null BDAT", "Discarded ")
"""How our own words about a command begin; anything else is what policy, or the operator, says."""
_NONE = ("Error: no valid recipients", "Error: command line too long", "Syntax: DATA", "Error: access denied for ")
_BOUNCE = ("Error: message file too big", "Error: too many hops", "Chunk exceeds", "Chunk far exceeds")
_POLICY = (
    "Error: too much mail", "Error: too many recipients", "Error: too many new TLS",
    "Error: insufficient authorization", "Error: send HELO/EHLO first",
)  # fmt: skip
_NOT_TOLD = (459, 530)
"""ETRN for a domain that nobody waits for, and a client that has to begin TLS first."""


def cause(verb: str, reply: Reply) -> Trouble:
    """Of a reply 4xx or 5xx to `verb`, which is empty where the refusal is forgiven or no command was said."""
    text = reply.text
    if reply.code in _NOT_TOLD or text.startswith(_NONE):
        return Trouble.NONE
    if ": User unknown in " in text or text.startswith(_BOUNCE):
        return Trouble.BOUNCE
    if reply.status == "4.3.1" or text == "Error: queue file write error":
        return Trouble.RESOURCE
    if text.endswith("Temporary lookup failure"):
        return Trouble.DATA
    if text == "Server configuration error" or text.startswith("Error: internal error"):
        return Trouble.SOFTWARE
    if text.startswith(_POLICY):
        return Trouble.POLICY if verb else Trouble.NONE
    if text.startswith(_OWN) or text.endswith("Improper use of SMTP command pipelining"):
        return Trouble.PROTOCOL
    return Trouble.POLICY
