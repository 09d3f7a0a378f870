"""postconf -M, -F, -P: entries of master.cf, their columns, their `-o` settings."""

from collections.abc import Iterator

from msgspec import structs

from postwarden.cli.postconf_options import Options
from postwarden.cli.postconf_print import complain, put, put_json, squeezed
from postwarden.cli.postconf_show import Values, line
from postwarden.config.arguments import Argument
from postwarden.config.columns import command, entry
from postwarden.config.parameters import Kind, find
from postwarden.config.written import FIELDS, Row, Written

_FORMS = {"M": "service_name[/type]", "F": "service_name[/type[/field]]", "P": "service_name[/type[/parameter]]"}


class Requests:
    """What the command line names: `service/type/name`, where `*` and a part that is left out mean any."""

    def __init__(self, mode: str, words: list[str]) -> None:
        """Raises ValueError."""
        parts = _FORMS[mode].count("/") + 1
        self._wanted = [word.split("/") for word in words]
        self._words = words
        self._met = set[str]()
        if any(len(wanted) > parts for wanted in self._wanted):
            raise ValueError(f"-{mode} option requires {_FORMS[mode]}")
        for wanted in self._wanted:
            if mode == "F" and len(wanted) == 3 and wanted[2] not in (*FIELDS, "*"):
                raise ValueError(f'invalid service attribute name: "{wanted[2]}"')

    def meet(self, *parts: str) -> bool:
        found = not self._words
        for word, wanted in zip(self._words, self._wanted, strict=True):
            if all(want in ("*", part) for want, part in zip(wanted, parts, strict=False)):
                self._met.add(word)
                found = True
        return found

    def unmet(self) -> list[str]:
        return [f'unmatched request: "{word}"' for word in self._words if word not in self._met]


def show_services(name: str, options: Options, written: Written, values: Values) -> None:
    """Print what is asked for. Raises ValueError for a request of the wrong form; ConfigError."""
    requests = Requests(options.mode, options.words)
    if options.mode == "M":
        rows = [_expanded(row, written, values, options) for row in written.rows if requests.meet(*row.columns[:2])]
        complain(name, requests.unmet())
        if "j" in options.flags:
            put_json(dict(zip(FIELDS, (*row.columns, _command(row)), strict=True)) for row in rows)
        else:
            put(entry(row, fold="f" in options.flags) for row in rows)
        return
    if options.mode == "F":
        _show_fields(name, options, written, values, requests)
    else:
        _show_settings(name, options, written, values, requests)


def _show_fields(name: str, options: Options, written: Written, values: Values, requests: Requests) -> None:
    shown = []
    for row in written.rows:
        row = _expanded(row, written, values, options)
        for field, value in zip(FIELDS, (*row.columns, _command(row)), strict=True):
            if requests.meet(*row.columns[:2], field):
                shown.append((f"{row.key}/{field}", value, row))
    complain(name, requests.unmet())
    if "j" in options.flags:
        put_json({"name": label, "value": value} for label, value, _ in shown)
    else:
        put(_field(label, value, row, options) for label, value, row in shown)


def _field(label: str, value: str, row: Row, options: Options) -> str:
    if not label.endswith("/command") or not options.flags & {"f"} or "H" in options.flags:
        return label if "H" in options.flags else value if "h" in options.flags else f"{label} = {value}"
    start = "" if "h" in options.flags else f"{label} = "
    return command(start, row.command, row.arguments, fold=True)


def _show_settings(name: str, options: Options, written: Written, values: Values, requests: Requests) -> None:
    shown = []
    for row in written.rows:
        for setting, value in sorted(_settings(row, written, values, options)):
            if requests.meet(*row.columns[:2], setting):
                shown.append((f"{row.key}/{setting}", squeezed(value)))
    complain(name, requests.unmet())
    if "j" in options.flags:
        put_json({"name": label, "value": value} for label, value in shown)
    else:
        put(line(label, value, options) for label, value in shown)


def _settings(row: Row, written: Written, values: Values, options: Options) -> Iterator[tuple[str, str]]:
    scope = written.scope(row.key)
    for setting, value in scope.items():
        yield setting, _text(setting, value, scope, values, options)


def _text(name: str, value: str, scope: dict[str, str], values: Values, options: Options) -> str:
    parameter = find(name)
    raw = parameter is not None and parameter.kind is Kind.RAW
    return values.expanded(value, scope) if "x" in options.flags and not raw else value


def _expanded(row: Row, written: Written, values: Values, options: Options) -> Row:
    """With -x: the `-o` settings expanded; what a program gets is expanded for each message, and not here."""
    if "x" not in options.flags:
        return row
    scope = written.scope(row.key)
    arguments = []
    for argument in row.arguments:
        name, equals, value = (argument.value or "").partition("=")
        if argument.option == "-o" and equals:
            argument = Argument("-o", f"{name}={_text(name, value, scope, values, options)}")
        arguments.append(argument)
    return structs.replace(row, arguments=arguments)


def _command(row: Row) -> str:
    return command("", row.command, row.arguments, fold=False)
