"""postconf(1): shows and changes main.cf and master.cf, and lists what there is."""

import os
import sys

from postwarden.cli.postconf_edit import edit
from postwarden.cli.postconf_lists import listed, tls
from postwarden.cli.postconf_options import USAGE, Misuse, Options, parse
from postwarden.cli.postconf_print import complain, masked, put, put_json
from postwarden.cli.postconf_services import show_services
from postwarden.cli.postconf_show import Values, show_parameters
from postwarden.cli.postconf_templates import show_templates
from postwarden.config.embedded import COMPATIBILITY_LEVEL
from postwarden.config.entries import Entry
from postwarden.config.errors import ConfigError
from postwarden.config.settings import SIZE_LIMIT, load
from postwarden.config.user_names import Finder, Names, service_names, unused
from postwarden.config.written import Written, read_main, read_master
from postwarden.mail.decision import BUILT_IN, Origin

COMMAND_LINE = "command line"


def main(name: str, words: list[str]) -> int:
    """Exit code 0; 1 when the configuration can't be read or the command line is wrong."""
    try:
        return run(name, parse(words))
    except Misuse as error:
        print(f"{name}: {error}", file=sys.stderr)
        _fatal(name, USAGE.format(name))
        return 1
    except (ValueError, ConfigError, OSError) as error:
        _fatal(name, _sentence(error))
        return 1


def run(name: str, options: Options) -> int:
    """The exit code. Raises ValueError, ConfigError or OSError, with a text for the user."""
    if options.mode in "bt":
        settings = load(options.directory, options.overrides)
        show_templates(settings, options.words, expanded=options.mode == "b")
    elif options.mode == "T":
        try:
            put(tls(options.tls))
        except KeyError:
            complain(name, [f"unknown 'postconf -T' mode: {options.tls}"])
            return 1
    elif options.mode in "aAlm":
        if "j" in options.flags:
            put_json({"name": line} for line in listed(options.mode))
        else:
            put(listed(options.mode))
    elif options.edit:
        edit(name, options)
    else:
        _show(name, options)
    return 0


def _show(name: str, options: Options) -> None:
    quiet = "q" in options.flags
    written = _read(options)
    warnings = [] if quiet else list(written.warnings)
    values = Values(_in_effect(options, written), options.directory)
    names = Names(service_names(written.rows))
    try:
        if "d" not in options.flags:
            finder = Finder(written, values.raw, options.directory)
            try:
                names = finder.run()
            finally:
                warnings += [] if quiet else finder.names.warnings
            values.raw("mynetworks")
    finally:
        complain(name, warnings)
    if options.mode == "p":
        show_parameters(name, options, written, names, values)
    else:
        show_services(name, options, written, values)
    if not quiet and "d" not in options.flags:
        complain(name, unused(written, names, options.directory, main=options.mode == "p", master=True))


def _in_effect(options: Options, written: Written) -> dict[str, Entry]:
    """Nothing for -d. An empty main.cf is nobody's old configuration: see COMPATIBILITY_LEVEL."""
    if "d" in options.flags:
        return {}
    if any(entry.origin.file != COMMAND_LINE for entry in written.entries.values()):
        return written.entries
    return {"compatibility_level": Entry(COMPATIBILITY_LEVEL, BUILT_IN)} | written.entries


def _read(options: Options) -> Written:
    """Both files. A missing master.cf is only said, unless it is asked for."""
    written = Written({}, [])
    if "d" not in options.flags:
        file = os.path.join(options.directory, "main.cf")
        written.entries, written.warnings = read_main(_bytes(file), file)
        for name, text in options.overrides.items():
            written.entries[name] = Entry(text, Origin(COMMAND_LINE, 1, f"{name} = {text}"))
    file = os.path.join(options.directory, "master.cf")
    try:
        written.rows, warnings = read_master(_bytes(file), file)
        written.warnings += warnings
    except FileNotFoundError as error:
        if options.mode in "MFP":
            raise
        written.warnings.append(_sentence(error))
    return written


def _bytes(file: str) -> bytes:
    with open(file, "rb") as stream:
        data = stream.read(SIZE_LIMIT + 1)
    if len(data) > SIZE_LIMIT:
        raise ConfigError(Origin(file, 0, ""), f"larger than {SIZE_LIMIT} bytes")
    return data


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"open {error.filename}: {error.strerror}"
    if isinstance(error, ConfigError) and error.origin.line and os.path.basename(error.origin.file) == "main.cf":
        return f"{error.origin.file}, line {error.origin.line}: {error.text}"
    return str(error)


def _fatal(name: str, text: str) -> None:
    print(f"{name}: fatal: {masked(text)}", file=sys.stderr)
