"""Content as it is stored: `prepare(envelope, head, profile)`, once for each message, before the spool (cleanup(8))."""

import time
from collections.abc import Callable

from msgspec import Struct, structs

from postwarden.config.errors import ConfigError
from postwarden.config.settings import Settings
from postwarden.config.view import view
from postwarden.content.head import cut_to, look, tight, with_fields, without
from postwarden.content.params import ContentParams
from postwarden.content.ports import Addressing
from postwarden.content.recipients import Recipients, TooMany
from postwarden.mail.address import external
from postwarden.mail.date import mail_date
from postwarden.mail.envelope import Client, Envelope
from postwarden.mail.events import Event, MessageIdSeen, Warn
from postwarden.mail.reply import Reply
from postwarden.tables.maps import Maps
from postwarden.tables.matching import MatchList
from postwarden.tables.opening import Tables
from postwarden.tables.table import TableError

_DATE, _FROM, _TO, _CC, _BCC = b"date", b"from", b"to", b"cc", b"bcc"
_MESSAGE_ID = b"message-id"


class Prepared(Struct, frozen=True):
    envelope: Envelope
    head: bytes


class Preparer:
    """One content profile: the cleanup service of one name."""

    def __init__(
        self, settings: Settings, service: str, tables: Tables, addressing: Addressing, say: Callable[[Event], None]
    ) -> None:
        """`service` is the cleanup entry's `name/type`, empty for main.cf alone. Raises ConfigError."""
        params = self._params = view(ContentParams, settings, service)
        self._say = say
        self._drop = frozenset(name.lower().encode() for name in params.message_drop_headers)

        def maps(names: tuple[str, ...]) -> Maps:
            return tables.maps(names)

        self._recipients = Recipients(params, maps, addressing)
        self._own = frozenset(settings.own_addresses())
        networks = settings.origin("mynetworks", service)
        parents = "mynetworks" in params.parent_domain_matches_subdomains
        self._networks = MatchList("mynetworks", params.mynetworks, tables, networks, parents=parents)
        self._tables = tables
        self._origin = settings.origin("local_header_rewrite_clients", service)
        self._local = tuple(self._local_client(word, params) for word in params.local_header_rewrite_clients)

    def __call__(self, envelope: Envelope, head: bytes, profile: str = "") -> Prepared | Reply:
        """The message as it is to be stored, or the reply that refuses it. Raises Pending; then call it again."""
        try:
            return self._prepare(envelope, head)
        except TableError as error:
            self._say(Warn(f"{envelope.queue_id}: {error} -- message not accepted, try again later"))
            return Reply(451, "4.3.0", "Error: queue file write error")
        except TooMany as error:
            self._say(Warn(f"{envelope.queue_id}: {error}"))
            return Reply(554, "5.3.0", "Error: unreasonable alias expansion")

    def _prepare(self, envelope: Envelope, head: bytes) -> Prepared | Reply:
        head = tight(head)
        found = look(head)
        if found.hops > self._params.hopcount_limit:
            return Reply(554, "5.4.0", "Error: too many hops")
        if not self._drop.isdisjoint(found.names):
            head = without(head, self._drop)
        if len(head) > self._params.header_size_limit:
            head = cut_to(head, self._params.header_size_limit)
        message_id = found.message_id
        if not {_MESSAGE_ID, _DATE, _FROM} <= found.names and self._adds_headers(envelope.client):
            added, message_id = self._missing(envelope, found.names, message_id)
            head = with_fields(head, added)
        sender = self._recipients.sender(envelope.sender)
        recipients = self._recipients.recipients(sender, envelope.recipients)
        self._say(MessageIdSeen(envelope.queue_id, message_id or "<>"))
        stored = structs.replace(envelope, sender=sender, recipients=recipients, message_id=message_id)
        return Prepared(stored, head)

    def _missing(self, envelope: Envelope, names: frozenset[bytes], message_id: str) -> tuple[list[str], str]:
        """Message-Id, Date and From, with `Resent-` where the message was resent (RFC 5322 3.6.6)."""
        prefix = "Resent-" if any(name.startswith(b"resent-") for name in names) else ""
        low = prefix.lower().encode()
        added = []
        if low + _MESSAGE_ID not in names:
            made = self._new_message_id(envelope)
            added.append(f"{prefix}Message-Id: {made}")
            message_id = message_id or ("" if prefix else made)
        undisclosed = self._params.undisclosed_recipients_header
        if undisclosed and names.isdisjoint((_TO, _CC, _BCC)):
            added.append(undisclosed)
        if low + _DATE not in names:
            added.append(f"{prefix}Date: {mail_date(envelope.arrival)}")
        if low + _FROM not in names:
            added.append(f"{prefix}From: {external(envelope.sender) or 'MAILER-DAEMON'}")
        return added, message_id

    def _new_message_id(self, envelope: Envelope) -> str:
        if self._params.enable_long_queue_ids:
            return f"<{envelope.queue_id}@{self._params.myhostname}>"
        stamp = time.strftime("%Y%m%d%H%M%S", time.gmtime(envelope.arrival))
        return f"<{stamp}.{envelope.queue_id}@{self._params.myhostname}>"

    def _adds_headers(self, client: Client | None) -> bool:
        """Postfix mends the headers of its own users only: a stranger's message travels as it is."""
        if client is None or self._params.always_add_missing_headers:
            return True
        return any(local(client) for local in self._local)

    def _local_client(self, word: str, params: ContentParams) -> Callable[[Client], bool]:
        name = word.lower()
        if name == "permit_inet_interfaces":
            return lambda client: client.address in self._own
        if name == "permit_mynetworks":
            return lambda client: self._networks.match_client(client.name, client.address) is not None
        if name == "permit_sasl_authenticated":
            return lambda client: bool(client.login)
        if name in ("permit_tls_clientcerts", "permit_tls_all_clientcerts"):
            return lambda client: False
        raise ConfigError(self._origin, f'local_header_rewrite_clients: "{word}" is not available in this version')
