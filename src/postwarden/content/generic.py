"""generic(5): addresses that mean something on this machine alone, as they leave it (smtp_generic_maps)."""

from collections.abc import Iterable

from postwarden.config.settings import Settings
from postwarden.config.view import view
from postwarden.content.addresses import RECIPIENTS, SENDERS, rewritten
from postwarden.content.head import Scanner, fields, name_of, rejoin
from postwarden.content.mapping import Mapper
from postwarden.content.params import GenericParams
from postwarden.content.ports import Addressing
from postwarden.mail.decision import Missing
from postwarden.mail.remade import Remade, Remaking
from postwarden.tables.opening import Tables

_ADDRESSES = SENDERS | RECIPIENTS


class Generic:
    """For the transport of one master.cf entry. Each address is looked up once: what is found is not looked up again.
    What asks raises TableError and Pending."""

    def __init__(
        self, settings: Settings, service: str, parameter: str, tables: Tables, addressing: Addressing
    ) -> None:
        """Raises ConfigError."""
        params = view(GenericParams, settings, service)
        self._maps = tables.maps(settings.items(parameter, service), settings.origin(parameter, service))
        self._remaking = Remaking()
        self._parameter = parameter
        self._mapper = Mapper(
            addressing.rewrite, addressing.by_name_alone, params.recipient_delimiter, remaking=self._remaking
        )
        self._propagate = "generic" in params.propagate_unmatched_extensions
        self._token_limit = params.header_address_token_limit
        self._scanner = Scanner(_ADDRESSES)

    def __bool__(self) -> bool:
        return bool(self._maps)

    def address(self, address: str) -> str:
        """In internal form; the null address stays null."""
        if not address:
            return address
        new = self._mapper.one(self._maps, address, propagate=self._propagate, parameter=self._parameter)
        return address if new is None else new

    def taken(self) -> tuple[Remade, ...]:
        """What was replaced since this was called last, and by which entries."""
        return self._remaking.taken()

    def head(self, head: bytes) -> bytes:
        """The header block with its addresses replaced, where there is one to be replaced."""
        seen = self._scanner.look(head)
        changed = self._changed(field for name in _ADDRESSES & seen.names for _, field in seen.find(name))
        return rejoin(head, [changed.get(field, field) for field in fields(head)]) if changed else head

    def _changed(self, suspects: Iterable[bytes]) -> dict[bytes, bytes]:
        missing = Missing()

        def replaced(address: str) -> str:
            return missing.answer(lambda: self.address(address), address)

        new = {field: rewritten(field, replaced, self._token_limit) for field in suspects if name_of(field)}
        missing.check()
        return {field: changed for field, changed in new.items() if changed != field}
