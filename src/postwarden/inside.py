"""Mail from inside, reports, forwards and what is requeued, and what the courier performs itself: for `pipeline`."""

from collections.abc import Callable
from functools import partial

from msgspec import Struct
from msgspec.structs import replace

from postwarden.addressing.params import RewriteParams
from postwarden.addressing.resolve import AddressResolver, cause, open_resolver, where
from postwarden.addressing.rewrite import Rewriter
from postwarden.bounce.params import BounceParams
from postwarden.config.settings import Settings
from postwarden.config.view import view
from postwarden.content.prepare import Preparer
from postwarden.deliver.discard import discard
from postwarden.deliver.error import error
from postwarden.mail.date import mail_date
from postwarden.mail.decision import Pending
from postwarden.mail.envelope import Envelope, Recipient
from postwarden.mail.remade import Remade
from postwarden.mail.reply import Reply
from postwarden.mail.status import Status
from postwarden.net.log import Log
from postwarden.schedule.ports import Clerk, Inside
from postwarden.tables.opening import Tables
from postwarden.tables.table import TableError

_COPIES = ("always_bcc", "sender_bcc_maps", "recipient_bcc_maps")


class Addressing(Struct, frozen=True):
    """What content needs of addressing."""

    rewrite: Callable[[str], str]
    by_name_alone: Callable[[str], bool]


def pickup_filter(settings: Settings) -> str:
    """content_filter of what comes from this machine's users, requeued mail included. Raises ConfigError."""
    service = settings.find_service("pickup")
    return settings.text("content_filter", "" if service is None else service.key)


def end_of_line(resolver: AddressResolver, name: str, address: str) -> bool:
    """`address` is `name` at a domain of ours: what can't go there is told to nobody. Raises TableError."""
    local, _, domain = address.rpartition("@")
    return local.lower() == name and resolver.local_domain(domain)


def performed(resolver: AddressResolver) -> dict[str, Inside]:
    """The transports that the courier performs itself."""
    return {
        "error": partial(_refused, resolver),
        "discard": lambda name, nexthop, recipient, sender: discard(nexthop),
    }


def _refused(resolver: AddressResolver, transport: str, nexthop: str, recipient: Recipient, sender: str) -> Status:
    """What the error transport says, and which setting sent the recipient there."""
    status = error(nexthop, "retry" if transport == "retry" else "error")
    try:
        resolved = resolver.resolve(recipient.address, sender)
        wordless = resolver.wordless(resolved)
        if wordless is not None and resolved.transport == transport:
            text = f"{status.text}: no mail is sent there, by {wordless.name} = {transport}"
            return replace(status, text=text, cause=wordless.name, origin=where(wordless))
        return replace(status, cause=cause(resolved), origin=where(resolved.rule))
    except (TableError, Pending):
        return status


def requeuing(settings: Settings, uid: int, log: Log) -> tuple[Clerk, Callable[[str, float], bytes]]:
    """`Parts.clerk` and `Parts.requeued`, for a command that requeues while no courier runs. Raises ConfigError."""
    tables = Tables.of(settings)
    clerk = clerk_of(settings, tables, open_resolver(settings, tables).by_name_alone, log)
    return clerk, requeued(view(BounceParams, settings), uid)


def requeued(bounce: BounceParams, uid: int) -> Callable[[str, float], bytes]:
    """The field that a requeued message gets; `uid`: who does it."""
    return received(f"by {bounce.myhostname} ({bounce.mail_name}, from userid {uid})")


def received(by: str) -> Callable[[str, float], bytes]:
    """Of a queue id and the time."""

    def field(queue_id: str, now: float) -> bytes:
        return f"Received: {by}\r\n\tid {queue_id}; {mail_date(now)}\r\n".encode()

    return field


class _Clerk:
    """`schedule.ports.Clerk`, and what it made of addresses."""

    def __init__(self, prepare: Preparer) -> None:
        self._prepare = prepare
        self._remade: tuple[Remade, ...] = ()

    def __call__(self, envelope: Envelope, head: bytes) -> tuple[Envelope, bytes] | Status:
        self._remade = ()
        prepared = self._prepare(envelope, head)
        if isinstance(prepared, Reply):
            return Status(prepared.status, prepared.text)
        self._remade = prepared.remade
        return prepared.envelope, prepared.head

    def remade(self) -> tuple[Remade, ...]:
        """Of the message that was prepared last."""
        return self._remade


def clerk_of(settings: Settings, tables: Tables, by_name_alone: Callable[[str], bool], log: Log) -> _Clerk:
    """content.prepare for mail from inside: everything but automatic copies, as cleanup(8) does it."""
    entries = {name: entry for name, entry in settings.entries.items() if name not in _COPIES}
    addressing = Addressing(Rewriter(view(RewriteParams, settings)).rewrite, by_name_alone)
    prepare = Preparer(
        replace(settings, entries=entries), "", tables, addressing, lambda event: log.emit("cleanup", event)
    )
    return _Clerk(prepare)
