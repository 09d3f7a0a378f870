"""The envelope's addresses as they are stored: canonical forms, virtual aliases, copies (cleanup(8))."""

from collections.abc import Callable
from functools import partial

from postwarden.config.values import split as split_list
from postwarden.content.params import ContentParams
from postwarden.content.ports import Addressing
from postwarden.mail.address import split
from postwarden.mail.envelope import Notify, Recipient
from postwarden.tables.maps import Maps
from postwarden.tables.table import Found


class TooMany(Exception):
    """An expansion that passes a limit; the text is for the log."""


class Recipients:
    """Raises TableError and Pending from every method."""

    def __init__(self, params: ContentParams, maps: Callable[[tuple[str, ...]], Maps], addressing: Addressing) -> None:
        self._params = params
        self._addressing = addressing
        self._virtual = maps(params.virtual_alias_maps)
        self._sender_bcc = maps(params.sender_bcc_maps)
        self._recipient_bcc = maps(params.recipient_bcc_maps)
        self._sender_maps = [
            maps(names)
            for names, classes, wanted in (
                (params.sender_canonical_maps, params.sender_canonical_classes, "envelope_sender"),
                (params.canonical_maps, params.canonical_classes, "envelope_sender"),
            )
            if names and wanted in classes
        ]
        self._recipient_maps = [
            maps(names)
            for names, classes, wanted in (
                (params.recipient_canonical_maps, params.recipient_canonical_classes, "envelope_recipient"),
                (params.canonical_maps, params.canonical_classes, "envelope_recipient"),
            )
            if names and wanted in classes
        ]
        self._plain = not (
            self._virtual or self._sender_bcc or self._recipient_bcc or self._recipient_maps or params.always_bcc
        )

    def sender(self, address: str) -> str:
        """The sender in canonical form; the null sender stays null."""
        if not address:
            return address
        address = self._addressing.rewrite(address)
        for maps in self._sender_maps:
            address = self._canonical(maps, address)
        return address

    def recipients(self, sender: str, given: tuple[Recipient, ...]) -> tuple[Recipient, ...]:
        """All of them, aliases expanded and doubles left out, in order. Raises TooMany."""
        if self._plain and len(given) == 1:
            only = given[0]
            address = self._addressing.rewrite(only.address)
            return given if address is only.address else (renamed(only, address),)
        found: dict[tuple[str, str, str], Recipient] = {}
        for recipient in given:
            for final in self._final(recipient):
                found.setdefault((final.address, final.original, final.orcpt), final)
        for address in self._copies(sender, given):
            copy = Recipient(address, "", "", int(Notify.NEVER))
            for final in self._final(copy):
                found.setdefault((final.address, final.original, final.orcpt), final)
        return tuple(found.values())

    def _final(self, recipient: Recipient) -> list[Recipient]:
        address = self._addressing.rewrite(recipient.address)
        for maps in self._recipient_maps:
            address = self._canonical(maps, address)
        if not self._virtual:
            return [renamed(recipient, address)]
        return [renamed(recipient, final) for final in self._expand(address)]

    def _canonical(self, maps: Maps, address: str) -> str:
        found = self._find(maps, address)
        if found is None:
            return address
        return self._completed(found, address, found.value.strip(), "canonical")

    def _expand(self, address: str) -> list[str]:
        """virtual(5): until nothing changes; an address that expands to itself stays (RFC 5321 3.9 aliases)."""
        params = self._params
        done: list[str] = []
        work = [(address, frozenset[str](), 0)]
        while work:
            current, seen, depth = work.pop(0)
            if (
                depth > params.virtual_alias_recursion_limit
                or len(work) + len(done) > params.virtual_alias_expansion_limit
            ):
                raise TooMany(f"unreasonable virtual_alias_maps map expansion for {address}")
            if len(current) > params.virtual_alias_address_length_limit:
                raise TooMany(f"unreasonable virtual_alias_maps result {current[:40]}... -- message not accepted")
            found = None if current.lower() in seen else self._find(self._virtual, current)
            if found is None:
                done.append(current)
                continue
            seen |= {current.lower()}
            work[:0] = [
                (self._completed(found, current, target, "virtual"), seen, depth + 1)
                for target in split_list(found.value)
            ]
        return done

    def _find(self, maps: Maps, address: str) -> Found | None:
        return maps.find_address(address, self._params.recipient_delimiter, self._addressing.local_domain)

    def _completed(self, found: Found, address: str, target: str, kind: str) -> str:
        """A result in standard form: `@domain` keeps the user, an extension that did not match goes along."""
        local, domain = split(address)
        if target.startswith("@"):
            return self._addressing.rewrite(f"{local}{target}")
        user, at, target_domain = target.rpartition("@")
        if not at:
            user, target_domain = target, domain if kind == "virtual" and found.key.startswith("@") else ""
        if found.extension and kind in self._params.propagate_unmatched_extensions:
            user += found.extension
        return self._addressing.rewrite(f"{user}@{target_domain}" if target_domain else user)

    def _copies(self, sender: str, given: tuple[Recipient, ...]) -> list[str]:
        copies = [self._params.always_bcc] if self._params.always_bcc else []
        find = partial(self._find, self._sender_bcc)
        if self._sender_bcc and sender and (found := find(sender)):
            copies.append(found.value.strip())
        if self._recipient_bcc:
            copies += [
                found.value.strip()
                for recipient in given
                if (found := self._find(self._recipient_bcc, recipient.address)) is not None
            ]
        return copies


def renamed(recipient: Recipient, address: str) -> Recipient:
    """`recipient` going to `address`, what the client gave kept as its original."""
    if address == recipient.address:
        return recipient
    return Recipient(address, recipient.original or recipient.address, recipient.orcpt, recipient.notify)
