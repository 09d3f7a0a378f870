"""What is known of an SMTP session when policy is asked about it."""

from typing import Any

from msgspec import Struct, field

from postwarden.mail.decision import Decision
from postwarden.mail.envelope import Client


class TlsFacts(Struct, frozen=True, array_like=True):
    """An established TLS layer, as the Received header and the log name it."""

    protocol: str
    cipher: str
    bits: int
    peer_subject: str = ""
    server_name: str = ""


class PeerCertificate(Struct, frozen=True):
    der: bytes
    names: tuple[str, ...] = ()
    """Host names that it is for; none where its chain was not verified."""


class Findings:
    """What was found out for the command at hand: who is asked again after a `decision.Pending` finds it here.

    The session owns it and clears it before each command, so that the next one asks anew, and a server that counts its
    questions (check_policy_service) hears each of them once."""

    __slots__ = ("_session", "instance", "known", "name", "put_off")

    def __init__(self) -> None:
        self.known: dict[tuple[object, ...], Any] = {}
        self.instance = ""
        """Names the transaction, or the session outside of one, to policy servers; empty: no name yet."""
        self._session = ""
        self.name = ""
        """Of the session, to the store of decisions; empty: nothing of it was kept yet."""
        self.put_off: dict[str, Decision | None] = {}
        """What mail that would come in is refused with for now, by the subject of the list that said so, where lists
        are obeyed at their own command."""

    def message_begins(self) -> None:
        self._session, self.instance = self.instance, ""

    def message_ends(self) -> None:
        self.instance = self._session


class SessionFacts(Struct, frozen=True):
    """One value per state of the session; a change makes a new one. Policy reads it, `receive` writes it."""

    client: Client
    name_status: int = 2
    """Standing of `client.name`: 2 verified, 4 lookup failed temporarily, 5 no such name."""
    reverse_name_status: int = 2
    server_address: str = ""
    server_port: int = 0
    tls: TlsFacts | None = None
    sender: str | None = None
    """None before MAIL."""
    recipients: int = 0
    """Accepted in this transaction."""
    size: int = 0
    """Declared with MAIL SIZE=, or counted at the end of data."""
    queue_id: str = ""
    pipelined: bool = False
    """The client sent more before it was told that PIPELINING is available, or where a reply had to be awaited."""
    recipient: str | None = None
    """The recipient that was accepted, where it is the only one: what is decided after RCPT holds for all of them."""
    findings: Findings = field(default_factory=Findings)
    stress: bool = False
    """The service was near its limit of sessions when this one began (STRESS_README)."""
