"""postmap(1): make, query, edit and list lookup tables. Its options, texts and exit codes."""

import getopt
import os
import re
import sys
from collections.abc import Iterable, Iterator

from msgspec import Struct

from postwarden.config.errors import ConfigError, Problem
from postwarden.config.settings import load
from postwarden.tables.indexed import IndexTable, TextTable
from postwarden.tables.opening import open_table
from postwarden.tables.source import read
from postwarden.tables.table import Table, TableError
from postwarden.tables.text import Line, alias_lines, map_lines
from postwarden.tables.writing import Duplicates, IndexWriter

INDEXED = ("hash", "btree", "lmdb")


class Refusal(Exception):
    """The command fails; the text is said as fatal, and the exit code is 1."""


class Options(Struct):
    """What the command line asks for. `aliases`: it is postalias."""

    program: str
    aliases: bool
    directory: str = ""
    query: str | None = None
    delete: str | None = None
    incremental: bool = False
    sequence: bool = False
    fold: bool = True
    null: bool = False
    keep_privileges: bool = False
    inherit: bool = True
    duplicates: str = Duplicates.WARN


def main(name: str, words: list[str]) -> int:
    """Exit code 0 when it was done or found, 1 when not."""
    return run(name, words, "bc:d:fFhimnNopq:rsuUvw", aliases=False)


def run(name: str, words: list[str], letters: str, *, aliases: bool) -> int:
    try:
        options, files = parse(name, words, letters, aliases=aliases)
        names = [_typed(file, options) for file in files]
        if options.query is not None:
            return query(options, names)
        if options.delete is not None:
            return delete(options, names)
        for table in names:
            if options.sequence:
                show(options, table)
            else:
                create(options, table)
    except (Refusal, ConfigError, TableError) as error:
        print(f"{name}: fatal: {error}", file=sys.stderr)
        return 1
    return 0


def parse(name: str, words: list[str], letters: str, *, aliases: bool) -> tuple[Options, list[str]]:
    """Options and file names. Raises Refusal with the usage."""
    flags = re.sub("[a-zA-Z]:", "", letters)
    usage = f"usage: {name} [-{flags}] [-c config_dir] [-d key] [-q key] [map_type:]file..."
    try:
        pairs, files = getopt.getopt(words, letters)
    except getopt.GetoptError as error:
        raise Refusal(f"{error}\n{name}: fatal: {usage}") from error
    options = Options(name, aliases)
    for option, value in pairs:
        _apply(options, option, value)
    if not files:
        raise Refusal(usage)
    if options.sequence + (options.query is not None) + (options.delete is not None) > 1:
        raise Refusal("specify only one of -s -q or -d")
    return options, files


def _apply(options: Options, option: str, value: str) -> None:
    flags = {"-i": "incremental", "-s": "sequence", "-N": "null", "-o": "keep_privileges"}
    if option in flags:
        setattr(options, flags[option], True)
    elif option == "-c":
        options.directory = value
    elif option == "-q":
        options.query = value
    elif option == "-d":
        options.delete = value
    elif option == "-f":
        options.fold = False
    elif option == "-p":
        options.inherit = False
    elif option in ("-r", "-w"):
        options.duplicates = Duplicates.REPLACE if option == "-r" else Duplicates.IGNORE
    elif option in ("-b", "-h", "-m", "-F"):
        raise Refusal(f"the option {option} is not available in this version")


def _typed(file: str, options: Options) -> str:
    """`type:file`; without a type, default_database_type of main.cf."""
    if ":" in file:
        return file
    directory = options.directory or os.environ.get("MAIL_CONFIG", "") or "/etc/postfix"
    return f"{load(directory).text('default_database_type')}:{file}"


def query(options: Options, names: list[str]) -> int:
    """Print the value of the first table that has the key; with `-`, of each key on standard input."""
    assert options.query is not None
    tables = [_open(name, options) for name in names]
    if options.query != "-":
        value = _look_up(tables, options.query)
        if value is not None:
            print(value)
        return 1 if value is None else 0
    found = False
    for key in _input_lines():
        value = _look_up(tables, key)
        if value is not None:
            found = True
            print(f"{key}{':' if options.aliases else ''}\t{value}")
    return 0 if found else 1


