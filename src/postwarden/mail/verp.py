"""Sender addresses that tell the recipient."""

from postwarden.mail.envelope import Recipient


def verp_sender(sender: str, recipient: Recipient, delimiters: str) -> str:
    """`owner@origin` for `user@domain` becomes `owner+user=domain@origin`: a bounce to it tells whose it is, by the
    address that the list knows (VERP_README)."""
    prefix, at, origin = sender.rpartition("@")
    if not at:
        prefix, origin = sender, ""
    local, has_domain, domain = (recipient.original or recipient.address).rpartition("@")
    middle = f"{local}{delimiters[1:2]}{domain}" if has_domain else domain
    return f"{prefix}{delimiters[:1]}{middle}{at}{origin}"
