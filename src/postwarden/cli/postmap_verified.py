"""postmap on what address_verify_map names: the cache of address verification, which is a file of ours and no table.

Values are as verify(8) writes them: status (0 good, 1 not known for now, 2 refused), the time of the last attempt to
renew it, that of the result, and the text.
"""

from collections.abc import Iterable, Iterator, Sequence

from postwarden.mail.verified import BOUNCE, DEFER, OK
from postwarden.tables.table import Found, TableError
from postwarden.verify import file
from postwarden.verify.cache import Known
from postwarden.verify.place import place

_STATUS = {OK: 0, DEFER: 1, BOUNCE: 2}


def verified(name: str, maps: Sequence[str]) -> "VerifiedTable | None":
    """`maps`: the elements of address_verify_map. None where results are kept in memory only."""
    where = place(maps)
    return VerifiedTable(name, where.path) if where.path else None


class VerifiedTable:
    """A `Table`. What the gateway has learned in the last second may not be there yet. All methods raise TableError."""

    fixed = True

    def __init__(self, name: str, path: str) -> None:
        self.name, self.path = name, path

    def get(self, key: str) -> Found | None:
        """As it was asked for; the domain of an address that mail came to is in lower case mostly."""
        try:
            for typed in dict.fromkeys((key, key.lower())):
                known = file.find(self.path, typed)
                if known is not None:
                    return Found(_value(known), typed, self.name)
        except file.CacheError as error:
            raise TableError(self.name, f"{self.path}: {error}") from error
        return None

    def items(self) -> Iterator[tuple[str, str]]:
        try:
            for address, known in file.items(self.path):
                yield address, _value(known)
        except file.CacheError as error:
            raise TableError(self.name, f"{self.path}: {error}") from error

    def forget(self, keys: Iterable[str]) -> int:
        """How many of them were there. A gateway that runs hears of it by `reload`."""
        try:
            return file.forget(self.path, keys)
        except file.CacheError as error:
            raise TableError(self.name, f"{self.path}: {error}") from error

    def stale(self) -> bool:
        return False

    def reload(self) -> None:
        """Each look-up reads."""


def _value(known: Known) -> str:
    return f"{_STATUS[known.status]}:0:{int(known.updated)}:{known.text}"
