"""What the merge asks of this gateway: where an address leads, and which names exist."""

import os
import pwd
from collections.abc import Callable

from msgspec.structs import replace

from postwarden.addressing.resolve import AddressClass, Resolved, open_resolver
from postwarden.config.entries import Entry
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
        self.alias_maps = names = split(settings.text("alias_maps"))
        self.virtual_maps = split(settings.text("virtual_alias_maps"))
        settings = _without_missing(settings, merged)
        tables = Tables.of(settings)
        self.resolver = open_resolver(settings, tables)
        own = tuple(name for name in names if name.removeprefix("proxy:") not in merged)
        self._own = Maps(
            table for table in tables.maps(own, settings.origin("alias_maps")).tables if not _absent(table)
        )
        self._virtual = tables.maps(split(settings.text("virtual_alias_maps")), settings.origin("virtual_alias_maps"))
        self._local_domains = split(settings.text("mydestination"))
        self._delimiter = settings.text("recipient_delimiter")
        self._account = account or _uid
        # All at once: to ask for each of a million names would take a minute.
        self._system = _system_accounts() if account is None else None
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

    def by_name_alone(self, domain: str) -> bool:
        return self.resolver.by_name_alone(domain)

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

    def virtual(self, name: str) -> Found | None:
        """What virtual_alias_maps has for a name of this machine, whatever the domain."""
        if not self._virtual:
            return None
        found = self._virtual.find(name, part=True)
        if found is not None:
            return found
        addresses = [f"{name}@{domain}" for domain in self._local_domains if ":" not in domain and "/" not in domain]
        answers = [self._virtual.find(address) for address in addresses]
        return answers[0] if answers and all(answers) else None

    def user(self, name: str) -> int | None:
        """uid of the account; None: there is none."""
        if name not in self._uids:
            self._uids[name] = self._account(name)
        return self._uids[name]

    def reserved(self, name: str) -> bool:
        """No pattern may cover it."""
        if name in RESERVED:
            return True
        if self._system is not None:
            return name in self._system
        uid = self.user(name)
        return uid is not None and uid < FIRST_USER

    def names_of(self, local: str) -> tuple[str, ...]:
        """The names that local delivery looks up for a local part, in order."""
        user, extension = split_extension(local, self._delimiter)
        return (local, user) if extension else (local,)


def within(domain: str, patterns: tuple[str, ...]) -> bool:
    """`example.com` means itself, `.example.com` what is below it."""
    domain = domain.lower().rstrip(".")
    return any(domain.endswith(p) if p.startswith(".") else domain == p for p in patterns)


def _without_missing(settings: Settings, merged: tuple[str, ...]) -> Settings:
    """Before the first merge main.cf names tables that are not there yet, and by virtual_alias_domains even the class
    of a domain would depend on them."""
    entries = settings.entries
    for name in ("alias_maps", "virtual_alias_maps"):
        tables = split(settings.text(name))
        there = [one for one in tables if one.removeprefix("proxy:") not in merged or _exists(one)]
        if len(there) < len(tables):
            entries = entries | {name: Entry(" ".join(there), settings.origin(name))}
    return settings if entries is settings.entries else replace(settings, entries=entries)


def _exists(table: str) -> bool:
    path = table.removeprefix("proxy:").partition(":")[2]
    return any(os.path.exists(f"{path}{suffix}") for suffix in ("", ".lmdb", ".cdb"))


def _absent(table: object) -> bool:
    return isinstance(table, SourceTable) and bool(table.fault)


def _system_accounts() -> frozenset[str]:
    return frozenset(entry.pw_name for entry in pwd.getpwall() if entry.pw_uid < FIRST_USER)


def _uid(name: str) -> int | None:
    try:
        return pwd.getpwnam(name).pw_uid
    except (KeyError, ValueError):
        return None
