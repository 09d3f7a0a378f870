"""Content as it is stored: `prepare(envelope, head, profile)`, once for each message, before the spool (cleanup(8))."""

import time
from collections.abc import Callable

from msgspec import Struct, structs

from postwarden.addressing.params import RewriteParams
from postwarden.addressing.rewrite import Rewriter
from postwarden.config.settings import Settings
from postwarden.config.view import view
from postwarden.content.addresses import RECIPIENTS, SENDERS, needs_look, rewritten
from postwarden.content.author import author
from postwarden.content.canonical import Canonical, Masquerade, Place
from postwarden.content.head import Look, Scanner, cut_to, fields, name_of, rejoin, with_fields
from postwarden.content.locals import LocalClients
from postwarden.content.mapping import Mapper, Unreasonable
from postwarden.content.params import ContentParams
from postwarden.content.ports import Addressing
from postwarden.content.recipients import Recipients, Rewrite
from postwarden.content.standard import Standard
from postwarden.mail.date import mail_date
from postwarden.mail.decision import Missing, Rule
from postwarden.mail.envelope import Envelope, Recipient
from postwarden.mail.events import Event, MessageIdSeen, Warn
from postwarden.mail.remade import Remade, Remaking
from postwarden.mail.reply import Reply
from postwarden.tables.maps import Maps
from postwarden.tables.opening import Tables
from postwarden.tables.table import TableError

_MESSAGE_IDS = 10
"""That are logged: a megabyte of them would push all other lines out of the log."""
_LINE = 998
_VISIBLE = (b"to", b"cc", b"resent-to", b"resent-cc")
_ADDRESSES = SENDERS | RECIPIENTS
_NAMES = _ADDRESSES | {b"message-id", b"date", b"received"}


class Prepared(Struct, frozen=True):
    envelope: Envelope
    head: bytes
    remade: tuple[Remade, ...] = ()
    """What became of addresses, step by step."""


