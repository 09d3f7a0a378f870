"""What is kept of a decision: small values, written as msgpack. New fields go to the end."""

from msgspec import Struct

from postwarden.mail.decision import Fact, Origin, Rule
from postwarden.mail.envelope import Client
from postwarden.mail.session import SessionFacts, TlsFacts
from postwarden.mail.status import Status


class Because(Struct, frozen=True, array_like=True):
    """A rule, without the text of its line."""

    name: str
    argument: str = ""
    file: str = ""
    line: int = 0

    @classmethod
    def of(cls, rule: Rule) -> "Because":
        return cls(rule.name, rule.argument, rule.origin.file, rule.origin.line)

    @property
    def origin(self) -> Origin:
        return Origin(self.file, self.line, "")


class Facts(Struct, frozen=True, array_like=True):
    """A session as policy saw it, as far as it can be judged again."""

    client: Client
    name_status: int
    reverse_name_status: int
    server_address: str
    server_port: int
    tls: TlsFacts | None
    sender: str | None
    recipients: int
    size: int
    queue_id: str
    pipelined: bool
    recipient: str | None

    @classmethod
    def of(cls, facts: SessionFacts) -> "Facts":
        return cls(
            facts.client, facts.name_status, facts.reverse_name_status, facts.server_address, facts.server_port,
            facts.tls, facts.sender, facts.recipients, facts.size, facts.queue_id, facts.pipelined, facts.recipient,
        )  # fmt: skip

    def session(self) -> SessionFacts:
        return SessionFacts(
            self.client, self.name_status, self.reverse_name_status, self.server_address, self.server_port, self.tls,
            self.sender, self.recipients, self.size, self.queue_id, self.pipelined, self.recipient,
        )  # fmt: skip


class Judged(Struct, frozen=True, array_like=True, tag="j"):
    """What policy said at one stage of a session."""

    when: float
    """Seconds since the epoch."""
    session: str
    """The same for all that one connection did."""
    service: str
    """`smtp/inet`."""
    stage: str
    facts: Facts
    recipient: str
    queue_id: str
    """Empty where there was none yet."""
    verdict: str
    reply: str
    """`554 5.7.1 text`; empty where the client was let go on."""
    because: Because
    known: tuple[Fact, ...] = ()
    """What the decision stood on."""
    effects: tuple[str, ...] = ()
    """What was to be done beside: `redirect someone@example.com`."""
    reference: str = ""
    """What the reply told the client to name, when he asks."""
    asked: tuple[Fact, ...] = ()
    """What others answered while this was judged, whether it decided or not: see `trace.answers`."""
    recipients: tuple[str, ...] = ()
    """Of the message, where it was refused as a whole."""
    policy: bool = True
    """A restriction said it; False: the server itself, for a limit, a broken rule of SMTP or a trouble of its own, and
    `because` names the parameter where there is one."""


class Stored(Struct, frozen=True, array_like=True, tag="s"):
    """A message is durable. `recipients` are (address, what it was before): empty where that was the same."""

    when: float
    queue_id: str
    session: str
    """Empty: it did not come by SMTP."""
    sender: str
    message_id: str
    size: int
    recipients: tuple[tuple[str, str], ...]
    client: str = ""
    """`name[address]`, or `local uid 1000`."""
    parent: str = ""
    """Queue id of the message that it is a report about, or a forward of."""


class Mapped(Struct, frozen=True, array_like=True, tag="m"):
    """A table or a setting made something else of an address."""

    when: float
    queue_id: str
    parameter: str
    before: str
    after: tuple[str, ...]
    because: Because
    place: str = ""
    """As in `mail.remade.Remade`."""


class Attempted(Struct, frozen=True, array_like=True, tag="a"):
    """What became of one recipient in one attempt."""

    when: float
    queue_id: str
    recipient: str
    original: str
    status: Status
    transport: str = ""
    """With the next hop, what was tried; empty: nothing was."""
    nexthop: str = ""


class Ended(Struct, frozen=True, array_like=True, tag="e"):
    """Nothing is left of a message."""

    when: float
    queue_id: str


class Operated(Struct, frozen=True, array_like=True, tag="o"):
    """An operator had something done with a message."""

    when: float
    queue_id: str
    operation: str
    """One of `ipc.queue_records.OPERATIONS`."""


Record = Judged | Stored | Mapped | Attempted | Ended | Operated
