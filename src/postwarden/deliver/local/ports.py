"""What local delivery needs of others; the agent hands it over. Nothing here waits for a loop: a worker of the agent
does one job at a time."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

from msgspec import Struct

from postwarden.deliver.programs.ports import Programs
from postwarden.mail.events import Event
from postwarden.mail.status import Status


class Account(Struct, frozen=True):
    """An entry of the password file."""

    name: str
    uid: int
    gid: int
    home: str
    shell: str = ""


class Accounts(Protocol):
    """All raise OSError when the answer can't be had now."""

    def by_name(self, name: str) -> Account | None: ...

    def by_uid(self, uid: int) -> Account | None: ...

    def group(self, name: str) -> int | None: ...


class NotPermitted(Exception):
    """This process may not act for that user. The text says who may."""


class Identity(Protocol):
    def acting_as(self, uid: int, gid: int) -> AbstractContextManager[None]:
        """Everything within is done with these rights and no others; afterwards those before hold again.
        Raises NotPermitted."""

    def may_act_as(self, uid: int) -> bool: ...


class Resolution(Protocol):
    @property
    def transport(self) -> str: ...
    @property
    def recipient(self) -> str:
        """With its domain, rewritten."""


class Resolver(Protocol):
    def resolve(self, recipient: str) -> Resolution:
        """Where an address of an alias goes. Raises TableError, Pending."""


class Surroundings(Struct, frozen=True):
    accounts: Accounts
    identity: Identity
    emit: Callable[[Event], None]
    """Into the mail log."""
    now: Callable[[], float]
    sleep: Callable[[float], None]
    host: str
    """Name of this machine, for Maildir file names."""
    programs: Programs
    status_filter: Callable[[Status], Status] | None = None
    """What an operator wants said of a delivery instead."""
