"""What the roles say to each other: one tagged Struct a sentence, msgpack on the wire (`ipc.channel`).

Control (master <-> role), mail (receiver <-> courier) and work (courier <-> carrier, agent) are three vocabularies, so
that a role can't even decode what is not meant for it.
"""

from msgspec import Struct

from postwarden.mail.envelope import Client, Envelope, Recipient
from postwarden.mail.remade import Remade
from postwarden.mail.status import Status, Timing

VERSION = 1
"""Raised with each incompatible change of a record; the two ends of a channel must agree."""

# receiver -> courier


class Stored(Struct, frozen=True, array_like=True, tag=1):
    """A message is durable in the sender's segment. `body` is None when the credit was spent or the body has a file
    of its own: the courier then reads it with `spool` when a delivery slot is free."""

    segment: int
    """Number of the segment; unique within the queue directory, across receivers and restarts."""
    offset: int
    """Where the record begins in the segment file."""
    length: int
    envelope: Envelope
    head: bytes
    """Header block up to and with the empty line, CRLF."""
    body: bytes | None
    body_file: str = ""
    """Name within the body directory, for a body that is no part of the record."""
    body_size: int = 0
    """Of the body file, in bytes; 0 without one."""
    body_crc: int = 0
    """CRC-32 of the body file."""


class SegmentSealed(Struct, frozen=True, array_like=True, tag=2):
    """The receiver will append nothing more to it."""

    segment: int


class SiteWanted(Struct, frozen=True, array_like=True, tag=3):
    """A client asks (ETRN) that deferred mail for this domain is tried now. It is of fast_flush_domains."""

    site: str


class AddressAsked(Struct, frozen=True, array_like=True, tag=4):
    """Can mail to this address be delivered? Each question is answered by `AddressKnown` at once, with what is known;
    after `todo` it is answered once more, as soon as a probe has come back. A channel that ends takes with it the
    questions that are open."""

    number: int
    """The receiver's own, different from those of its questions that are open."""
    address: str
    """In standard form, not empty."""


FromReceiver = Stored | SegmentSealed | SiteWanted | AddressAsked

# courier -> receiver


class Credit(Struct, frozen=True, array_like=True, tag=1):
    """So much more may be sent with its body. At the start of a channel: 256 messages, 16 MiB."""

    messages: int
    octets: int


class SlowDown(Struct, frozen=True, array_like=True, tag=2):
    """Wait `seconds` before each new transaction (in_flow_delay); 0 ends it."""

    seconds: float


class AddressKnown(Struct, frozen=True, array_like=True, tag=3):
    """The answer to the question of that number; the fields are those of `mail.verified.Verified`."""

    number: int
    status: str
    text: str


ToReceiver = Credit | SlowDown | AddressKnown

# courier -> carrier, agent


class Job(Struct, frozen=True, array_like=True, tag=1):
    """One delivery: one message, one transport, one next hop, some of its recipients. `body` None: a file descriptor
    comes with this record, open for reading, positioned anywhere; its bytes from `body_offset`, `body_size` of them."""

    job_id: int
    transport: str
    """Service name of a master.cf transport entry."""
    nexthop: str
    queue_id: str
    arrival: float
    active: float
    """When it entered the active queue: what lies before is `a`, what lies after `b` of `delays=a/b/c/d`."""
    sender: str
    recipients: tuple[Recipient, ...]
    size: int
    head: bytes
    body: bytes | None
    body_offset: int = 0
    body_size: int = 0
    eight_bit: bool = False
    smtputf8: bool = False
    ret: str = ""
    envid: str = ""
    client: Client | None = None
    body_crc: int = 0
    """CRC-32 of the body that comes as a descriptor; 0: not known."""
    trace: str = ""
    """As in `Envelope`: with `verify`, find out what would become of it, and deliver nothing."""
    probe: bool = False
    """Nobody reads what is found out but who asked whether the address is good: an alias is good, whoever it is."""


ToDeliverer = Job

# carrier, agent -> courier


class Outcome(Struct, frozen=True, array_like=True, tag=1):
    """The end of a job. `results` has one Status for each recipient, in the job's order."""

    job_id: int
    results: tuple[Status, ...]
    timing: Timing
    destination_fault: Status | None = None
    """The destination as a whole could not be used (no connection, no greeting): the scheduler's negative feedback."""
    remade: tuple[Remade, ...] = ()
    """What aliases, lists, .forward files and smtp_generic_maps made of addresses."""


