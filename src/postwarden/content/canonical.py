"""Canonical forms of addresses: standard form, canonical maps, masquerading, each where its classes say."""

from collections.abc import Callable, Sequence
from enum import Enum

from postwarden.content.mapping import Mapper
from postwarden.content.params import ContentParams
from postwarden.mail.decision import BUILT_IN, Origin, Rule
from postwarden.mail.remade import Remaking
from postwarden.tables.maps import Maps
from postwarden.tables.matching import MatchList
from postwarden.tables.opening import Tables

OpenMaps = Callable[[str], Maps]


class Place(Enum):
    """Where an address stands; the value is what the …_classes parameters call it."""

    ENVELOPE_SENDER = "envelope_sender"
    ENVELOPE_RECIPIENT = "envelope_recipient"
    HEADER_SENDER = "header_sender"
    HEADER_RECIPIENT = "header_recipient"


class Canonical:
    """One place's way from an address as it came to its canonical form."""

    def __init__(
        self, place: Place, params: ContentParams, mapper: Mapper, open_maps: OpenMaps, masquerade: "Masquerade"
    ) -> None:
        own = "sender_canonical" if place.value.endswith("sender") else "recipient_canonical"
        self._maps = [
            (f"{name}_maps", open_maps(f"{name}_maps"))
            for name in (own, "canonical")
            if place.value in getattr(params, f"{name}_classes") and getattr(params, f"{name}_maps")
        ]
        self._mapper = mapper
        self._masquerade = masquerade if place.value in params.masquerade_classes and masquerade.domains else None
        self._propagate = "canonical" in params.propagate_unmatched_extensions
        self.plain = not self._maps and self._masquerade is None
        """Nothing is done beyond standard form."""

    def __call__(self, address: str) -> str:
        """`address` is in standard form. Raises TableError and Pending."""
        for name, maps in self._maps:
            address = self._mapper.chain(maps, address, propagate=self._propagate, parameter=name)
        return address if self._masquerade is None else self._masquerade(address)


class Masquerade:
    """`user@host.example.com` -> `user@example.com` for the domains of masquerade_domains, in their order; `!domain`
    keeps what is below it."""

    def __init__(
        self,
        params: ContentParams,
        tables: Tables,
        origin: Origin,
        *,
        domains: Origin = BUILT_IN,
        remaking: Remaking | None = None,
    ) -> None:
        """`origin`: of masquerade_exceptions; `domains`: of masquerade_domains."""
        self._remaking = remaking
        self._written = domains
        self.domains: Sequence[tuple[str, bool]] = [
            (domain.lstrip("!").lower(), (len(domain) - len(domain.lstrip("!"))) % 2 == 1)
            for domain in params.masquerade_domains
        ]
        self._exceptions = MatchList("masquerade_exceptions", params.masquerade_exceptions, tables, origin)

    def refresh(self) -> None:
        """A file in masquerade_exceptions may have changed. Raises ConfigError, and then keeps what it had."""
        if self._exceptions.stale():
            self._exceptions.reload()

    def __call__(self, address: str) -> str:
        local, at, domain = address.rpartition("@")
        if not at or (self._exceptions and self._exceptions.match_string(local)):
            return address
        lowered = domain.lower()
        for parent, kept in self.domains:
            if lowered == parent:
                break
            if lowered.endswith(f".{parent}"):
                return address if kept else self._hidden(address, f"{local}@{domain[-len(parent) :].lower()}", parent)
        return address

    def _hidden(self, address: str, masked: str, parent: str) -> str:
        if self._remaking is not None:
            rule = Rule("masquerade_domains", parent, self._written)
            self._remaking.note(rule.name, address, (masked,), rule)
        return masked
