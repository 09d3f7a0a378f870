"""The envelope's addresses as they are stored: canonical forms, virtual aliases, copies (cleanup(8))."""

from collections.abc import Callable, Iterable
from functools import partial

from postwarden.content.canonical import Canonical, OpenMaps
from postwarden.content.mapping import Limits, Mapper, Unreasonable, expand
from postwarden.content.params import ContentParams
from postwarden.mail.decision import Missing, Rule
from postwarden.mail.envelope import Notify, Recipient
from postwarden.mail.remade import Remaking
from postwarden.mail.xtext import orcpt_of

Rewrite = Callable[[str], str]
_MOST_CHARACTERS = 16 << 20
"""Of all recipients of a message together: an envelope is one record, in memory, in a channel and on disk."""


class Recipients:
    """Raises TableError, Pending and Unreasonable from every method."""

    def __init__(
        self,
        params: ContentParams,
        mapper: Mapper,
        open_maps: OpenMaps,
        rewrite: Rewrite,
        canonical: Canonical,
        *,
        remaking: Remaking,
        written: Callable[[str], Rule],
    ) -> None:
        """`canonical` is that of envelope recipients; `written`: a parameter with its value, and where it stands."""
        self._params = params
        self._remaking = remaking
        self._always, self._empty = written("always_bcc"), written("empty_address_recipient")
        self._mapper = mapper
        self._rewrite = rewrite
        self._canonical = canonical
        self._virtual = open_maps("virtual_alias_maps")
        self._sender_bcc = open_maps("sender_bcc_maps")
        self._recipient_bcc = open_maps("recipient_bcc_maps")
        self._propagate = "virtual" in params.propagate_unmatched_extensions
        self._limits = Limits(
            params.virtual_alias_expansion_limit,
            params.virtual_alias_recursion_limit,
            params.virtual_alias_address_length_limit,
        )
        self._plain = canonical.plain and not (
            self._virtual or self._sender_bcc or self._recipient_bcc or params.always_bcc
        )

    def of(
        self, sender: str, given: tuple[Recipient, ...], aliases: list[Recipient], *, typed: bool = False
    ) -> tuple[Recipient, ...]:
        """All of them, aliases expanded, copies added and doubles left out, in cleanup's order. `sender` is in
        canonical form. `aliases` gets those of which the sender wants to know that they became others. `typed`: by
        people of this machine, so that reports name the canonical form: `root` means somebody else elsewhere."""
        if self._plain and len(given) == 1:
            only = given[0]
            address = self._rewrite(only.address)
            if address is only.address:
                return given
            return (self._renamed(_complete(only, address) if typed else only, address),)
        # Two recipients are the same when nobody downstream could tell them apart.
        found: dict[tuple[str, int, str, str], Recipient] = {}
        missing = Missing()
        apart = self._params.enable_original_recipient
        most, size = self._params.postwarden_recipient_expansion_limit, 0
        for one in self._all(sender, given, aliases, missing, typed=typed):
            key = (one.orcpt.lower(), one.notify, one.original.lower()) if apart else ("", one.notify, "")
            found.setdefault((*key, one.address.lower()), one)
            # 50 for the rest of it. Doubles count: they take no room but time.
            size += len(one.address) + len(one.original) + len(one.orcpt) + 50
            if len(found) > most or size > _MOST_CHARACTERS:
                raise Unreasonable(f"unreasonable number of recipients: more than {most} or {_MOST_CHARACTERS} bytes")
        missing.check()
        return tuple(found.values())

    def _all(
        self, sender: str, given: tuple[Recipient, ...], aliases: list[Recipient], missing: Missing, *, typed: bool
    ) -> Iterable[Recipient]:
        """Those of which a fact is missing are left out, and `missing` has it."""
        nobody: Iterable[Recipient] = ()
        yield from missing.answer(lambda: self._sender_copy(sender), nobody)
        for recipient in given:
            yield from missing.answer(partial(self._one, recipient, aliases, typed=typed), nobody)
        if self._params.always_bcc:
            self._remaking.note("always_bcc", "", (self._params.always_bcc,), self._always)
            yield from missing.answer(lambda: self._copy(self._params.always_bcc), nobody)

    def _sender_copy(self, sender: str) -> Iterable[Recipient]:
        if not (self._sender_bcc and sender):
            return ()
        copy = self._mapper.first(self._sender_bcc, sender, parameter="sender_bcc_maps")
        return self._copy(copy) if copy else ()

    def _one(self, recipient: Recipient, aliases: list[Recipient], *, typed: bool) -> Iterable[Recipient]:
        given = recipient.address
        if not given:
            given = self._params.empty_address_recipient
            self._remaking.note("empty_address_recipient", "", (given,), self._empty)
        address = self._canonical(self._rewrite(given))
        expanded = self._final(_complete(recipient, address) if typed else recipient, address, aliases)
        if not self._recipient_bcc:
            return expanded
        copy = self._mapper.first(self._recipient_bcc, address, parameter="recipient_bcc_maps")
        return (*expanded, *self._copy(copy)) if copy else expanded

    def _copy(self, address: str) -> Iterable[Recipient]:
        """Nobody is told of a copy, and its address counts as given."""
        address = self._canonical(self._rewrite(address))
        return self._final(Recipient(address, "", "", int(Notify.NEVER)), address, [])

    def _final(self, recipient: Recipient, address: str, aliases: list[Recipient]) -> Iterable[Recipient]:
        if not self._virtual:
            return (self._renamed(recipient, address),)
        expanded = expand(self._aliases, address, self._limits)
        if (len(expanded) > 1 or expanded[0] != address) and recipient.notify & Notify.SUCCESS:
            # RFC 3461 5.2.7.3 (b): a list does not report each of its deliveries.
            aliases.append(self._renamed(recipient, address))
            notify = recipient.notify & ~Notify.SUCCESS or Notify.NEVER
            recipient = Recipient(recipient.address, recipient.original, recipient.orcpt, int(notify))
        return [self._renamed(recipient, final) for final in expanded]

    def _aliases(self, address: str) -> list[str] | None:
        return self._mapper.targets(self._virtual, address, propagate=self._propagate, parameter="virtual_alias_maps")

    @staticmethod
    def _renamed(recipient: Recipient, address: str) -> Recipient:
        """`recipient` going to `address`, what the client gave kept as its original."""
        if address == recipient.address:
            return recipient
        return Recipient(address, recipient.original or recipient.address, recipient.orcpt, recipient.notify)


def _complete(recipient: Recipient, address: str) -> Recipient:
    """`recipient` with `address` as ORCPT, unless something older is known."""
    if recipient.orcpt or recipient.original or address == recipient.address:
        return recipient
    return Recipient(recipient.address, "", orcpt_of(address), recipient.notify)
