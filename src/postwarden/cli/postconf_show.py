"""postconf -d, -n, -p: the parameters of main.cf."""

import os
from collections.abc import Mapping

from postwarden.cli.postconf_options import Options
from postwarden.cli.postconf_print import complain, folded, put, put_json, squeezed
from postwarden.config.entries import Entry
from postwarden.config.errors import ConfigError
from postwarden.config.expand import ExpandError, expand
from postwarden.config.parameters import TABLE, Kind, find
from postwarden.config.settings import Settings, this_system
from postwarden.config.user_names import Names
from postwarden.config.written import Written
from postwarden.mail.decision import BUILT_IN


class Values:
    """Texts of parameters: as main.cf has them, else the default."""

    def __init__(self, entries: Mapping[str, Entry], directory: str) -> None:
        own = {"process_name": "postconf", "process_id": str(os.getpid())}
        self._own = {name: Entry(value, BUILT_IN) for name, value in own.items()}
        self._settings = Settings(directory, self._own | dict(entries), (), this_system())

    def raw(self, name: str) -> str | None:
        """Raises ConfigError for a default that can't be computed."""
        return self._settings.raw(name)

    def expanded(self, text: str, scope: Mapping[str, str] | None = None) -> str:
        """`text` with `$names` of `scope`, then of main.cf. Raises ConfigError."""

        def lookup(name: str) -> str | None:
            value = scope.get(name) if scope else None
            return self.raw(name) if value is None else value

        try:
            return expand(text, lookup)
        except ExpandError as error:
            raise ConfigError(BUILT_IN, f"macro processing error: {error}") from error


def show_parameters(name: str, options: Options, written: Written, names: Names, values: Values) -> None:
    """Print the named parameters, or all of the chosen classes in order."""
    shown = []
    for parameter in options.words or _chosen(options, written, names):
        if not names.known(parameter):
            complain(name, [f"{parameter}: unknown parameter"])
        elif "n" not in options.flags or parameter in written.entries or parameter == "config_directory":
            shown.append((parameter, _value(parameter, options, values)))
    if "j" in options.flags:
        put_json({"name": parameter, "value": value} for parameter, value in shown)
    else:
        put(line(parameter, value, options) for parameter, value in shown)


def _chosen(options: Options, written: Written, names: Names) -> list[str]:
    found = set[str]()
    if "builtin" in options.classes:
        found |= set(TABLE)
    if "service" in options.classes:
        found |= names.service
    if "user" in options.classes:
        found |= names.user
    if "n" in options.flags:
        found &= set(written.entries) | {"config_directory"}
    return sorted(found)


def _value(name: str, options: Options, values: Values) -> str:
    if name == "config_directory" and "d" in options.flags:
        return "/etc/postfix"
    parameter = find(name)
    text = values.raw(name) or ""
    raw = parameter is not None and parameter.kind is Kind.RAW
    return squeezed(values.expanded(text) if "x" in options.flags and not raw else text)


def line(label: str, value: str, options: Options) -> str:
    """`label = value`, or what -h, -H and -f leave or make of it."""
    if "H" in options.flags:
        return label
    text = value if "h" in options.flags else f"{label} = {value}".rstrip(" ")
    return folded(text) if "f" in options.flags else text
