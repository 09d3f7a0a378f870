"""Lists of commands: smtpd_forbidden_commands, what no mail client says (whoever does is thrown out at once), and
smtpd_noop_commands, what is answered with 250 and not obeyed."""

from postwarden.mail.decision import Origin
from postwarden.tables.opening import Tables
from postwarden.tables.table import Table, TableError


class Verbs:
    def __init__(self, items: tuple[str, ...], tables: Tables, origin: Origin) -> None:
        """Raises ConfigError for a table that can't be opened."""
        self._tables: list[Table] = []
        words: set[str] = set()
        for item in items:
            if ":" in item:
                self._tables.append(tables.table(item, origin))
            else:
                words.add(item.upper())
        self.words = frozenset(words)
        """In upper case; without what the tables hold."""

    def __contains__(self, line: str) -> bool:
        """Whether the command of `line` is in the list. A table that can't be asked has nothing.
        Raises Pending."""
        words = line.split()
        word = words[0].upper() if words else ""
        if word in self.words:
            return True
        try:
            return any(table.get(word) is not None for table in self._tables)
        except TableError:
            return False
