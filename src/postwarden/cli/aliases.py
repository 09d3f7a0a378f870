"""`postwarden aliases`: one alias table from the files of many owners."""

import os
import pwd
import sys
from collections.abc import Callable

from msgspec import Struct

from postwarden.cli import aliases_show as show
from postwarden.cli.aliases_put import put
from postwarden.cli.aliases_tree import graph as draw
from postwarden.cli.aliases_tree import lint as look_over
from postwarden.cli.tool import Misuse, Refusal
from postwarden.config.errors import ConfigError
from postwarden.config.settings import Settings, load
from postwarden.federation.merger import ALL, NONE, Merger, Mistake
from postwarden.federation.pulling import fetch
from postwarden.federation.sources import load_federation
from postwarden.federation.store import Busy, Store
from postwarden.tables.table import TableError

USAGE = """\
usage: postwarden aliases COMMAND

  sources [-v]         who sends aliases, and what each may say; -v: what SSH needs for it
  merge [-n] [-k] [-m WHY]
                       ask all sources, print what changes, and install it. -n (--dry-run): change nothing;
                       -k: fetch nothing, merge what is there
  put SOURCE           take SOURCE's file from standard input; made for a forced command of SSH
  status [-j]          each source's version, age and state
  history [-j] [SOURCE]
                       what came, was held, confirmed, rolled back and installed; when, by whom and why
  confirm [-m WHY] SOURCE
                       let in what is held
  rollback [-m WHY] [SOURCE] [VERSION]
                       a source back to its version before (or VERSION); without a source, all to the install
                       before (or install VERSION)
  graph [--svg] ADDRESS
                       who really receives its mail, with file:line for each step; --svg: as a picture
  lint [-j] [FILE]     what is wrong with the alias tables of main.cf, or with one alias file

Exit code: 0; 1: it could not be done; 2: merged, but a source is held or was not reached, or entries were left out;
lint: there are findings.
"""


class Request(Struct):
    """What the command line asks for."""

    words: list[str]
    flags: set[str]
    why: str = ""


_FLAGS = {
    "-n": "dry-run", "--dry-run": "dry-run", "-k": "keep", "--no-fetch": "keep", "-v": "verbose", "-j": "json",
    "--json": "json", "--svg": "svg",
}  # fmt: skip
_TAKES = {
    "sources": ({"verbose"}, 0), "merge": ({"dry-run", "keep", "verbose"}, 0), "put": (set(), 1),
    "status": ({"json"}, 0), "history": ({"json"}, 1), "confirm": (set(), 1), "rollback": (set(), 2),
    "graph": ({"svg"}, 1), "lint": ({"json"}, 1),
}  # fmt: skip
"""Flags, and how many words may follow."""


def main(name: str, words: list[str]) -> int:
    """`words[0]` is the configuration directory."""
    if len(words) < 2 or words[1] in ("-h", "--help", "help"):
        print(USAGE, end="", file=sys.stdout if len(words) > 1 else sys.stderr)
        return 0 if len(words) > 1 else 1
    command = words[1]
    try:
        request = parse(command, words[2:])
        return _COMMANDS[command](load(words[0]), request)
    except Misuse as error:
        print(f"postwarden aliases: {error}\n{USAGE}", end="", file=sys.stderr)
    except (ConfigError, TableError, Refusal, Mistake, Busy, ValueError) as error:
        print(f"postwarden aliases: fatal: {error}", file=sys.stderr)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(f"postwarden aliases: fatal: {where}{error.strerror or error}", file=sys.stderr)
    return 1


def parse(command: str, words: list[str]) -> Request:
    """Raises Misuse."""
    if command not in _COMMANDS:
        raise Misuse(f"{command}: no such command")
    allowed, most = _TAKES[command]
    request = Request([], set())
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word == "-m" and command in ("merge", "confirm", "rollback"):
            if not rest:
                raise Misuse("-m needs a text: why")
            request.why = rest.pop(0)
        elif word.startswith("-") and word != "-":
            if _FLAGS.get(word) not in allowed:
                raise Misuse(f"{command}: unknown option {word}")
            request.flags.add(_FLAGS[word])
        else:
            request.words.append(word)
    if len(request.words) > most:
        raise Misuse(f"{command}: too many words")
    return request


def sources(settings: Settings, request: Request) -> int:
    federation = load_federation(settings)
    show.sources(federation, settings, verbose="verbose" in request.flags)
    return 0


def merge(settings: Settings, request: Request) -> int:
    federation = load_federation(settings)
    dry = "dry-run" in request.flags
    report = _merger(settings).merge(
        request.why or "by hand", pull=NONE if "keep" in request.flags else ALL, dry_run=dry
    )
    return show.merged(report, federation, dry_run=dry, verbose="verbose" in request.flags)


def take(settings: Settings, request: Request) -> int:
    if not request.words:
        raise Misuse("put: which source?")
    return put(settings, request.words[0], sys.stdin.buffer)


def status(settings: Settings, request: Request) -> int:
    federation = load_federation(settings)
    return show.status(federation, Store(federation.directory), as_json="json" in request.flags)


def history(settings: Settings, request: Request) -> int:
    federation = load_federation(settings)
    happened = Store(federation.directory).history()
    show.history([h for h in happened if not request.words or h.source in (*request.words, "")], request.flags)
    return 0


def confirm(settings: Settings, request: Request) -> int:
    if not request.words:
        raise Misuse("confirm: which source?")
    report = _merger(settings).confirm(request.words[0], request.why)
    return show.merged(report, load_federation(settings))


def rollback(settings: Settings, request: Request) -> int:
    words = list(request.words)
    number = int(words.pop()) if words and words[-1].isascii() and words[-1].isdecimal() else 0
    if len(words) > 1:
        raise Misuse(f"rollback: {words[1]} is no version")
    report = _merger(settings).rollback(words[0] if words else "", number, request.why)
    return show.merged(report, load_federation(settings))


def graph(settings: Settings, request: Request) -> int:
    if not request.words:
        raise Misuse("graph: which address?")
    return draw(settings, request.words[0], svg="svg" in request.flags)


def lint(settings: Settings, request: Request) -> int:
    return look_over(settings, request.words[0] if request.words else "", as_json="json" in request.flags)


_COMMANDS: dict[str, Callable[[Settings, Request], int]] = {
    "sources": sources, "merge": merge, "put": take, "status": status, "history": history, "confirm": confirm,
    "rollback": rollback, "graph": graph, "lint": lint,
}  # fmt: skip


def _merger(settings: Settings) -> Merger:
    return Merger(settings, load_federation(settings), fetch, who())


def who() -> str:
    """Who runs this, for the history: root is seldom a person."""
    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        name = f"uid {os.getuid()}"
    person = os.environ.get("SUDO_USER", "")
    return f"{person} ({name})" if person and person.isprintable() and name == "root" else name
