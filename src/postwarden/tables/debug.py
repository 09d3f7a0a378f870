"""debug:type:name: another table, whose look-ups are told to the log."""

from collections.abc import Callable

from postwarden.tables.table import Found, Table, TableError

Say = Callable[[str], None]


def unheard(text: str) -> None:
    """For tables that are opened only to see whether they can be."""


class DebugTable:
    """Answers as the table within."""

    def __init__(self, name: str, table: Table, say: Say) -> None:
        self.name = name
        self.parts = (table,)
        self._table = table
        self._say = say

    @property
    def fixed(self) -> bool:
        return self._table.fixed

    def get(self, key: str) -> Found | None:
        try:
            found = self._table.get(key)
        except TableError:
            self._say(f'{self.name} lookup: "{key}" = "error"')
            raise
        self._say(f'{self.name} lookup: "{key}" = "{"not_found" if found is None else found.value}"')
        return found

    def stale(self) -> bool:
        return self._table.stale()

    def reload(self) -> None:
        self._table.reload()
