"""postmap(1): make, query, edit and list lookup tables. Its options, texts and exit codes."""

import base64
import binascii
import contextlib
import gc
import io
import os
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from postwarden.cli.as_owner import AsOwner
from postwarden.cli.postmap_message import message_keys
from postwarden.cli.tool import Misuse
from postwarden.cli.tool import options as read_options
from postwarden.config.errors import ConfigError
from postwarden.config.settings import Settings, load
from postwarden.tables.combined import leaves
from postwarden.tables.definition import stands_in_main_cf
from postwarden.tables.entries import Entry, Warn, alias_entries, encoded_files, map_entries
from postwarden.tables.opening import DEFINED, open_table, warnings
from postwarden.tables.source import SourceTable, read
from postwarden.tables.table import Table, TableError
from postwarden.tables.writing import CdbWriter, Duplicates, IndexWriter, Writer

if TYPE_CHECKING:
    from postwarden.cli.postmap_verified import VerifiedTable

DEFAULT_DIRECTORY = "/etc/postfix"
INDEXED = ("hash", "btree", "dbm", "lmdb")

CDB_IS_CONSTANT = (
    "dict_cdb_open: inappropriate open flags for cdb database - specify O_RDONLY or O_WRONLY|O_CREAT|O_TRUNC"
)


class Refusal(Exception):
    """The command fails; the text is said as fatal, and the exit code is 1."""


class Options(Struct):
    """What the command line asks for. `aliases`: it is postalias."""

    program: str
    aliases: bool
    settings: Settings | None = None
    directory: str = ""
    query: str | None = None
    delete: str | None = None
    incremental: bool = False
    sequence: bool = False
    fold: bool = True
    null: bool = False
    keep_privileges: bool = False
    inherit: bool = True
    utf8: bool = True
    header: bool = False
    body: bool = False
    mime: bool = False
    files: bool = False
    json: bool = False
    duplicates: str = Duplicates.WARN

    def say(self, text: str) -> None:
        print(f"{self.program}: {_shown(text)}", file=sys.stderr)

    def warn(self, text: str) -> None:
        print(f"{self.program}: warning: {_shown(text)}", file=sys.stderr)


def main(name: str, words: list[str]) -> int:
    """Exit code 0 when it was done or found, 1 when not."""
    return run(name, words, "bfFhijmnNoprsuUvwc:d:q:", aliases=False)