def delete(options: Options, names: list[str]) -> int:
    """Take one key, or the keys on standard input, out of the indexes."""
    keys = list(_input_lines()) if options.delete == "-" else [options.delete or ""]
    found = False
    for name in names:
        source = _source(name)
        if not os.path.exists(source + ".lmdb"):
            raise Refusal(f"open database {source}.lmdb: No such file or directory")
        with _AsOwner(source, options):
            writer = IndexWriter(source, keep=True, fold=options.fold, null=options.null)
            gone = [writer.delete(key) for key in keys]
            if any(gone):
                _say(options, writer.publish())
                found = True
            else:
                writer.abandon()
    return 0 if found else 1


def show(options: Options, name: str) -> None:
    """Print all keys and values."""
    table = _open(name, options)
    if not isinstance(table, IndexTable | TextTable):
        raise Refusal(f"table {name}: sequence operation is not supported")
    for key, value in table.items():
        print(f"{key}{':' if options.aliases else ''}\t{value}")


def create(options: Options, name: str) -> None:
    """Make the index anew from its source, or add standard input to it. A line at fault leaves the old one alone."""
    source = _source(name)
    reader = alias_lines if options.aliases else map_lines
    with _AsOwner(source, options):
        if options.incremental:
            lines: Iterable[Line] = reader(sys.stdin.buffer.read(), "stdin")
        else:
            lines = reader(_text(source), source)
        writer = IndexWriter(source, keep=options.incremental, fold=options.fold, null=options.null)
        try:
            problems = writer.add(lines, options.duplicates)
        except BaseException:
            writer.abandon()
            raise
        _say(options, problems + writer.publish())


def _text(source: str) -> bytes:
    try:
        return read(source)
    except TableError as error:
        reason = error.__cause__.strerror if isinstance(error.__cause__, OSError) else error.text
        raise Refusal(f"open {source}: {reason}") from error


def _open(name: str, options: Options) -> Table:
    table = open_table(name, os.getcwd(), aliases=options.aliases or None, fold=options.fold)
    if isinstance(table, TextTable | IndexTable) and table.fault:
        raise Refusal(f"open database {table.fault}")
    return table


def _source(name: str) -> str:
    """The file of a table that can have an index. Raises Refusal for the other types."""
    kind, _, file = name.removeprefix("proxy:").partition(":")
    if kind not in INDEXED:
        raise Refusal(f"unsupported dictionary type: {kind} does not support bulk-mode creation.")
    return os.path.abspath(file)


def _look_up(tables: list[Table], key: str) -> str | None:
    for table in tables:
        found = table.get(key)
        if found is not None:
            return found.value
    return None


def _input_lines() -> Iterator[str]:
    for line in sys.stdin:
        yield line.removesuffix("\n").removesuffix("\r")


def _say(options: Options, problems: list[Problem]) -> None:
    for problem in problems:
        where = f"{problem.origin}: " if problem.origin.file else ""
        print(f"{options.program}: {problem.severity}: {where}{problem.text}", file=sys.stderr)


class _AsOwner:
    """As root, do it as the owner of the source: in a directory that is another's, root must not create files by a
    path that the other may bend with links."""

    def __init__(self, source: str, options: Options) -> None:
        self._target: tuple[int, int] | None = None
        self._before = os.getegid(), os.getgroups()
        if os.geteuid() == 0 and not options.keep_privileges:
            try:
                state = os.stat(source)
            except OSError:
                return
            if state.st_uid != 0:
                self._target = state.st_uid, state.st_gid

    def __enter__(self) -> None:
        if self._target is not None:
            os.setgroups([self._target[1]])
            os.setegid(self._target[1])
            os.seteuid(self._target[0])

    def __exit__(self, *_: object) -> None:
        if self._target is not None:
            os.seteuid(0)
            os.setegid(self._before[0])
            os.setgroups(self._before[1])
