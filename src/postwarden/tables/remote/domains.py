"""`domain` of data base tables and caches: what they are asked for at all."""

import threading

from postwarden.mail.decision import Origin
from postwarden.tables.definition import Definition
from postwarden.tables.matching import MatchList
from postwarden.tables.table import Table
from postwarden.tables.template import Opener


class Domains:
    """`domain = example.com, hash:/etc/postfix/domains`: whose addresses are looked up, all others are not found.

    The tables that are named there are asked by one thread at a time: not all of them are made for more."""

    def __init__(self, definition: Definition, opener: Opener) -> None:
        """Raises ConfigError."""
        self._lock = threading.Lock()
        self._opener = opener
        self._standing_on: list[Table | MatchList] = []
        items = definition.items("domain")
        self._list = MatchList("domain", items, self, definition.where("domain")) if items else None

    def hold(self, key: str) -> bool:
        """Raises TableError."""
        if self._list is None:
            return True
        user, _, domain = key.rpartition("@")
        with self._lock:
            return bool(user and domain) and self._list.match_string(domain) is not None

    def table(self, name: str, origin: Origin) -> Table:
        table = self._opener(name, origin)
        self._standing_on.append(table)
        return table

    def watch(self, thing: MatchList) -> None:
        self._standing_on.append(thing)

    def stale(self) -> bool:
        return any(thing.stale() for thing in self._standing_on)
