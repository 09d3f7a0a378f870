"""What a map makes of an address: canonical(5), virtual(5)."""

from collections.abc import Callable
from functools import partial

from postwarden.content.addresses import addresses_in
from postwarden.mail.decision import BUILT_IN, Missing, Rule
from postwarden.mail.remade import Remaking
from postwarden.tables.maps import Maps
from postwarden.tables.table import Found

RECURSION_LIMIT = 1000


class Unreasonable(Exception):
    """An expansion that passes a limit; the text is for the log."""


class Mapper:
    """Looks addresses up, and completes what it finds. Every method raises TableError and Pending."""

    def __init__(
        self,
        rewrite: Callable[[str], str],
        by_name_alone: Callable[[str], bool],
        delimiters: str,
        circling: Callable[[str], None] = lambda address: None,
        *,
        remaking: Remaking | None = None,
    ) -> None:
        """`circling` hears of an address that a table leads in a circle, `remaking` of all that a table changes."""
        self._circling = circling
        self._remaking = remaking
        self._rewrite = rewrite
        self._by_name_alone = by_name_alone
        self._delimiters = delimiters

    def targets(self, maps: Maps, address: str, *, propagate: bool, parameter: str = "") -> list[str] | None:
        """The addresses that `maps` has for `address`, in standard form. None: it has none.

        `@domain` keeps the local part; `propagate`: an extension that the key did not have goes along. `parameter`:
        whose tables they are, for who wants to know.
        """
        found = maps.find_address(address, self._delimiters, self._by_name_alone)
        if found is None:
            return None
        targets = self._targets(found, address, propagate=propagate)
        self._note(parameter, address, targets, found)
        return targets

    def one(self, maps: Maps, address: str, *, propagate: bool, parameter: str = "") -> str | None:
        """The first of `targets`: what counts where an address can only become one other. None: there is none."""
        found = maps.find_address(address, self._delimiters, self._by_name_alone)
        targets = self._targets(found, address, propagate=propagate)[:1] if found is not None else []
        if found is None or not targets:
            return None
        self._note(parameter, address, targets, found)
        return targets[0]

    def _targets(self, found: Found, address: str, *, propagate: bool) -> list[str]:
        value = found.value.strip()
        extension = found.extension if propagate else ""
        if value.startswith("@"):
            local, at, _ = address.rpartition("@")
            local = (local if at else address).removesuffix(found.extension)
            return [self._rewrite(f"{local}{extension}{value}")]
        return [self._extended(self._rewrite(target), extension) for target in addresses_in(value)]

    def first(self, maps: Maps, address: str, *, parameter: str = "") -> str | None:
        """Where a copy goes: what a bcc map says, not completed."""
        found = maps.find_address(address, self._delimiters, self._by_name_alone)
        if found is None:
            return None
        copy = found.value.strip()
        self._note(parameter, address, [copy], found, copy=True)
        return copy

    def _note(self, parameter: str, address: str, targets: list[str], found: Found, *, copy: bool = False) -> None:
        if self._remaking is not None:
            rule = Rule(found.table, found.key, found.origin or BUILT_IN)
            self._remaking.note(parameter, address, tuple(targets), rule, copy=copy)

    def chain(self, maps: Maps, address: str, *, propagate: bool, parameter: str = "") -> str:
        """Canonical form: looked up again until nothing is found, or the address itself. Where that never happens, what
        cleanup(8) comes to: the address that the last of its steps finds."""
        trail: list[str] = []
        places: dict[str, int] = {}
        for _ in range(RECURSION_LIMIT):
            target = self.one(maps, address, propagate=propagate, parameter=parameter)
            if target is None or target.lower() == address.lower():
                return address if target is None else target
            begin = places.setdefault(address, len(trail))
            if begin < len(trail):
                address = trail[begin + (RECURSION_LIMIT - begin) % (len(trail) - begin)]
                break
            trail.append(address)
            address = target
        self._circling(address)
        return address

    def _extended(self, address: str, extension: str) -> str:
        if not extension:
            return address
        local, at, domain = address.rpartition("@")
        return f"{local}{extension}@{domain}" if at else address + extension


class Limits:
    """virtual_alias_expansion_limit, virtual_alias_recursion_limit, virtual_alias_address_length_limit."""

    __slots__ = ("addresses", "length", "nesting")

    def __init__(self, addresses: int, nesting: int, length: int) -> None:
        self.addresses = addresses
        self.nesting = nesting
        self.length = length


def expand(find: Callable[[str], list[str] | None], address: str, limits: Limits) -> list[str]:
    """Each address replaced by what `find` has for it, and that again; one that comes to itself stays.

    The order is cleanup(8)'s: the first result takes the place of what it replaces, the others go to the end.
    Raises Unreasonable, and Pending for all that `find` lacks.
    """
    expanded = [address]
    missing = Missing()
    done: set[str] = set()
    at = 0
    while at < len(expanded):
        if len(expanded) > limits.addresses:
            raise Unreasonable(f"unreasonable virtual_alias_maps map expansion size for {address}")
        nesting = 0
        while (current := expanded[at]).lower() not in done:
            if nesting >= limits.nesting:
                raise Unreasonable(f"unreasonable virtual_alias_maps map nesting for {address}")
            targets = missing.answer(partial(find, current), None)
            if not targets:
                break
            for target in targets:
                if len(target) > limits.length:
                    raise Unreasonable(f"unreasonable virtual_alias_maps result {target[:300]}...")
                if target.lower() == current.lower():
                    done.add(current.lower())
            expanded[at] = targets[0]
            expanded += targets[1:]
            nesting += 1
        at += 1
    missing.check()
    return expanded
