"""Several tables, asked in order: the value of a `…_maps` parameter."""

from collections.abc import Callable, Iterable

from msgspec import structs

from postwarden.tables.keys import split_extension
from postwarden.tables.table import Found, Table, TableError


def _nowhere(domain: str) -> bool:
    return False


class Maps:
    """The first table that has the key answers; one that can't answer ends the search with TableError."""

    def __init__(self, tables: Iterable[Table] = ()) -> None:
        self.tables = tuple(tables)

    def __bool__(self) -> bool:
        return bool(self.tables)

    def find(self, key: str, *, part: bool = False) -> Found | None:
        """`part`: the key is only a part of what is looked for, so patterns are not asked. Raises TableError."""
        if not key:
            return None
        for table in self.tables:
            if part and not table.fixed:
                continue
            found = table.get(key)
            if found is not None:
                if not found.value:
                    # As in Postfix: an answer that says nothing is a mistake of whoever keeps the table.
                    raise TableError(table.name, f"{key}: empty string result is not allowed")
                return found
        return None

    def find_first(self, keys: Iterable[str]) -> Found | None:
        """The first key whole, the others as parts of it: for `keys.domain_keys` and `keys.network_keys`."""
        for place, key in enumerate(keys):
            found = self.find(key, part=place > 0)
            if found is not None:
                return found
        return None

    def find_address(self, address: str, delimiters: str = "", local: Callable[[str], bool] = _nowhere) -> Found | None:
        """The keys of canonical(5) and virtual(5): `user+ext@domain`, `user@domain`, `user+ext`, `user`, `@domain`.

        The two without a domain only if there is none in the address, or `local` says that the domain is this
        machine's. `Found.extension` is what was cut off. Raises TableError.
        """
        user, at, domain = address.rpartition("@")
        if not at:
            user, domain = address, ""
        bare, extension = split_extension(user, delimiters)
        whole = self.find(address)
        if whole is not None:
            return whole
        if extension and (found := self.find(f"{bare}{at}{domain}", part=True)):
            return structs.replace(found, extension=extension)
        if not at:
            return None
        if local(domain):
            if found := self.find(user, part=True):
                return found
            if extension and (found := self.find(bare, part=True)):
                return structs.replace(found, extension=extension)
        return self.find(f"@{domain}", part=True)
