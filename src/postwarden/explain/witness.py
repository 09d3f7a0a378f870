"""Tables that are watched while they answer: whoever explains opens the gateway's own tables by these."""

from msgspec import Struct

from postwarden.tables.table import Found, Table, TableError, Wrapper


class Look(Struct, frozen=True):
    """One question to a table."""

    table: str
    """`type:name` as the operator wrote it."""
    key: str
    found: Found | None
    fault: str = ""
    """Why it could not answer."""


class Witnessed:
    """A table; each look-up is noted."""

    def __init__(self, table: Table, looks: list[Look]) -> None:
        self._table = table
        self._looks = looks
        self.name = table.name
        self.fixed = table.fixed

    def get(self, key: str) -> Found | None:
        try:
            found = self._table.get(key)
        except TableError as error:
            self._looks.append(Look(self.name, key, None, error.text))
            raise
        self._looks.append(Look(self.name, key, found))
        return found

    def stale(self) -> bool:
        return self._table.stale()

    def reload(self) -> None:
        self._table.reload()


class Witness(Wrapper):
    """Notes what the tables of parameters are asked."""

    def __init__(self) -> None:
        self._looks: list[Look] = []

    def wrap_whole(self, table: Table) -> Table:
        return Witnessed(table, self._looks)

    def taken(self) -> list[Look]:
        """What was asked since this was called last, in order."""
        taken = list(self._looks)
        self._looks.clear()
        return taken
