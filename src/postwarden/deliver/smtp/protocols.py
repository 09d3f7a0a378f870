"""What delivery by SMTP needs of others, handed over by the pipeline."""

from collections.abc import Callable
from typing import Protocol

from postwarden.deliver.smtp.security import Security
from postwarden.ipc.records import Job
from postwarden.mail.events import Event
from postwarden.mail.host import Host
from postwarden.mail.remade import Remade
from postwarden.mail.session import TlsFacts
from postwarden.mail.status import Status
from postwarden.net.stream import Stream
from postwarden.net.tls_client import Wanted


class Hosts(Protocol):
    """Routing: from a next hop to the addresses to try."""

    def find(self, nexthop: str, done: Callable[[tuple[Host, ...] | Status], None]) -> None:
        """`done` gets the addresses in the order of trying, or why there are none. It may be called at once."""


class ClientTls(Protocol):
    """The client's side of TLS (`net.tls_client`)."""

    def start(self, stream: Stream, wanted: Wanted, server_name: str) -> bool:
        """Begin the handshake as it is wanted; False when our own configuration does not allow it."""


class Outward(Protocol):
    """Addresses as they leave this machine."""

    def find(self, job: Job, done: Callable[[Job | Status, tuple[Remade, ...]], None]) -> None:
        """The job as it is to be said to servers, and what made it so. `done` may be called at once."""


class Policies(Protocol):
    """How connections are to be secured."""

    def find(self, nexthop: str, host: Host, done: Callable[[Security | Status], None]) -> None:
        """For one host of a next hop. `done` may be called at once."""


class Log(Protocol):
    def emit(self, program: str, event: Event, name: str = "") -> None: ...


class Notes(Protocol):
    """What a session has to say to the log."""

    def say(self, text: str) -> None: ...

    def warn(self, text: str) -> None: ...

    def secured(self, host: Host, tls: TlsFacts, trust: str) -> None:
        """`trust` is Postfix's word for what is known of the server: Untrusted, Trusted, Verified."""
