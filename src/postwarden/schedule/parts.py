"""Whom the courier works with."""

from collections.abc import Awaitable, Callable, Mapping, Sequence

from msgspec import Struct

from postwarden.config.errors import Problem
from postwarden.mail.remade import Remade
from postwarden.net.clock import Clock
from postwarden.net.log import Log
from postwarden.schedule.planning import Planner
from postwarden.schedule.ports import Clerk, Inside, Ledger, Site
from postwarden.schedule.spawning import Spawner


class Probing(Struct, frozen=True):
    """What address probes need."""

    planner: Planner
    """Their ways may be others than those of mail (address_verify_relayhost and its like)."""
    sender: Callable[[float], str]
    """Whose mail they are, at that time in seconds since the epoch."""
    head: Callable[[str, float], bytes]
    """Header of one: (queue id, seconds since the epoch)."""


class Parts(Struct, frozen=True):
    ledger: Ledger
    clock: Clock
    log: Log
    planner: Planner
    spawner: Spawner
    inside: Mapping[str, Inside]
    """Command of a transport that the courier itself performs (error, discard) -> how."""
    fetch: Callable[[Callable[[], Awaitable[None]], Callable[[], None]], None]
    """Await the first, then call the second, whatever came of it."""
    refresh: Callable[[], Sequence[Problem]]
    """Look at the tables: to be called once a second."""
    clerk: Clerk
    """content.prepare, for mail that is requeued."""
    served: Site
    """Whether fast_flush_domains has a domain."""
    authorized: Callable[[str, str], bool]
    """Whether a list of users (its parameter's name) has this user."""
    requeued: Callable[[str, float], bytes]
    """The header lines that a requeued message gets: (queue id, seconds since the epoch)."""
    uid: int
    """Of mail_owner, whose the queue is."""
    content_filter: str = ""
    """`transport:nexthop` of requeued mail."""
    probing: Probing | None = None
    """None: no address is probed."""
    remade: Callable[[], tuple[Remade, ...]] = tuple
    """What `clerk` made of the addresses of the message that it prepared last."""
