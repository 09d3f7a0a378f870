"""Putting the tree's parts together from the settings."""

from postwarden.addressing.params import RewriteParams
from postwarden.addressing.rewrite import Rewriter
from postwarden.config.settings import Settings
from postwarden.config.values import split
from postwarden.config.view import view
from postwarden.content.canonical import Canonical, Masquerade, Place
from postwarden.content.mapping import Mapper
from postwarden.content.params import ContentParams
from postwarden.deliver.local.params import LocalParams
from postwarden.deliver.local.ports import Accounts, Identity
from postwarden.deliver.local.tables import open_tables
from postwarden.explain.ends import Ends
from postwarden.explain.gateway import Gateway
from postwarden.explain.mailboxes import Mailboxes
from postwarden.explain.places import Places
from postwarden.explain.tree import Content, Limits, Source, Walker
from postwarden.tables.maps import Maps
from postwarden.tables.opening import Tables


def open_walker(
    settings: Settings, gateway: Gateway, accounts: Accounts, identity: Identity, aliases: Source | None = None
) -> Walker:
    """Who receives what, as `settings` have it; `aliases` in the place of alias_maps. Raises ConfigError."""
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
    )
    return Walker(
        gateway,
        ends,
        aliases or local.aliases,
        content=_content(settings, tables, gateway),
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


def _content(settings: Settings, tables: Tables, gateway: Gateway) -> Content:
    key = profile_key(settings)
    params = view(ContentParams, settings, key)
    rewriter = Rewriter(view(RewriteParams, settings))
    mapper = Mapper(rewriter.rewrite, gateway.by_name_alone, params.recipient_delimiter)

    def maps(name: str) -> Maps:
        return tables.maps(getattr(params, name), settings.origin(name, key))

    masquerade = Masquerade(params, tables, settings.origin("masquerade_exceptions", key))
    canonical = Canonical(Place.ENVELOPE_RECIPIENT, params, mapper, maps, masquerade)
    return Content(rewriter.rewrite, canonical, maps("virtual_alias_maps"), mapper)
