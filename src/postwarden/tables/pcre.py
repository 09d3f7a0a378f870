"""pcre: tables, pcre_table(5)."""

from collections.abc import Iterable

from postwarden.config.errors import ConfigError, Fault
from postwarden.mail.decision import Origin
from postwarden.tables import pcre2
from postwarden.tables.pcre2 import Expression, PcreError
from postwarden.tables.regexp import RegexpTable, delimited, substituting_rules
from postwarden.tables.rules import Pattern, Step

_FLAGS = {
    "i": pcre2.CASELESS,
    "m": pcre2.MULTILINE,
    "s": pcre2.DOTALL,
    "x": pcre2.EXTENDED,
    "A": pcre2.ANCHORED,
    "E": pcre2.DOLLAR_ENDONLY,
    "U": pcre2.UNGREEDY,
    "X": 0,
}
"""X of the old library means nothing to this one, to Postfix neither."""


class PcreTable(RegexpTable):
    """`/pattern/flags text` in the language of Perl."""

    def _rules(self, lines: Iterable[Origin], fault: Fault) -> list[Step]:
        return substituting_rules(lines, compile_pcre, fault)


def compile_pcre(text: str, origin: Origin) -> tuple[Pattern, str]:
    """`/pattern/flags` at the start of `text`, and the rest. Raises ConfigError."""
    expression, flags, rest = delimited(text, origin, _FLAGS, pcre2.CASELESS | pcre2.DOTALL)
    try:
        return Expression(expression, flags), rest
    except PcreError as error:
        raise ConfigError(origin, f'"{expression[:60]}": {error}') from error