class Preparer:
    """One content profile: the cleanup service of one name."""

    def __init__(
        self,
        settings: Settings,
        service: str,
        tables: Tables,
        addressing: Addressing,
        say: Callable[[Event], None],
        *,
        mapped: bool = True,
    ) -> None:
        """`service` is the cleanup entry's `name/type`, empty for main.cf alone. `mapped`: addresses are (canonical
        and virtual maps, masquerading), and automatic copies are made. Raises ConfigError."""
        params = view(ContentParams, settings, service)
        params = self._params = params if mapped else _unmapped(params)
        self._say = say
        self._drop = frozenset(name.lower().encode() for name in params.message_drop_headers)
        self._scanner = Scanner(_NAMES | self._drop)
        remaking = self._remaking = Remaking(kept=bool(settings.value("postwarden_trace")))

        def maps(name: str) -> Maps:
            return tables.maps(getattr(params, name), settings.origin(name, service))

        def written(name: str) -> Rule:
            return Rule(name, settings.text(name, service), settings.origin(name, service))

        standard = self._rewrite = Standard(
            addressing.rewrite, Rewriter(view(RewriteParams, settings)), remaking, written
        )
        mapper = Mapper(
            addressing.rewrite, addressing.by_name_alone, params.recipient_delimiter, self._circling, remaking=remaking
        )
        masquerade = self._masquerade = Masquerade(
            params, tables, settings.origin("masquerade_exceptions", service),
            domains=settings.origin("masquerade_domains", service), remaking=remaking,
        )  # fmt: skip
        self._canonical = {place: Canonical(place, params, mapper, maps, masquerade) for place in Place}
        self._recipients = Recipients(
            params, mapper, maps, standard, self._canonical[Place.ENVELOPE_RECIPIENT],
            remaking=remaking, written=written,
        )  # fmt: skip
        # In a stranger's header, a name without a domain is no name of ours.
        origin = params.remote_header_rewrite_domain
        rewriting = view(RewriteParams, settings, service)
        remote = Rewriter(structs.replace(rewriting, myorigin=origin, mydomain=origin))
        appended = "remote_header_rewrite_domain"
        self._remote = Standard(remote.rewrite, remote, remaking, written, appended) if origin else None
        self._usual = all(self._canonical[place].plain for place in (Place.HEADER_SENDER, Place.HEADER_RECIPIENT))
        self._local = LocalClients(settings, service, tables)

    def refresh(self) -> None:
        """A file in a list may have changed. Raises ConfigError, and then keeps what it had."""
        self._local.refresh()
        self._masquerade.refresh()

    def __call__(self, envelope: Envelope, head: bytes, *, local: bool | None = None) -> Prepared | Reply:
        """The message as it is to be stored, or the reply that refuses it. Raises Pending; then call it again.

        `local`: it comes from one of our own users; None: it was found out before, or main.cf says whether it does.
        """
        if local is None:
            local = envelope.context == "local" if envelope.context else self._local(envelope.client)
        self._remaking.taken()  # of a time before, when a fact was missing
        try:
            return self._prepare(envelope, head, local=local)
        except TableError as error:
            self._say(Warn(f"{envelope.queue_id}: {error} -- message not accepted, try again later"))
            return Reply(451, "4.3.0", "Error: queue file write error")
        except Unreasonable as error:
            self._say(Warn(f"{envelope.queue_id}: {error} -- message not accepted, try again later"))
            return Reply(451, "4.6.0", "Alias expansion error")

    def _circling(self, address: str) -> None:
        self._say(Warn(f"unreasonable canonical map nesting for {address} -- the tables lead in a circle"))

    def _prepare(self, envelope: Envelope, head: bytes, *, local: bool) -> Prepared | Reply:
        params, queue_id = self._params, envelope.queue_id
        seen = self._scanner.look(head)
        head = seen.head
        if seen.hops >= params.hopcount_limit:
            return Reply(554, "5.4.0", "Error: too many hops")
        rewrite = self._context(local)
        self._remaking.place = "envelope_sender"
        sender = envelope.sender and self._canonical[Place.ENVELOPE_SENDER](self._rewrite(envelope.sender))
        aliases: list[Recipient] = []
        typed = envelope.client is None
        self._remaking.place = "envelope_recipient"
        recipients = self._recipients.of(sender, envelope.recipients, aliases, typed=typed)
        if rewrite is not None:
            head = self._with_addresses(seen, head, rewrite)
        if len(head) > params.header_size_limit or not self._drop.isdisjoint(seen.names):
            head = self._trimmed(head)
        message_id = ""
        for name, value in seen.message_ids()[:_MESSAGE_IDS]:
            self._say(MessageIdSeen(queue_id, value, name))
            message_id = value[:_LINE] if name == "message-id" else message_id
        if rewrite is not None or params.always_add_missing_headers:
            missing, made = self._missing(seen, envelope, sender)
            message_id = message_id or made
            if missing:
                head = with_fields(head, missing)
        if not message_id and b"message-id" not in seen.names:
            self._say(MessageIdSeen(queue_id, "<>"))
        context = "local" if local else "remote"
        envelope = structs.replace(
            envelope, sender=sender, recipients=recipients, message_id=message_id, context=context,
            expanded=(*envelope.expanded, *aliases),
        )  # fmt: skip
        return Prepared(envelope, head, self._remaking.taken())

    def _missing(self, seen: Look, envelope: Envelope, sender: str) -> tuple[list[str], str]:
        """Message-Id, Date and From, with `Resent-` where the message was resent (RFC 5322 3.6.6); To. And the
        Message-Id, if it was made."""
        prefix = "Resent-" if seen.resent else ""
        low = prefix.lower().encode()
        added = []
        made = ""
        if low + b"message-id" not in seen.names:
            new = self._new_message_id(envelope.queue_id, envelope.arrival)
            added.append(f"{prefix}Message-Id: {new}")
            self._say(MessageIdSeen(envelope.queue_id, new, f"{low.decode()}message-id"))
            made = "" if prefix else new
        if low + b"date" not in seen.names:
            added.append(f"{prefix}Date: {mail_date(envelope.arrival)}")
        if low + b"from" not in seen.names:
            form = self._params.header_from_format
            added.append(f"{prefix}From: {author(sender, envelope.full_name, form)}")
        undisclosed = self._params.undisclosed_recipients_header
        if undisclosed and seen.names.isdisjoint(_VISIBLE):
            added.append(undisclosed)
        return added, made

    def _trimmed(self, head: bytes) -> bytes:
        """Without the fields that must not travel, and with those cut that are too long."""
        limit = self._params.header_size_limit
        kept = [field for field in fields(head) if name_of(field) not in self._drop]
        return rejoin(head, [field if len(field) <= limit else cut_to(field, limit) for field in kept])

    def _with_addresses(self, seen: Look, head: bytes, rewrite: Rewrite) -> bytes:
        """Addresses in standard form, since nobody else can know what this machine's users mean by `root`."""
        suspects = [field for name in _ADDRESSES & seen.names for _, field in seen.find(name)]
        if self._usual:
            suspects = list(filter(needs_look, suspects))
        missing = Missing()
        changed = {field: new for field in suspects if (new := self._field(field, rewrite, missing)) != field}
        missing.check()
        return rejoin(head, [changed.get(field, field) for field in fields(head)]) if changed else head

    def _field(self, field: bytes, rewrite: Rewrite, missing: Missing) -> bytes:
        place = Place.HEADER_SENDER if name_of(field) in SENDERS else Place.HEADER_RECIPIENT
        canonical = self._canonical[place]
        self._remaking.place = place.value
        limit = self._params.header_address_token_limit

        def changed(address: str) -> str:
            return missing.answer(lambda: canonical(rewrite(address)), address)

        return rewritten(field, changed, limit)

    def _new_message_id(self, queue_id: str, arrival: float) -> str:
        if self._params.enable_long_queue_ids:
            return f"<{queue_id}@{self._params.myhostname}>"
        stamp = time.strftime("%Y%m%d%H%M%S", time.gmtime(arrival))
        return f"<{stamp}.{queue_id}@{self._params.myhostname}>"

    def _context(self, local: bool) -> Rewrite | None:
        """How addresses in the header are completed; None: not at all."""
        if local:
            return self._rewrite
        return self._remote


def _unmapped(params: ContentParams) -> ContentParams:
    return structs.replace(
        params, canonical_maps=(), sender_canonical_maps=(), recipient_canonical_maps=(), virtual_alias_maps=(),
        masquerade_domains=(), always_bcc="", sender_bcc_maps=(), recipient_bcc_maps=(),
    )  # fmt: skip
