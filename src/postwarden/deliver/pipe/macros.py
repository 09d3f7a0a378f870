"""The arguments of a program, with `$sender`, `$recipient` and the other macros of pipe(8) filled in.

An argument that names something of the recipient becomes as many arguments as there are recipients. What is empty
keeps its place, the user of `""@example.com` too (Postfix drops that one, and the program takes the next argument for
it).
"""

import re
from collections.abc import Mapping, Sequence

from postwarden.deliver.pipe.attributes import Attributes, BadAttribute
from postwarden.ipc.records import Job
from postwarden.mail.address import external
from postwarden.mail.envelope import Recipient
from postwarden.tables.keys import split_extension

_OF_RECIPIENTS = frozenset(("recipient", "original_recipient", "user", "extension", "mailbox", "domain"))
_OF_MESSAGE = frozenset(
    (
        "sender", "nexthop", "size", "queue_id", "client_address", "client_helo", "client_hostname", "client_port",
        "client_protocol", "sasl_method", "sasl_sender", "sasl_username",
    )
)  # fmt: skip
_MACRO = re.compile(r"\$(?:\$|([A-Za-z0-9_]+)|\{([^{}]*)\}|\(([^()]*)\)|(.|\Z))", re.DOTALL)


class Template:
    """The argv of a transport, checked once. Raises BadAttribute for a name that pipe(8) does not have."""

    def __init__(self, attributes: Attributes, delimiter: str) -> None:
        self._flags = attributes.flags
        self._null_sender = attributes.null_sender
        self._delimiter = delimiter
        self._arguments = [(text, not _OF_RECIPIENTS.isdisjoint(_names(text))) for text in attributes.argv]

    def argv(self, job: Job, recipients: Sequence[Recipient]) -> tuple[str, ...]:
        """The program and its arguments for these recipients."""
        message = self._message(job)
        each = [{**message, **self._recipient(recipient)} for recipient in recipients]
        found: list[str] = []
        for text, repeated in self._arguments:
            found += [_filled(text, values) for values in each] if repeated else [_filled(text, message)]
        # No argument can hold a NUL, which would end it early.
        return tuple([argument.replace("\0", "") for argument in found])

    def _message(self, job: Job) -> dict[str, str]:
        client = job.client
        return {
            "sender": self._quoted(job.sender) or self._quoted(self._null_sender),
            "nexthop": self._domain(job.nexthop),
            "size": str(job.size),
            "queue_id": job.queue_id,
            "client_address": client.address if client else "",
            "client_helo": client.helo if client else "",
            "client_hostname": client.name if client else "",
            "client_port": str(client.port or "") if client else "",
            "client_protocol": client.protocol if client else "",
            "sasl_method": "",
            "sasl_sender": "",
            "sasl_username": client.login if client else "",
        }

    def _recipient(self, recipient: Recipient) -> dict[str, str]:
        local, at, domain = recipient.address.rpartition("@")
        if not at:
            local, domain = domain, ""
        local = self._local(local)
        user, extension = split_extension(local, self._delimiter)
        return {
            "recipient": self._address(recipient.address),
            "original_recipient": self._address(recipient.original or recipient.address),
            "user": user,
            "extension": extension[1:],
            "mailbox": local,
            "domain": self._domain(domain),
        }

    def _address(self, address: str) -> str:
        local, at, domain = address.rpartition("@")
        if not at:
            local, domain = domain, ""
        return self._quoted(self._local(local) + at + self._domain(domain))

    def _local(self, text: str) -> str:
        return text.lower() if "u" in self._flags else text

    def _domain(self, text: str) -> str:
        return text.lower() if "h" in self._flags else text

    def _quoted(self, address: str) -> str:
        return external(address) if "q" in self._flags else address


def _names(text: str) -> set[str]:
    found = set()
    for match in _MACRO.finditer(text):
        name = match[1] or match[2] or match[3]
        if name is not None and name not in _OF_RECIPIENTS and name not in _OF_MESSAGE:
            raise BadAttribute(f'unknown macro name: "{name}"')
        if name is None and match[0] != "$$":
            raise BadAttribute(f'empty macro name: "{match[0]}"')
        found.add(name or "")
    return found


def _filled(text: str, values: Mapping[str, str]) -> str:
    def value(match: re.Match[str]) -> str:
        return "$" if match[0] == "$$" else values[match[1] or match[2] or match[3]]

    return _MACRO.sub(value, text)
