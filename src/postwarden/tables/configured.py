"""Tables whose settings stand in a file of their own, or in main.cf: what data bases and caches have in common."""

import os
from collections.abc import Mapping

from postwarden.config.errors import Problem
from postwarden.mail.decision import Origin
from postwarden.tables.definition import Definition, in_file, in_main_cf, stands_in_main_cf
from postwarden.tables.keys import folded
from postwarden.tables.source import NOTHING_HANDED, SourceTable
from postwarden.tables.template import Opener


class ConfiguredTable(SourceTable):
    """Keys are asked for in lower case. May be asked from several threads at once."""

    slow = True

    def __init__(
        self,
        name: str,
        place: str,
        config_directory: str,
        origin: Origin,
        opener: Opener,
        *,
        fold: bool = True,
        handed: Mapping[str, str] = NOTHING_HANDED,
    ) -> None:
        """`place`: a file with a slash or dot at its front, or the prefix of parameters of main.cf.
        Raises ConfigError."""
        self._place = place
        self._directory = config_directory
        self._origin = origin
        self._opener = opener
        self._fold = fold
        self.handed = handed
        file = os.path.join(config_directory, "main.cf" if stands_in_main_cf(place) else place)
        super().__init__(name, (file,))

    def _definition(self) -> tuple[Definition, tuple[Problem, ...]]:
        """What is written now, and what is strange in it. Raises TableError, ConfigError."""
        if stands_in_main_cf(self._place):
            return in_main_cf(self._place, self._directory, self._origin), ()
        return in_file(self._files[0], self.handed)

    def _folded(self, key: str) -> str:
        return folded(key) if self._fold else key
