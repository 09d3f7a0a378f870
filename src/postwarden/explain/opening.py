"""Putting the tree's parts together from the settings."""

from collections.abc import Callable

from postwarden.addressing.params import RewriteParams
from postwarden.addressing.rewrite import Rewriter
from postwarden.config.settings import Service, Settings
from postwarden.config.values import split
from postwarden.config.view import view
from postwarden.content.canonical import Canonical, Masquerade, Place
from postwarden.content.generic import Generic
from postwarden.content.mapping import Mapper
from postwarden.content.params import ContentParams
from postwarden.content.recipients import Recipients
from postwarden.content.standard import Standard
from postwarden.deliver.local.params import LocalParams
from postwarden.deliver.local.ports import Accounts, Identity
from postwarden.deliver.local.tables import open_tables
from postwarden.explain.ends import Ends
from postwarden.explain.gateway import Gateway
from postwarden.explain.mailboxes import Mailboxes
from postwarden.explain.places import Places
from postwarden.explain.tree import Content, Limits, Source, Walker
from postwarden.mail.decision import Rule
from postwarden.mail.envelope import Recipient
from postwarden.mail.remade import Remade, Remaking
from postwarden.tables.maps import Maps
from postwarden.tables.opening import Tables

COPIES = ("sender_bcc_maps", "recipient_bcc_maps", "always_bcc")


def open_walker(
    settings: Settings,
    gateway: Gateway,
    accounts: Accounts,
    identity: Identity,
    aliases: Source | None = None,
    *,
    standard: bool = False,
) -> Walker:
    """Who receives what, as `settings` have it; `aliases` in the place of alias_maps. `standard`: that an address is
    completed is a step, too. Raises ConfigError."""
    tables = Tables.of(settings)
    service = next((s.key for s in settings.services if s.command == "local" and s.type != "inet"), "")
    params = view(LocalParams, settings, service)
    local = open_tables(settings, service, params, tables)
    ends = Ends(settings, tables, gateway)
    limits = Limits(
        params.recipient_delimiter,
        params.allow_mail_to_files,
        params.allow_mail_to_commands,
        params.propagate_unmatched_extensions,
        params.owner_request_special,
        params.reset_owner_alias,
        params.local_command_shell,
    )
    return Walker(
        gateway,
        ends,
        aliases or local.aliases,
        content=_content(settings, tables, gateway, standard=standard),
        mailboxes=Mailboxes(settings, service, local.maps, accounts, identity, ends),
        places=open_places(settings),
        limits=limits,
    )


def open_places(settings: Settings) -> Places:
    names = (*split(settings.text("alias_maps")), *split(settings.text("alias_database")))
    return Places(settings.config_directory, frozenset(name.removeprefix("proxy:") for name in names))


def profile_key(settings: Settings) -> str:
    """The cleanup service of mail that asks for no other."""
    return next((s.key for s in settings.services if s.command == s.name == "cleanup"), "")


def open_sender(settings: Settings, gateway: Gateway) -> Callable[[str], tuple[str, tuple[Remade, ...]]]:
    """What content makes of an envelope sender, and how. Raises ConfigError; the answer TableError and Pending."""
    maker = _Maker(settings, Tables.of(settings), gateway)
    canonical = maker.canonical(Place.ENVELOPE_SENDER)

    def stored(sender: str) -> tuple[str, tuple[Remade, ...]]:
        maker.remaking.taken()
        return sender and canonical(maker.standard(sender)), maker.remaking.taken()

    return stored


def open_outward(
    settings: Settings, tables: Tables, gateway: Gateway
) -> Callable[[Service, tuple[str, ...]], tuple[Remade, ...]]:
    """What smtp_generic_maps of a transport makes of envelope addresses. The answer raises ConfigError, TableError and
    Pending."""

    def outward(service: Service, addresses: tuple[str, ...]) -> tuple[Remade, ...]:
        name = f"{service.command}_generic_maps"
        generic = Generic(settings, service.key, name, tables, gateway.resolver)
        for address in addresses if generic else ():
            generic.address(address)
        return generic.taken()

    return outward


def _content(settings: Settings, tables: Tables, gateway: Gateway, *, standard: bool) -> Content:
    maker = _Maker(settings, tables, gateway)
    canonical = maker.canonical(Place.ENVELOPE_RECIPIENT)
    return Content(
        maker.standard if standard else maker.rewriter.rewrite,
        canonical,
        maker.maps("virtual_alias_maps"),
        maker.mapper,
        maker.remaking,
        maker.copies(canonical),
    )


class _Maker:
    """Parts of content, of mail that asks for no cleanup service of its own."""

    def __init__(self, settings: Settings, tables: Tables, gateway: Gateway) -> None:
        """Raises ConfigError."""
        self._settings, self._tables, self._key = settings, tables, profile_key(settings)
        self._params = view(ContentParams, settings, self._key)
        self.rewriter = Rewriter(view(RewriteParams, settings))
        self.remaking = Remaking()
        self.standard = Standard(self.rewriter.rewrite, self.rewriter, self.remaking, self._written)
        signs = self._params.recipient_delimiter
        self.mapper = Mapper(self.rewriter.rewrite, gateway.by_name_alone, signs, remaking=self.remaking)
        origin = settings.origin
        self._masquerade = Masquerade(
            self._params, tables, origin("masquerade_exceptions", self._key),
            domains=origin("masquerade_domains", self._key), remaking=self.remaking,
        )  # fmt: skip

    def maps(self, name: str) -> Maps:
        return self._tables.maps(getattr(self._params, name), self._settings.origin(name, self._key))

    def canonical(self, place: Place) -> Canonical:
        self.remaking.place = place.value
        return Canonical(place, self._params, self.mapper, self.maps, self._masquerade)

    def copies(self, canonical: Canonical) -> Callable[[str, str], tuple[Remade, ...]]:
        recipients = Recipients(
            self._params, self.mapper, self.maps, self.rewriter.rewrite, canonical,
            remaking=self.remaking, written=self._written,
        )  # fmt: skip

        def copied(address: str, sender: str) -> tuple[Remade, ...]:
            self.remaking.taken()
            recipients.of(sender, (Recipient(address),), [])
            return tuple(step for step in self.remaking.taken() if step.parameter in COPIES)

        return copied

    def _written(self, name: str) -> Rule:
        return Rule(name, self._settings.text(name, self._key), self._settings.origin(name, self._key))
