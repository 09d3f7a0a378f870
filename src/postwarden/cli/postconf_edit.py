"""postconf -e, -X, -#: changes main.cf and, with -M, -F or -P, master.cf."""

import os
from collections.abc import Callable
from functools import partial

from postwarden.cli.postconf_options import Options
from postwarden.cli.postconf_print import complain
from postwarden.config.edit_main import edit_main
from postwarden.config.edit_master import COMMENTED, REMOVED, Change, edit_master, set_field, set_parameter
from postwarden.config.physical import Statement
from postwarden.config.rewriting import rewrite
from postwarden.config.written import FIELDS, name_and_value, parse_row

_FORMS = {
    "M": "-Me, -MX or -M# requires service_name/type",
    "F": "-Fe or -FX requires service_name/type/field_name",
    "P": "-Pe or -PX requires service_name/type/parameter",
}


def edit(name: str, options: Options) -> None:
    """Raises ValueError or OSError; the file is as it was then."""
    if any("\n" in word for word in options.words):
        raise ValueError("-e, -X, or -# accepts no multi-line input")
    if options.edit != "e" and any("=" in word for word in options.words):
        raise ValueError(f"-X or -# requires {'parameter ' if options.mode == 'p' else ''}names without value")
    if options.mode == "p":
        _edit_main(name, options)
    else:
        _edit_master(name, options)


def _edit_main(name: str, options: Options) -> None:
    requests: dict[str, str | None] = {}
    warnings: list[str] = []
    for word in options.words:
        key, value = _pair(word) if options.edit == "e" else (word.strip(), None)
        if key in requests and value is not None:
            warnings.append(f"ignoring earlier request: '{key} = {requests[key]}'")
        requests[key] = value
    file = os.path.join(options.directory, "main.cf")

    def change(data: bytes) -> bytes:
        changed, repeated = edit_main(data, requests, comment=options.edit == "#")
        warnings.extend(f'{file}: multiple entries for "{key}"' for key in repeated)
        return changed

    _rewrite(file, change)
    complain(name, warnings)


def _edit_master(name: str, options: Options) -> None:
    changes = [_change(options, word) for word in options.words]
    file = os.path.join(options.directory, "master.cf")
    _rewrite(file, lambda data: edit_master(data, file, changes))
    if options.mode != "M":
        unmet = [word for word, change in zip(options.words, changes, strict=True) if not change.met]
        complain(name, (f'unmatched service_name/type: "{word}"' for word in unmet))


def _rewrite(file: str, change: Callable[[bytes], bytes]) -> None:
    try:
        rewrite(file, change)
    except FileNotFoundError as error:
        raise ValueError(f"open {file} for reading: {error.strerror}") from error


def _pair(word: str) -> tuple[str, str]:
    try:
        return name_and_value(word)
    except ValueError as error:
        raise ValueError(f'{error}: "{word}"') from error


def _change(options: Options, word: str) -> Change:
    path, value = _pair(word) if options.edit == "e" else (word.strip(), "")
    parts = path.split("/")
    if len(parts) != (2 if options.mode == "M" else 3) or not all(parts):
        raise ValueError(_FORMS[options.mode])
    service, kind, name = parts[0], parts[1], parts[-1]
    if options.mode == "M":
        return _entry_change(options, word, service, kind, value)
    if options.mode == "F":
        if name not in FIELDS:
            raise ValueError(f'invalid service attribute name: "{name}"')
        return Change(service, kind, partial(set_field, name=name, value=value))
    if name == "*":
        raise ValueError("-Pe does not accept wild-card parameter name")
    if any(c.isspace() for c in value):
        raise ValueError("-Pe does not accept whitespace in parameter value")
    return Change(service, kind, partial(set_parameter, name=name, value=value if options.edit == "e" else None))


def _entry_change(options: Options, word: str, service: str, kind: str, value: str) -> Change:
    if options.edit != "e":
        return Change(service, kind, fate=REMOVED if options.edit == "X" else COMMENTED)
    try:
        row = parse_row(Statement(value, 0, 0, 0), "", [])
    except ValueError as error:
        raise ValueError(f'{error}: "{word}"' if str(error) == "bad field count" else str(error)) from error
    return Change(service, kind, row=row)
