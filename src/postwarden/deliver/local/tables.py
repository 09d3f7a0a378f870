"""The tables that local delivery asks."""

from msgspec import Struct

from postwarden.config.settings import Settings
from postwarden.deliver.local.lists import AliasTables
from postwarden.deliver.local.params import LocalParams
from postwarden.mail.decision import BUILT_IN
from postwarden.tables.maps import Maps
from postwarden.tables.opening import SENSITIVE, Tables


class LocalMaps(Struct, frozen=True):
    """Asked by the name of the user."""

    mailbox_transport: Maps
    mailbox_command: Maps
    fallback_transport: Maps


class LocalTables(Struct, frozen=True):
    aliases: AliasTables
    maps: LocalMaps


def open_tables(settings: Settings, service: str, params: LocalParams, tables: Tables) -> LocalTables:
    """Raises ConfigError. No table may put together what mail is delivered by from parts of an address (`$1`)."""

    def maps(name: str) -> Maps:
        sensitive = name in SENSITIVE
        return tables.maps(getattr(params, name), settings.origin(name, service), literal=True, sensitive=sensitive)

    optional = settings.origin("alias_maps", service) == BUILT_IN
    aliases = AliasTables(maps("alias_maps"), settings.config_directory, optional=optional)
    others = LocalMaps(maps("mailbox_transport_maps"), maps("mailbox_command_maps"), maps("fallback_transport_maps"))
    return LocalTables(aliases, others)
