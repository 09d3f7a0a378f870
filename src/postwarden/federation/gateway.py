"""What the merge asks of this gateway: where an address leads, and which names exist."""

import pwd
from collections.abc import Callable

from postwarden.addressing.resolve import AddressClass, Resolved, open_resolver
from postwarden.config.settings import Settings
from postwarden.config.values import split
from postwarden.tables.keys import split_extension
from postwarden.tables.maps import Maps
from postwarden.tables.opening import Tables
from postwarden.tables.source import SourceTable
from postwarden.tables.table import Found

FIRST_USER = 1000
"""Accounts below this uid are the system's own."""
RESERVED = frozenset(("root", "postmaster", "mailer-daemon", "abuse", "double-bounce", "hostmaster", "webmaster",
                      "security", "noc", "admin", "administrator"))  # fmt: skip
"""Names that no pattern gives away (RFC 2142 and custom): they are granted by name or not at all."""
_MAX_KEPT = 1_000_000


class Gateway:
    """Raises TableError where a table can't answer: then nothing can be judged, and nothing is changed."""

    def __init__(
        self,
        settings: Settings,
        merged: tuple[str, ...] = (),
        organization: tuple[str, ...] = (),
        account: Callable[[str], int | None] | None = None,
    ) -> None:
        """`merged`: tables whose content is about to be replaced. `account`: uid of a user. Raises ConfigError."""
        tables = Tables.of(settings)
        self.resolver = open_resolver(settings, tables)
        names = split(settings.text("alias_maps"))
        self.alias_maps = names
        self.virtual_maps = split(settings.text("virtual_alias_maps"))
        own = tuple(name for name in names if name.removeprefix("proxy:") not in merged)
        self._own = Maps(
            table for table in tables.maps(own, settings.origin("alias_maps")).tables if not _absent(table)
        )
        self._delimiter = settings.text("recipient_delimiter")
        self._account = account or _uid
        self._organization = tuple(d.lower() for d in (settings.text("mydomain"), *organization) if d)
        self._uids: dict[str, int | None] = {}
        self._resolved: dict[str, Resolved] = {}

    def resolve(self, address: str) -> Resolved:
        """As AddressResolver, with a memory: many entries point to the same."""
        known = self._resolved.get(address)
        if known is None:
            if len(self._resolved) >= _MAX_KEPT:
                self._resolved.clear()
            known = self._resolved[address] = self.resolver.resolve(address.removeprefix("\\"))
        return known

    def local_domain(self, domain: str) -> bool:
        return self.resolver.local_domain(domain)

    def inside(self, resolved: Resolved) -> bool:
        """Whether what it leads to belongs to the organization."""
        if resolved.address_class is not AddressClass.DEFAULT:
            return True
        return within(resolved.recipient.rpartition("@")[2], (*self._organization, *self._below()))

    def _below(self) -> tuple[str, ...]:
        return tuple(f".{domain.lstrip('.')}" for domain in self._organization)

    def own_alias(self, name: str) -> Found | None:
        """What the gateway's own alias tables have for a name."""
        return self._own.find(name)

    def user(self, name: str) -> int | None:
        """uid of the account; None: there is none."""
        if name not in self._uids:
            self._uids[name] = self._account(name)
        return self._uids[name]

    def reserved(self, name: str) -> bool:
        """No pattern may cover it."""
        uid = self.user(name)
        return name in RESERVED or (uid is not None and uid < FIRST_USER)

    def names_of(self, local: str) -> tuple[str, ...]:
        """The names that local delivery looks up for a local part, in order."""
        user, extension = split_extension(local, self._delimiter)
        return (local, user) if extension else (local,)


def within(domain: str, patterns: tuple[str, ...]) -> bool:
    """`example.com` means itself, `.example.com` what is below it."""
    domain = domain.lower().rstrip(".")
    return any(domain.endswith(p) if p.startswith(".") else domain == p for p in patterns)


def _absent(table: object) -> bool:
    return isinstance(table, SourceTable) and bool(table.fault)


def _uid(name: str) -> int | None:
    try:
        return pwd.getpwnam(name).pw_uid
    except (KeyError, ValueError):
        return None
