"""Which preparation the mail of a service gets: the cleanup service that it names, and what it leaves out of it."""

from collections.abc import Callable, Mapping

from postwarden.config.errors import ConfigError
from postwarden.config.settings import Settings
from postwarden.config.view import view
from postwarden.content.params import OverrideParams
from postwarden.content.ports import Addressing
from postwarden.content.prepare import Preparer
from postwarden.mail.events import Event
from postwarden.tables.opening import Tables

_OPTIONS = frozenset(("no_unknown_recipient_checks", "no_address_mappings", "no_header_body_checks", "no_milters"))


class Profiles:
    """Preparers by the name of their cleanup service, with and without address mappings."""

    def __init__(
        self, settings: Settings, tables: Tables, addressing: Addressing, say: Callable[[Event], None]
    ) -> None:
        self._settings, self._tables, self._addressing, self._say = settings, tables, addressing, say
        self._made: dict[bool, dict[str, Preparer]] = {}
        """With mappings, and without; none is made before somebody wants it."""

    def of(self, key: str) -> Mapping[str, Preparer]:
        """For the mail of one service: by the name of the cleanup service. Raises ConfigError, too for a
        cleanup_service_name that nobody has: what it should do to mail would not be done."""
        settings = self._settings
        params = view(OverrideParams, settings, key)
        options = frozenset(params.receive_override_options)
        if options - _OPTIONS:
            text = f"receive_override_options: unknown option {min(options - _OPTIONS)}"
            raise ConfigError(settings.origin("receive_override_options", key), text)
        name = params.cleanup_service_name
        if name != "cleanup" and all((s.command, s.name) != ("cleanup", name) for s in settings.services):
            raise ConfigError(settings.origin("cleanup_service_name", key), f"no cleanup service {name} in master.cf")
        mapped = "no_address_mappings" not in options
        found = self._made.get(mapped)
        if found is None:
            found = self._made[mapped] = self._make(mapped=mapped)
        return found

    def refresh(self) -> None:
        """Raises ConfigError."""
        for profiles in self._made.values():
            for preparer in profiles.values():
                preparer.refresh()

    def _make(self, *, mapped: bool) -> dict[str, Preparer]:
        def preparer(key: str) -> Preparer:
            return Preparer(self._settings, key, self._tables, self._addressing, self._say, mapped=mapped)

        made = {s.name: preparer(s.key) for s in self._settings.services if s.command == "cleanup"}
        if "cleanup" not in made:
            made["cleanup"] = preparer("")
        return made
