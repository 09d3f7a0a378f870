"""The transport `discard`: delivered to nobody, with success. Pure; the courier calls it without a job."""

from postwarden.deliver.error import split_status
from postwarden.mail.status import Status


def discard(nexthop: str) -> Status:
    """The outcome of every recipient whose transport is `discard:nexthop`."""
    code, text = split_status(nexthop, "2.0.0")
    return Status(code if code[0] == "2" else "2.0.0", text)