class Forward(Struct, frozen=True, array_like=True, tag=2):
    """The agent expanded an alias or a .forward: one recipient of a running job becomes these. Comes before the
    `Outcome` of the job, in which that recipient has status 2.0.0.

    With a `transport` they are delivered by it (mailbox_transport, fallback_transport), wherever they are routed.
    Without recipients it is the recipient itself that goes on by that transport, and its outcome is still to come.
    """

    job_id: int
    recipient_index: int
    sender: str
    recipients: tuple[Recipient, ...]
    transport: str = ""
    nexthop: str = ""
    by: str = "local"
    """The transport that expanded it, for the log."""


class Troubled(Struct, frozen=True, array_like=True, tag=3):
    """A server said what no server should, and the postmaster wants to hear of it: mail to be sent."""

    server: str
    """`name[address]:port`."""
    protocol: str
    """SMTP or LMTP."""
    transcript: tuple[str, ...]
    """Lines, as they stand in the message."""


FromDeliverer = Outcome | Forward | Troubled

# master -> role


class Listener(Struct, frozen=True, array_like=True):
    """A listening socket that a receiver inherits; its descriptor comes with `Start`, in the order of the listeners."""

    service: str
    """First column of the master.cf entry: `smtp`, `submission`, `127.0.0.1:10025`."""
    address: str
    port: int
    patience: int = 0
    """Seconds that a load balancer has to say whose connection it is (PROXY protocol); 0: clients come themselves."""
    window: int = 0
    """Bytes of the kernel's buffers (tcp_windowsize); 0: as many as the kernel likes."""


class Start(Struct, frozen=True, array_like=True, tag=1):
    """The first record on a control channel. Its descriptors, in order: the log (if `log_to` is `fd`), the memory map
    of client counters (receivers only), one for each listener, one for each file that is handed over."""

    role: str
    instance: int
    """Small number, unique among the living processes of this role: names segments, picks a column of counters."""
    generation: int
    """Counted up by reload."""
    settings: bytes
    """`config.settings.Settings`, as msgpack."""
    user: str
    """Whom to become before anything is read from outside; empty: stay who you are."""
    listeners: tuple[Listener, ...] = ()
    log_to: str = ""
    """`fd` (the first descriptor), or the path of a syslog socket."""
    handed: tuple[str, ...] = ()
    """Paths of the files that only root may read: the role opens `/proc/self/fd/N` in their place."""


class Link(Struct, frozen=True, array_like=True, tag=2):
    """A channel to another role, whose end comes as descriptor. The courier gets one for each receiver, carrier and
    agent, the others one to the courier; after a restart of the other side a new one comes."""

    role: str
    instance: int
    generation: int


class Reconfigure(Struct, frozen=True, array_like=True, tag=3):
    """Courier and agent swap their configuration in place; a bad one is answered by Refused and changes nothing. The
    log is opened anew in any case: `log_to` and the descriptor are as in `Start`."""

    settings: bytes
    log_to: str = ""
    """Empty: it stays."""


class Drain(Struct, frozen=True, array_like=True, tag=4):
    """Accept nothing more and end with the last session or delivery. `at_once`: 421 at the next command boundary."""

    at_once: bool = False


class Flush(Struct, frozen=True, array_like=True, tag=5):
    """Try all deferred mail now."""


class Handed(Struct, frozen=True, array_like=True, tag=6):
    """Files that only root may read have new content; a descriptor for each."""

    paths: tuple[str, ...]


FromMaster = Start | Link | Reconfigure | Drain | Flush | Handed

# role -> master


class Ready(Struct, frozen=True, array_like=True, tag=1):
    """At work. For a receiver: it accepts."""


class Refused(Struct, frozen=True, array_like=True, tag=2):
    """The configuration can't be used; `reason` names file and line. At start the role then ends with code 78."""

    reason: str


class Report(Struct, frozen=True, array_like=True, tag=3):
    """Figures for `status`, once in a while."""

    figures: dict[str, int]


class Unlinked(Struct, frozen=True, array_like=True, tag=4):
    """The channel to the courier is gone and no other has come: a new one is wanted, if there is a courier."""


ToMaster = Ready | Refused | Report | Unlinked