def run(name: str, words: list[str], letters: str, *, aliases: bool) -> int:
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="surrogateescape")  # keys that are no text are printed as they came
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
        print(f"{name}: fatal: {_shown(str(error))}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return 0


def parse(name: str, words: list[str], letters: str, *, aliases: bool) -> tuple[Options, list[str]]:
    """Options and file names. Raises Refusal with the usage."""
    flags = letters.partition("c:")[0]
    usage = f"usage: {name} [-{flags}] [-c config_dir] [-d key] [-q key] [map_type:]file..."
    files = list(words)
    options = Options(name, aliases)
    try:
        for letter, value in read_options(files, letters):
            _apply(options, letter, value)
    except Misuse as error:
        print(f"{name}: {error}", file=sys.stderr)
        raise Refusal(usage) from error
    if not files:
        raise Refusal(usage)
    if options.header or options.body or options.mime:
        if options.query != "-":
            raise Refusal('specify -b -h or -m only with "-q -"')
        if not (options.header or options.body):
            options.warn("ignoring -m option without -b or -h")
    directory = configuration(options)
    if directory != DEFAULT_DIRECTORY and not os.path.exists(f"{directory}/main.cf"):
        raise Refusal(f"open {directory}/main.cf: No such file or directory")
    options.settings = load(directory)
    if options.utf8:
        options.utf8 = bool(options.settings.value("smtputf8_enable"))
    return options, files


def configuration(options: Options) -> str:
    """Where main.cf is."""
    return options.directory or os.environ.get("MAIL_CONFIG", "") or DEFAULT_DIRECTORY


_FLAGS = {
    "i": "incremental", "s": "sequence", "o": "keep_privileges", "h": "header", "b": "body", "m": "mime",
    "F": "files", "j": "json",
}  # fmt: skip
_CLEARED = {"f": "fold", "p": "inherit", "u": "utf8"}


def _apply(options: Options, letter: str, value: str) -> None:
    if letter in _FLAGS:
        setattr(options, _FLAGS[letter], True)
    elif letter in _CLEARED:
        setattr(options, _CLEARED[letter], False)
    elif letter == "c":
        options.directory = value
    elif letter in ("N", "n"):
        options.null = letter == "N"
    elif letter in ("r", "w"):
        options.duplicates = Duplicates.REPLACE if letter == "r" else Duplicates.IGNORE
    elif letter == "q":
        if options.sequence or options.delete is not None:
            raise Refusal("specify only one of -s -q or -d")
        options.query = value
    elif letter == "d":
        if options.sequence or options.query is not None:
            raise Refusal("specify only one of -s -q or -d")
        options.delete = value
    if letter == "s" and (options.query is not None or options.delete is not None):
        raise Refusal("specify only one of -s or -q or -d")


def _typed(file: str, options: Options) -> str:
    """`type:file`; without a type, default_database_type of main.cf."""
    if ":" in file or options.settings is None:
        return file
    return f"{options.settings.text('default_database_type')}:{file}"


def query(options: Options, names: list[str]) -> int:
    """Print the value of the first table that has the key; with `-`, of each key on standard input."""
    assert options.query is not None
    opened: dict[str, Table] = {}
    if options.query != "-":
        value = _look_up(options, names, opened, options.query)
        if value is None:
            return 1
        print(_json(options.query, value) if options.json else value)
        return 0
    found = False
    for key in _keys(options):
        value = _look_up(options, names, opened, key)
        if value is not None:
            found = True
            _print_entry(options, key, value)
    return 0 if found else 1


def _keys(options: Options) -> Iterator[str]:
    lines: Iterable[bytes] = (line.removesuffix(b"\n") for line in sys.stdin.buffer)
    if options.header or options.body:
        lines = message_keys(lines, headers=options.header, body=options.body, mime=options.mime)
    for line in lines:
        yield line.decode("utf-8", "surrogateescape")


def _look_up(options: Options, names: list[str], opened: dict[str, Table], key: str) -> str | None:
    for name in names:
        table = opened.get(name)
        if table is None:
            table = opened[name] = _open(name, options)
        try:
            found = table.get(key)
        except TableError as error:
            raise Refusal(f"table {name}: query error: {error.text}") from error
        if found is None:
            continue
        if not found.value:
            options.warn(f"table {name}: key {key}: empty string result is not allowed")
            options.warn(f"table {name} should return NO RESULT in case of NOT FOUND")
        return _decoded(options, name, key, found.value)
    return None


def _decoded(options: Options, name: str, key: str, value: str) -> str:
    """With `-F`, what the base64 text stands for."""
    if not options.files:
        return value
    try:
        return base64.b64decode(value, validate=True).decode("utf-8", "surrogateescape")
    except (binascii.Error, ValueError) as error:
        options.warn(f"table {name}: key {key}: malformed BASE64 value: {value}")
        raise Refusal(f"table {name}: query error") from error


def delete(options: Options, names: list[str]) -> int:
    """Take one key, or the keys on standard input, out of the indexes."""
    keys = [options.delete or ""]
    if options.delete == "-":
        keys = [line.removesuffix(b"\n").decode("utf-8", "surrogateescape") for line in sys.stdin.buffer]
    found = False
    for name in names:
        cache = _cache(name, options.settings)
        if cache is not None:
            with AsOwner(cache.path, options.warn, keep_privileges=options.keep_privileges):
                found = cache.forget(keys) > 0 or found
            continue
        kind, _, source = name.partition(":")
        if kind == "cdb":
            raise Refusal(CDB_IS_CONSTANT)
        if kind not in INDEXED:
            _open(name, options)
            raise Refusal(f"{name} map requires O_RDONLY access mode")
        if not os.path.exists(source + ".lmdb"):
            raise Refusal(f"open database {source}.lmdb: No such file or directory")
        with AsOwner(source, options.warn, keep_privileges=options.keep_privileges):
            writer = _writer(options, source, keep=True)
            gone = [writer.delete(key) for key in keys]
            if any(gone):
                _publish(options, writer)
                found = True
                if options.delete != "-":
                    return 0  # as postmap does it, whatever its manual says of the others
            else:
                writer.abandon()
    return 0 if found else 1


def show(options: Options, name: str) -> None:
    """Print all keys and values."""
    items = getattr(next(leaves(_open(name, options))), "items", None)
    if items is None:
        raise Refusal(f"table {name}: sequence operation is not supported")
    for key, value in items():
        _print_entry(options, key, _decoded(options, name, key, value))


def _print_entry(options: Options, key: str, value: str) -> None:
    if options.json:
        print(_json(key, value))
    else:
        print(f"{key}{':' if options.aliases else ''}\t{value}")


def _json(key: str, value: str) -> str:
    clean = (text.encode("utf-8", "surrogateescape").decode("utf-8", "replace") for text in (key, value))
    return "{%s: %s}" % tuple(msgspec.json.encode(text).decode() for text in clean)  # noqa: UP031 - braces


def create(options: Options, name: str) -> None:
    """Make the index anew from its source, or add standard input to it. A line at fault is said and left out."""
    kind, _, source = name.partition(":")
    if kind == "proxy":
        raise Refusal("can't create maps via the proxy service")
    if kind == "cdb" and options.incremental:
        raise Refusal(CDB_IS_CONSTANT)
    if kind not in (*INDEXED, "cdb"):
        raise Refusal(f"unsupported dictionary type: {kind} does not support bulk-mode creation.")
    if not source:
        raise Refusal("open : No such file or directory")
    with AsOwner(source, options.warn, keep_privileges=options.keep_privileges), _no_collection():
        _create(options, kind, source)


def _create(options: Options, kind: str, source: str) -> None:
    reader = alias_entries if options.aliases else map_entries
    data, file = (sys.stdin.buffer.read(), "stdin") if options.incremental else (_text(source), source)

    def entries(warn: Warn) -> Iterator[Entry]:
        found = reader(data, file, warn, options.utf8)
        return encoded_files(found, file, warn) if options.files else found

    writer: Writer = (
        CdbWriter(source, fold=options.fold, utf8=options.utf8, null=options.null, inherit=options.inherit)
        if kind == "cdb"
        else _writer(options, source, keep=options.incremental)
    )
    try:
        said: list[str] = []
        if isinstance(writer, IndexWriter) and not options.incremental and writer.add_at_once(entries(said.append)):
            for text in said:
                options.warn(text)
        else:
            writer.add(entries(options.warn), options.warn, options.duplicates)
    except BaseException:
        writer.abandon()
        raise
    _publish(options, writer)


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    """A million entries make no cycles, and looking for some takes a third of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _writer(options: Options, source: str, *, keep: bool) -> IndexWriter:
    try:
        return IndexWriter(
            source, keep=keep, fold=options.fold, utf8=options.utf8, null=options.null, inherit=options.inherit
        )
    except OSError as error:
        raise Refusal(f"open database {source}.lmdb: {error.strerror or error}") from error


def _publish(options: Options, writer: Writer) -> None:
    for problem in writer.publish():
        options.warn(problem.text)


def _text(source: str) -> bytes:
    try:
        return read(source)
    except TableError as error:
        reason = error.__cause__.strerror if isinstance(error.__cause__, OSError) else error.text
        raise Refusal(f"open {source}: {reason}") from error


def _cache(name: str, settings: Settings | None) -> "VerifiedTable | None":
    """What the gateway knows of addresses, if `name` means that. Only then is its library loaded."""
    try:
        maps = settings.items("address_verify_map") if settings is not None else ()
    except ConfigError:
        return None
    if name.removeprefix("proxy:") not in [one.removeprefix("proxy:") for one in maps]:
        return None
    from postwarden.cli.postmap_verified import verified

    return verified(name, maps)


def _open(name: str, options: Options) -> Table:
    cache = _cache(name, options.settings)
    if cache is not None:
        return cache
    kind, colon, rest = name.partition(":")
    if not (kind and colon and rest):
        raise Refusal(f'open dictionary: expecting "type:name" form instead of "{name}"')
    # A relative name is one of the working directory here, but parameters of sqlite:name are those of main.cf.
    within, _, place = name.removeprefix("proxy:").partition(":")
    of_main_cf = within in DEFINED and stands_in_main_cf(place)
    directory = configuration(options) if of_main_cf else ""
    try:
        table = open_table(name, directory, aliases=options.aliases or None, fold=options.fold, say=options.say)
    except ConfigError as error:
        text = str(error)
        raise Refusal(text.removeprefix(f"{name}: ") if "unsupported dictionary type" in text else text) from error
    for leaf in leaves(table):
        if isinstance(leaf, SourceTable) and leaf.fault:
            word = "open" if kind in ("regexp", "pcre", "cidr") else "open database"
            file, _, reason = leaf.fault.partition(": can't be read: ")
            suffix = ".cdb" if leaf.name.startswith("cdb:") else ".lmdb"
            compiled = suffix == ".cdb" or leaf.name.partition(":")[0] in INDEXED
            index = suffix if compiled and not file.endswith(suffix) else ""
            raise Refusal(f"{word} {file}{index}: {reason}" if reason else f"{word} {leaf.fault}")
    for problem in warnings(table):
        origin = problem.origin
        shown = f"{kind} map {origin.file}" if kind in ("regexp", "pcre", "cidr") else origin.file
        options.warn(f"{shown}, line {origin.line}: {problem.text}" if origin.file else problem.text)
    return table


def _shown(text: str) -> str:
    return "".join(c if c.isprintable() or c == "\n" else "?" for c in text)
