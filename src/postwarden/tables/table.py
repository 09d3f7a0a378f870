"""What a lookup table is: a text for a key."""

from typing import Protocol

from msgspec import Struct

from postwarden.mail.decision import Origin


class Found(Struct, frozen=True):
    """An answer, with what is needed to say why."""

    value: str
    key: str
    """The key that matched, of all that were tried."""
    table: str
    """`type:name` as the operator wrote it."""
    origin: Origin | None = None
    """The line of a text table; None where the table has no lines (an index, the password file)."""
    extension: str = ""
    """For a search by address: the extension with its delimiter that was cut off before the key matched."""


class TableError(Exception):
    """The table can't answer now; what depends on it has to be put off (451 4.3.0, deferred)."""

    def __init__(self, table: str, text: str) -> None:
        super().__init__(table, text)
        self.table = table
        self.text = text

    def __str__(self) -> str:
        return f"{self.table}: {self.text}"


class Table(Protocol):
    """A table that answers at once. One that has to ask somebody raises `mail.decision.Pending` in `get`."""

    @property
    def name(self) -> str:
        """`type:name` as the operator wrote it."""

    @property
    def fixed(self) -> bool:
        """It compares whole keys. Only such tables are asked for parts of an address or domain: a pattern that is
        meant for whole addresses must not see `example.com` alone."""

    def get(self, key: str) -> Found | None:
        """The value of `key`, None if there is none. Raises TableError."""

    def stale(self) -> bool:
        """The files behind it have changed since they were read."""

    def reload(self) -> None:
        """Read again. Raises ConfigError with file and line, and then goes on with what it had."""


class Wrapper:
    """What is put round the tables of a role, each time one is opened. This one puts nothing; those who ask from a
    loop, explain or replay have others."""

    def wrap(self, table: Table) -> Table:
        """Round one that is not made of others."""
        return table

    def wrap_whole(self, table: Table) -> Table:
        """Round what a parameter names."""
        return table
