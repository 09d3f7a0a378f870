"""`query` and `result_format` of data base tables: `%s %u %d %1`."""

import re
from collections.abc import Callable, Iterable

from postwarden.config.errors import ConfigError
from postwarden.mail.decision import BUILT_IN, Origin
from postwarden.tables.definition import Definition
from postwarden.tables.table import Table

Quote = Callable[[str], str]
Opener = Callable[[str, Origin], Table]

_MARK = re.compile(r"%(.?)", re.DOTALL)


def plain(text: str) -> str:
    return text


class Templates:
    """Makes the query for a key, and the answer of what came back. Pure; shared by all tables of this kind."""

    def __init__(self, query: str, result_format: str, origin: Origin = BUILT_IN) -> None:
        """Raises ConfigError at `origin` for a `%` that means nothing."""
        self._query, self._format = query, result_format
        wanted = set(_marks(query, "query", origin))
        given = set(_marks(result_format, "result", origin))
        digits = [int(mark) for mark in wanted | given if mark.isdigit()]
        self._labels = max(digits, default=0)
        of_key = {mark.lower() for mark in wanted} | {mark.lower() for mark in given if mark.isupper()}
        self._key_needs_domain = "d" in of_key or bool(digits)
        self._key_needs_user = "u" in of_key
        self._value_needs_domain, self._value_needs_user = "d" in given, "u" in given

    def query(self, key: str, quote: Quote = plain) -> str | None:
        """The query for `key`; None where the key has not all that is asked for, so that there is nothing to find."""
        user, at, domain = _parted(key)
        if not key or (self._key_needs_domain and not domain) or (self._key_needs_user and at and not user):
            return None
        labels = self._own_labels(domain)
        if labels is None:
            return None
        parts = {"s": key, "u": user, "d": domain, "S": key, "U": user, "D": domain} | labels
        return _filled(self._query, parts, quote)

    def answer(self, key: str, values: Iterable[str | None]) -> list[str]:
        """One text for each value that has all that `result_format` asks for; an empty one or NULL counts for
        nothing. `key` has been through `query`."""
        user, _, domain = _parted(key)
        parts = {"S": key, "U": user, "D": domain} | (self._own_labels(domain) or {})
        found = []
        for value in values:
            if not value:
                continue
            of_user, at, of_domain = _parted(value)
            if (self._value_needs_domain and not of_domain) or (self._value_needs_user and at and not of_user):
                continue
            found.append(_filled(self._format, parts | {"s": value, "u": of_user, "d": of_domain}, plain))
        return found

    def _own_labels(self, domain: str) -> dict[str, str] | None:
        """`1` is the last. None: there are not enough."""
        labels = [label for label in domain.split(".") if label][::-1]
        if len(labels) < self._labels:
            return None
        return {str(number): labels[number - 1] for number in range(1, self._labels + 1)}


def select(definition: Definition, result_format: str = "%s") -> Templates:
    """`query` of SQL tables, or what they had before it. Raises ConfigError."""
    query = definition.text("query")
    if not query:
        table, column, where = (definition.text(name, needed=True) for name in ("table", "select_field", "where_field"))
        query = f"SELECT {column} FROM {table} WHERE {where} = '%s' {definition.text('additional_conditions')}"
    form = definition.text("result_format", result_format, needed=True)
    return Templates(query, form, definition.where("query"))


def over_limit(definition: Definition) -> int:
    """`expansion_limit`; 0: none. Raises ConfigError."""
    return definition.number("expansion_limit", 0)


def _marks(text: str, what: str, origin: Origin) -> list[str]:
    marks = [match[1] for match in _MARK.finditer(text)]
    if any(mark not in "%sudSUD123456789" or not mark for mark in marks):
        raise ConfigError(origin, f"Invalid {what} template: {text}")
    return marks


def _parted(address: str) -> tuple[str, str, str]:
    """(user, "@", domain), or (address, "", "")."""
    user, at, domain = address.rpartition("@")
    return (user, at, domain) if at else (address, "", "")


def _filled(text: str, parts: dict[str, str], quote: Quote) -> str:
    return _MARK.sub(lambda match: "%" if match[1] == "%" else quote(parts[match[1]]), text)
