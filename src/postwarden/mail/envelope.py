"""The envelope: who sent a message, to whom it goes, and what SMTP said beside its content.

Addresses are in internal form (RFC 5321 4.1.2 without quotes and escapes), as `str`; bytes above 127 are UTF-8, and a
byte sequence that is no UTF-8 never gets this far. An empty sender is the null reverse-path.
"""

from enum import IntFlag

from msgspec import Struct


class Notify(IntFlag):
    """DSN NOTIFY (RFC 3461 4.1). 0: the client said nothing, so FAILURE and, by our choice, DELAY."""

    UNSPECIFIED = 0
    NEVER = 1
    SUCCESS = 2
    FAILURE = 4
    DELAY = 8


class Recipient(Struct, frozen=True, array_like=True):
    address: str
    """Where the message goes, after rewriting."""
    original: str = ""
    """The address that the client gave, when rewriting changed it (`orig_to=`, X-Original-To); else empty."""
    orcpt: str = ""
    """DSN ORCPT as given: `type;xtext`; empty when absent."""
    notify: int = 0
    """Bits of `Notify`."""


class Client(Struct, frozen=True, array_like=True):
    """The SMTP client, or what XCLIENT said of it. A name that is not known is "unknown", as Postfix prints it."""

    name: str
    """Verified host name: address -> name -> address agree."""
    address: str
    """Without brackets and without an `IPv6:` prefix."""
    port: int = 0
    reverse_name: str = "unknown"
    """PTR name, not verified."""
    helo: str = ""
    protocol: str = "SMTP"
    """SMTP or ESMTP."""
    login: str = ""
    """SASL user name."""
    ident: str = ""
    """What the message was called where it came from (XFORWARD)."""

    def __str__(self) -> str:
        return f"{self.name}[{self.address}]"


class PortedClient(Client, frozen=True, array_like=True):
    """Shown with its port (smtpd_client_port_logging); where it is stored it is a `Client`."""

    def __str__(self) -> str:
        return f"{self.name}[{self.address}]:{self.port or 'unknown'}"


class Envelope(Struct, frozen=True, array_like=True):
    """What is stored with a message. `recipients` is what is left after virtual maps and bcc."""

    queue_id: str
    arrival: float
    """Seconds since the epoch, UTC, when the transaction began."""
    sender: str
    recipients: tuple[Recipient, ...]
    size: int
    """Bytes of head and body as stored, with CRLF line ends."""
    eight_bit: bool = False
    """BODY=8BITMIME was given, or the content has bytes above 127."""
    smtputf8: bool = False
    ret: str = ""
    """DSN RET: FULL, HDRS, or empty."""
    envid: str = ""
    """DSN ENVID as given (xtext); empty when absent."""
    client: Client | None = None
    """None for mail that did not come by SMTP."""
    message_id: str = ""
    """With its angle brackets; empty where the message has none."""
    context: str = ""
    """Which headers were rewritten as local mail's: "local" or "remote" (local_header_rewrite_clients)."""
    user: str = ""
    """Decimal uid of the local user who submitted it; empty for other mail."""
    full_name: str = ""
    """Of the sender, as local submission gave it."""
    verp: str = ""
    """Two delimiters (verp_delimiter_filter): each recipient gets a sender address of its own; empty: none."""
    trace: str = ""
    """`verify`: nothing is delivered, a report says what would be; `record`: a report says what was; else empty."""
    expanded: tuple[Recipient, ...] = ()
    """Aliases among the recipients of which the sender wants to know that they became others (RFC 3461 5.2.7)."""
    server: tuple[str, int] = ("", 0)
    """Address and port at which the SMTP client reached us."""
    created: float = 0.0
    """When it was requeued: what its lifetime is counted from; 0: from its arrival."""
    hold: bool = False
    """Policy or content wants it on hold; a message that was put away before was released since."""
    filter: str = ""
    """`transport:nexthop` that gets the whole message, wherever its recipients are routed (content_filter, FILTER);
    empty: none."""
