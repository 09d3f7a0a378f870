"""postconf(1) as far as it shows: parameters (-d, -n, -h, -H, -x, -o), services (-M), table types (-m)."""

import getopt
import os
import sys

from msgspec import Struct, field

from postwarden.cli.postconf_templates import show_templates
from postwarden.config.check import problems
from postwarden.config.entries import Service
from postwarden.config.errors import ConfigError
from postwarden.config.parameters import PATTERNS, TABLE, find
from postwarden.config.settings import Settings, load

USAGE = """\
usage: postconf [-c config_dir] [-dfhHnopx] [-M] [-m] [-o name=value] [name...]
       postconf [-c config_dir] -b|-t [template_file]"""
TYPES = ("btree", "cidr", "hash", "inline", "lmdb", "proxy", "regexp", "static", "texthash", "unix")
TRANSPORT_COMMANDS = ("smtp", "lmtp", "local", "virtual", "pipe", "error")
_COLUMNS = (0, 11, 17, 25, 33, 41, 49, 57)
"""Where the fields of an entry begin; one that is too long moves the next, not all."""


class Options(Struct):
    """What the command line asks for."""

    directory: str = ""
    defaults: bool = False
    written: bool = False
    services: bool = False
    types: bool = False
    expanded: bool = False
    no_names: bool = False
    only_names: bool = False
    fold: bool = False
    texts: bool = False
    templates: bool = False
    overrides: dict[str, str] = field(default_factory=dict)


def main(name: str, words: list[str]) -> int:
    """Exit code 0; 1 when the configuration can't be read or the command line is wrong."""
    try:
        options, names = parse(words)
        if options.types:
            print("\n".join(TYPES))
            return 0
        settings = load(options.directory, options.overrides)
        if options.texts or options.templates:
            show_templates(settings, names, expanded=options.texts)
        elif options.services:
            show_services(settings, names, options)
        else:
            show_parameters(settings, names, options)
    except (ValueError, ConfigError) as error:
        print(f"{name}: fatal: {error}", file=sys.stderr)
        return 1
    return 0


def parse(words: list[str]) -> tuple[Options, list[str]]:
    """Options, and the names to show (none: all). Raises ValueError with a text for the user."""
    try:
        pairs, names = getopt.gnu_getopt(words, "c:dfhHnpxo:MmvaAbC:eEFlPtT:X#")
    except getopt.GetoptError as error:
        raise ValueError(f"{error}\n{USAGE}") from error
    options = Options(os.environ.get("MAIL_CONFIG", "") or "/etc/postfix")
    flags = {
        "-d": "defaults", "-n": "written", "-M": "services", "-m": "types", "-x": "expanded", "-h": "no_names",
        "-H": "only_names", "-f": "fold", "-b": "texts", "-t": "templates",
    }  # fmt: skip
    for option, value in pairs:
        if option in flags:
            setattr(options, flags[option], True)
        elif option == "-c":
            options.directory = value
        elif option == "-o":
            key, equals, text = value.partition("=")
            if not equals or not key.strip():
                raise ValueError(f"-o option requires name=value, not {value}")
            options.overrides[key.strip()] = text.strip()
        elif option not in ("-p", "-v"):
            raise ValueError(f"the option {option} is not available in this version\n{USAGE}")
    _check_templates([option for option, _ in pairs])
    if any("=" in name for name in names):
        raise ValueError("changing main.cf is not available in this version: edit the file")
    if options.defaults and options.written:
        raise ValueError("specify one of -d and -n")
    return options, names


def _check_templates(given: list[str]) -> None:
    """Raises ValueError: -b and -t stand alone."""
    if "-b" in given and "-t" in given:
        raise ValueError("specify one of -b and -t")
    for alone in ("-b", "-t"):
        others = [option for option in given if option not in (alone, "-c", "-v")]
        if alone in given and others:
            raise ValueError(f"with option {alone}, do not specify {others[0]}")


def show_parameters(settings: Settings, names: list[str], options: Options) -> None:
    """Print the named parameters, or all of them in order."""
    for name in names or sorted(_known(settings, options)):
        entry = settings.entries.get(name)
        if names and find(name) is None and (entry is None or not _referenced(settings, name)):
            print(f"postconf: warning: {name}: unknown parameter", file=sys.stderr)
        elif not options.written or entry is not None or name == "config_directory":
            _print(name, _value(settings, name, options), options)
    if not options.defaults:
        for problem in problems(settings):
            if problem.severity == "error" or "unused parameter" in problem.text:
                print(f"postconf: warning: {problem.origin}: {problem.text}", file=sys.stderr)


def _known(settings: Settings, options: Options) -> set[str]:
    if options.written:
        elsewhere = {"config_directory"} if settings.config_directory != "/etc/postfix" else set()
        return {n for n in settings.entries if find(n) or _referenced(settings, n)} | elsewhere
    known = set(TABLE)
    for service in settings.services:
        if service.command in (*TRANSPORT_COMMANDS, "spawn"):
            timed = service.command in ("pipe", "spawn")
            for pattern in PATTERNS:
                if timed if pattern.name == "_time_limit" else service.command != "spawn":
                    known.add(service.name + pattern.name)
    return known


def _referenced(settings: Settings, name: str) -> bool:
    return not any(f"unused parameter: {name}=" in problem.text for problem in problems(settings))


def _value(settings: Settings, name: str, options: Options) -> str:
    if options.defaults:
        settings = Settings(settings.config_directory, {}, settings.services, settings.system)
    return settings.text(name) if options.expanded else settings.raw(name) or ""


def _print(name: str, value: str, options: Options) -> None:
    if options.only_names:
        print(name)
        return
    value = " ".join(value.split())
    label = "" if options.no_names else f"{name} = " if value else f"{name} ="
    print(_folded(label + value) if options.fold else label + value)


def _folded(line: str) -> str:
    """Broken at white space before column 80, as `-f` has it."""
    rows: list[str] = []
    row = ""
    for word in line.split():
        if row and len(row) + 1 + len(word) > 80:
            rows.append(row)
            row = "    " + word
        else:
            row = f"{row} {word}" if row else word
    return "\n".join([*rows, row])


def show_services(settings: Settings, names: list[str], options: Options) -> None:
    """Print master.cf entries: those of the given `name` or `name/type`, or all."""
    for service in settings.services:
        if not names or service.name in names or service.key in names:
            print(_row(service, fold=options.fold))


def _row(service: Service, *, fold: bool) -> str:
    columns = (
        service.name, service.type, service.private, service.unprivileged, service.chroot, service.wakeup,
        service.maxproc,
    )  # fmt: skip
    row = ""
    for column, start in zip(columns, _COLUMNS, strict=False):
        row = (f"{row} " if row else "").ljust(start) + column
    row = f"{row} ".ljust(_COLUMNS[-1])
    overrides = []
    for name, entry in service.overrides.items():
        spaced = any(c.isspace() for c in entry.value)
        overrides.append(f"-o {{{name}={entry.value}}}" if spaced else f"-o {name}={entry.value}")
    if not fold:
        return " ".join([row + service.command, *overrides, *service.arguments])
    rows = [row + service.command, *(f"    {override}" for override in overrides)]
    for word in service.arguments:
        own_line = rows[-1].startswith("    -o")
        if not own_line and len(rows[-1]) + 1 + len(word) <= 79:
            rows[-1] += f" {word}"
        else:
            rows.append(f"    {word}")
    return "\n".join(rows)
