"""smtpd_forbidden_commands: what no mail client says. Whoever does is thrown out at once."""

from postwarden.config.settings import Settings
from postwarden.receive.params import SmtpdParams
from postwarden.tables.opening import Tables
from postwarden.tables.table import Table, TableError


class Forbidden:
    def __init__(self, settings: Settings, key: str, params: SmtpdParams, tables: Tables) -> None:
        """Raises ConfigError for a table that can't be opened."""
        words: set[str] = set()
        self._tables: list[Table] = []
        origin = settings.origin("smtpd_forbidden_commands", key)
        for item in params.smtpd_forbidden_commands:
            if ":" in item:
                self._tables.append(tables.table(item, origin))
            else:
                words.add(item.upper())
        self._words = frozenset(words)

    def __contains__(self, line: str) -> bool:
        """Whether the command of `line` is forbidden. A table that can't be asked forbids nothing."""
        words = line.split()
        word = words[0].upper() if words else ""
        if word in self._words:
            return True
        try:
            return any(table.get(word) is not None for table in self._tables)
        except TableError:
            return False
